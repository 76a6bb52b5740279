"""config/sros2/policy.xml allows all and only what the running node offers."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import Bench

pytestmark = pytest.mark.ros

SOMETIMES = {
    "subscribe": {
        "image/compressed",
        "depth/compressedDepth",
        "/clock",
        "/tf",
        "/tf_static",
    },  # other transports; with use_sim_time; where tf2 is installed and a frame is asked for
    "publish": set()
    if importlib.util.find_spec("vision_msgs")
    else {"~/label_info", "~/detections", "~/detections_3d"},
    "reply": {"~/get_type_description"},  # from Jazzy on
    "execute": set(),
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


def test_the_policy_is_of_what_the_node_offers():
    bench = Bench()
    try:
        bench.active()
        node = bench.node
        assert node.get_fully_qualified_name() == "/ovseg"
        at = node.get_name(), node.get_namespace()

        def names(of_node) -> set[str]:
            return {name for name, _ in of_node(*at)}

        services = names(node.get_service_names_and_types_by_node)
        actions = {
            name.removesuffix("/_action/send_goal")
            for name in services
            if name.endswith("/_action/send_goal")
        }
        offered = {
            "publish": names(node.get_publisher_names_and_types_by_node),
            "subscribe": names(node.get_subscriber_names_and_types_by_node),
            "reply": services,
            "execute": actions,
        }
        allowed = {kind: set(map(node.resolve_topic_name, written(kind))) for kind in offered}
        sometimes = {kind: set(map(node.resolve_topic_name, SOMETIMES[kind])) for kind in offered}
    finally:
        bench.close()
    for kind, there in offered.items():
        here = {name for name in there if "/_action/" not in name}
        assert here <= allowed[kind], kind
        assert allowed[kind] - here <= sometimes[kind], kind
