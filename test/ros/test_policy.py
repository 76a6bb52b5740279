"""config/sros2/policy.xml allows all and only what the running node offers."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from camera_bench import CameraBench
from ros_bench import Bench

from ovseg_ros.ros.parameters.camera_names import INPUTS, OUTPUTS, SHARED

pytestmark = pytest.mark.ros

SOMETIMES = {
    "subscribe": {
        "image/compressed",
        "depth/compressedDepth",
        "/clock",
        "/tf",
        "/tf_static",
    },  # other transports; with use_sim_time; where tf2 is installed and a frame is asked for
    # The second node of one name in a process has no /rosout of its own; other tests may have left one.
    "publish": {"/rosout"}
    | (
        set()
        if importlib.util.find_spec("vision_msgs")
        else {"~/label_info", "~/detections", "~/detections_3d"}
    ),
    "reply": {"~/get_type_description"},  # from Jazzy on
    "execute": set(),
}

SERVICES_OF_EVERY_NODE = {
    "change_state",
    "get_state",
    "get_available_states",
    "get_available_transitions",
    "get_transition_graph",
    "describe_parameters",
    "get_parameter_types",
    "get_parameters",
    "list_parameters",
    "set_parameters",
    "set_parameters_atomically",
    "get_type_description",
}


def written(kind: str) -> set[str]:
    """Names that the policy allows to publish, subscribe, reply or execute."""
    root = ElementTree.parse(ROOT / "config" / "sros2" / "policy.xml").getroot()
    (profile,) = root.iterfind("./enclaves/enclave/profiles/profile")
    assert (profile.get("ns"), profile.get("node")) == ("/", "ovseg")
    (group,) = [group for group in profile if group.get(kind) == "ALLOW"]
    names = [entry.text for entry in group]
    assert len(names) == len(set(names))
    return set(names)


def names_of(node) -> dict[str, set[str]]:
    """What a node offers, by kind, without what belongs to actions; actions by their names."""
    at = node.get_name(), node.get_namespace()

    def names(of_node) -> set[str]:
        return {name for name, _ in of_node(*at)}

    services = names(node.get_service_names_and_types_by_node)
    goals = "/_action/send_goal"
    offered = {
        "publish": names(node.get_publisher_names_and_types_by_node),
        "subscribe": names(node.get_subscriber_names_and_types_by_node),
        "reply": services,
    }
    without = {kind: {name for name in there if "/_action/" not in name} for kind, there in offered.items()}
    actions = {name.removesuffix(goals) for name in services if name.endswith(goals)}
    return without | {"execute": actions}


def of_each_camera(names: set[str], cameras: list[str]) -> set[str]:
    """Names of the policy as they are where cameras have names."""
    made = set()
    for name in names:
        inside = "~/" if name.startswith("~/") else ""
        base = name.removeprefix("~/")
        is_cameras = base.split("/")[0] in (OUTPUTS if inside else INPUTS)
        made |= {f"{inside}{camera}/{base}" for camera in cameras} if is_cameras else {name}
    return made


@pytest.mark.parametrize("cameras", [[], ["front", "left"]], ids=["one camera", "two cameras"])
def test_the_policy_is_of_what_the_node_offers(cameras):
    bench = CameraBench(*cameras) if cameras else Bench()
    try:
        bench.active()
        node = bench.node
        assert node.get_fully_qualified_name() == "/ovseg"
        offered = names_of(node)
        allowed, sometimes = (
            {
                kind: set(map(node.resolve_topic_name, of_each_camera(names, cameras) if cameras else names))
                for kind, names in table.items()
            }
            for table in ({kind: written(kind) for kind in offered}, SOMETIMES)
        )
    finally:
        bench.close()
    for kind, here in offered.items():
        assert here <= allowed[kind], kind
        assert allowed[kind] - here <= sometimes[kind], kind


def test_cameras_are_not_called_as_what_the_policy_names():
    standard = {"transition_event", *SERVICES_OF_EVERY_NODE}
    own = {name.removeprefix("~/") for kind in SOMETIMES for name in written(kind) if name.startswith("~/")}
    assert own - standard == OUTPUTS | SHARED
    assert {name.split("/")[0] for name in written("subscribe") if name[0] not in "~/"} == INPUTS
