"""The launch files, resolved with the real `launch` where it is installed, and the RViz set-up."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT

launching = pytest.importorskip("ovseg_ros.ros.launching", reason="ament_index_python is not installed")

LAUNCH = ROOT / "launch"

ARGUMENTS = [
    "preset",
    "image_topic",
    "depth_topic",
    "camera_info_topic",
    "cameras",
    "image_transport",
    "depth_transport",
    "vocabulary",
    "params_file",
    "device",
    "target_frame",
    "weights_dir",
    "namespace",
    "rviz",
    "autostart",
    "use_sim_time",
    "log_level",
]


def load(name: str) -> Any:
    pytest.importorskip("launch", reason="`launch` is not on PyPI; it comes with a ROS installation")
    pytest.importorskip("launch_ros", reason="`launch_ros` is not on PyPI; it comes with a ROS installation")
    spec = importlib.util.spec_from_file_location(name.replace(".", "_"), LAUNCH / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def declared(module: Any) -> dict[str, Any]:
    description = module.generate_launch_description()
    return {argument.name: argument for argument in description.get_launch_arguments()}


@pytest.fixture(autouse=True)
def _log_beside_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_LOG_DIR", str(tmp_path / "log"))


def started(module: Any, **given: str) -> tuple[list[Any], Any]:
    """What the launch file starts for these arguments, the others at their defaults."""
    from launch import LaunchContext

    context = LaunchContext()
    for argument in declared(module).values():
        argument.execute(context)
    context.launch_configurations.update(given)
    return module.start(context), context


def resolve(node: Any, context: Any) -> dict[str, Any]:
    """Name, remappings, parameters (the file first, then what overrides it) and command line of a node."""
    from launch.utilities import perform_substitutions

    node._perform_substitutions(context)
    context.extend_locals(
        {"ros_specific_arguments": {"name": "NAME", "ns": "NAMESPACE"}}
    )  # as Node.execute does
    command = [perform_substitutions(context, list(part)) for part in node.cmd]
    own, files = {}, []
    for word, value in itertools.pairwise(command):
        if word == "--params-file":
            files.append(value)
    for file in files[1:]:  # the first is params_file itself, the rest launch_ros wrote
        for values in yaml.safe_load(Path(file).read_text()).values():
            own.update(values["ros__parameters"])
    return {
        "name": node.node_name,
        "executable": node.node_executable,
        "remap": dict(node.expanded_remapping_rules or []),
        "files": files,
        "own": own,
        "command": command,
    }


def test_every_argument_of_the_design_is_declared_and_described() -> None:
    arguments = declared(load("ovseg.launch.py"))
    assert list(arguments) == ARGUMENTS
    assert all(argument.description for argument in arguments.values())


def test_by_default_only_the_clock_overrides_the_params_file() -> None:
    entities, context = started(load("ovseg.launch.py"))
    assert len(entities) == 1
    node = resolve(entities[0], context)
    assert (node["name"], node["executable"]) == ("/ovseg", "ovseg_node")
    assert node["own"] == {"use_sim_time": False}
    assert node["files"][0].endswith("share/ovseg_ros/config/ovseg.yaml")
    assert node["remap"] == {
        "image": "/camera/color/image_raw",
        "image/compressed": "/camera/color/image_raw/compressed",
        "depth": "/camera/depth/image_raw",
        "camera_info": "/camera/color/camera_info",
    }


def test_given_arguments_reach_the_node_with_their_types() -> None:
    entities, context = started(
        load("ovseg.launch.py"),
        preset="lite",
        image_topic="/head/rgb",
        depth_topic="/head/depth",
        camera_info_topic="/head/info",
        image_transport="compressed",
        depth_transport="compressedDepth",
        vocabulary="no",
        device="1",
        weights_dir="/data/weights",
        autostart="false",
        use_sim_time="true",
        namespace="/robot1/head/",
        log_level="debug",
    )
    node = resolve(entities[0], context)
    assert node["own"] == {
        "preset": "lite",
        "image_transport": "compressed",
        "depth_transport": "compressedDepth",
        "vocabulary": "no",  # not the YAML boolean
        "device": "1",
        "weights_dir": "/data/weights",
        "autostart": False,
        "use_sim_time": True,
    }
    assert node["name"] == "/robot1/head/ovseg"
    assert node["remap"]["image"] == "/head/rgb"
    assert node["remap"]["image/compressed"] == "/head/rgb/compressed"
    assert node["remap"]["depth"] == "/head/depth"
    assert node["remap"]["camera_info"] == "/head/info"
    at = node["command"].index("--log-level")
    assert node["command"][at + 1] == "robot1.head.ovseg:=debug"


def test_several_cameras_have_topics_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "get_package_prefix", lambda _: "/opt/ros")
    entities, context = started(
        load("ovseg.launch.py"),
        cameras="front, left",
        image_topic="/robot/{camera}/rgb",
        depth_topic="",
        namespace="robot",
        rviz="true",
    )
    node = resolve(entities[0], context)
    assert node["own"]["cameras"] == "front, left"
    assert node["remap"] == {
        "front/image": "/robot/front/rgb",
        "front/image/compressed": "/robot/front/rgb/compressed",
        "front/camera_info": "/front/color/camera_info",
        "left/image": "/robot/left/rgb",
        "left/image/compressed": "/robot/left/rgb/compressed",
        "left/camera_info": "/left/color/camera_info",
    }
    remap = {src[0].text: dst[0].text for src, dst in entities[1]._Node__remappings}
    assert remap["/ovseg/overlay"] == "/robot/ovseg/front/overlay"
    assert remap["/camera/color/image_raw"] == "/robot/front/rgb"


def test_topics_of_several_cameras_say_whose_they_are() -> None:
    module = load("ovseg.launch.py")
    with pytest.raises(ValueError, match=r"^depth_topic: expected \{camera\} in it, .* got '/depth'"):
        started(module, cameras="front, left", depth_topic="/depth")
    with pytest.raises(ValueError, match=r"^parameter cameras: expected each name once, got 'front' 2 times"):
        started(module, cameras="front,front")


def test_another_params_file_takes_the_place_of_ours(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("/**:\n  ros__parameters:\n    preset: lite\n")
    entities, context = started(load("ovseg.launch.py"), params_file=str(file))
    node = resolve(entities[0], context)
    assert node["files"][0] == str(file)
    assert "preset" not in node["own"]


def test_a_params_file_that_is_missing_ends_the_launch(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"params_file: there is no .*absent\.yaml"):
        started(load("ovseg.launch.py"), params_file=str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("rviz", "ture", "expected true or false, got 'ture'"),
        ("autostart", "ture", "expected true or false"),
        ("use_sim_time", "maybe", "expected true or false, got 'maybe'"),
        ("log_level", "loud", "expected one of debug, info, warn, error, fatal, got 'loud'"),
    ],
)
def test_an_argument_that_cannot_be_ends_the_launch_by_name(name: str, value: str, want: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: {want}"):
        started(load("ovseg.launch.py"), **{name: value})


@pytest.mark.parametrize("name", ["ovseg.launch.py", "demo.launch.py"])
def test_processes_are_told_to_end_and_killed_within_five_seconds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load(name)
    from launch.utilities import perform_substitutions

    monkeypatch.setattr(launching, "get_package_prefix", lambda _: "/opt/ros")
    entities, context = started(module, rviz="true")
    processes = [entity for entity in entities if hasattr(entity, "sigterm_timeout")]
    assert len(processes) == (2 if name == "ovseg.launch.py" else 1)
    for process in processes:
        waits = (process.sigterm_timeout, process.sigkill_timeout)
        assert [float(perform_substitutions(context, list(wait))) for wait in waits] == [3, 1]


def environment(node: Any) -> dict[str, str]:
    """What a process gets on top of the launch's own environment."""
    return {name[0].text: value[0].text for name, value in node.additional_env}


def test_rviz_follows_the_namespace_and_the_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "get_package_prefix", lambda _: "/opt/ros")
    for variable in (*launching.PROFILES, "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(variable, raising=False)
    entities, _context = started(
        load("ovseg.launch.py"), rviz="true", namespace="robot1", image_topic="/head/rgb"
    )
    assert len(entities) == 2
    remap = {src[0].text: dst[0].text for src, dst in entities[1]._Node__remappings}
    assert remap["/ovseg/overlay"] == "/robot1/ovseg/overlay"
    assert remap["/camera/color/image_raw"] == "/head/rgb"
    node, rviz = (environment(entity)[launching.PROFILES[0]] for entity in entities)
    assert (Path(node).name, Path(rviz).name) == ("fastdds_points.xml", "fastdds.xml")


def test_without_rviz2_nothing_starts() -> None:
    from ament_index_python.packages import get_packages_with_prefixes

    if "rviz2" in get_packages_with_prefixes():
        pytest.skip("rviz2 is installed here")
    with pytest.raises(
        ValueError, match=r"^rviz: expected the package rviz2, which is not installed \(apt install"
    ):
        started(load("ovseg.launch.py"), rviz="true")


def test_the_words_of_the_parameters_are_the_nodes_own() -> None:
    parameters = pytest.importorskip("ovseg_ros.ros.parameters.table")
    names = {row.name for row in parameters.rows()}
    module = load("ovseg.launch.py")
    assert {*module.PASSED_ON, "autostart"} <= names


@pytest.fixture
def share(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A share folder of our own with the Fast DDS profiles, and an environment that has none."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    for variable in (*launching.PROFILES, "RMW_IMPLEMENTATION"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def test_demo_plays_the_recording_into_the_node(monkeypatch: pytest.MonkeyPatch, share: Path) -> None:
    module = load("demo.launch.py")
    (share / "demo" / "garage").mkdir(parents=True)
    (share / "demo" / "garage" / "metadata.yaml").write_text("")
    monkeypatch.setattr(module, "SHARE", share)
    (node, player_node), context = started(module, recording="garage", rate="2")
    assert environment(player_node) == dict.fromkeys(
        launching.PROFILES, str(share / "config" / "fastdds.xml")
    )
    player = resolve(player_node, context)
    assert player["executable"] == "player"
    assert player["command"][1:4] == [str(share / "demo" / "garage"), "--rate", "2.0"]
    handed_on = dict(node.launch_arguments)
    assert handed_on["preset"] == "lite"
    assert "motorcycle" in handed_on["vocabulary"]
    assert handed_on["image_topic"] == "/camera/color/image_raw"
    assert set(handed_on) <= set(ARGUMENTS)


@pytest.mark.parametrize(
    ("name", "value", "want"),
    [
        ("rate", "fast", r"expected a number of Hz above 0 and up to 1000, such as 5.0, got 'fast'"),
        ("rate", "0", "expected a number of Hz above 0"),
        ("rate", "nan", "expected a number of Hz above 0"),
        ("repeat", "often", "expected a whole number, 1 or more, got 'often'"),
        ("repeat", "0", "expected a whole number, 1 or more"),
    ],
)
def test_demo_names_an_argument_that_cannot_be(name: str, value: str, want: str, tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("")
    with pytest.raises(ValueError, match=f"^{name}: {want}"):
        started(load("demo.launch.py"), recording=str(tmp_path), **{name: value})


def test_demo_lets_the_camera_stand_still_before_each_photograph(
    monkeypatch: pytest.MonkeyPatch, share: Path
) -> None:
    module = load("demo.launch.py")
    (share / "demo" / "photographs").mkdir(parents=True)
    (share / "demo" / "photographs" / "classes.txt").write_text("cup\n")
    monkeypatch.setattr(module, "SHARE", share)
    (node, player_node), context = started(module, recording="photographs")
    assert resolve(player_node, context)["command"][2:6] == ["--rate", "5.0", "--repeat", "25"]
    assert dict(node.launch_arguments)["preset"] == "lite"
    (_, player_node), context = started(module, recording="photographs", repeat="3")
    assert resolve(player_node, context)["command"][4:6] == ["--repeat", "3"]


@pytest.mark.parametrize("name", ["ovseg.launch.py", "demo.launch.py"])
def test_a_fast_dds_profile_of_one_s_own_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launching.PROFILES[0], "mine.xml")
    entities, _context = started(load(name))
    assert [environment(entity) for entity in entities if hasattr(entity, "additional_env")] == [{}]


def test_demo_names_the_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"neither metadata\.yaml nor classes\.txt"):
        started(load("demo.launch.py"), recording=str(tmp_path))


def displays() -> dict[str, Any]:
    config = yaml.safe_load((ROOT / "config" / "ovseg.rviz").read_text())
    return {display["Name"]: display for display in config["Visualization Manager"]["Displays"]}


@pytest.mark.parametrize(
    ("name", "kind", "topic", "reliability"),
    [
        ("Camera", "Image", "/camera/color/image_raw", "Best Effort"),
        ("Overlay", "Image", "/ovseg/overlay", "Reliable"),
        ("Label image", "Image", "/ovseg/label_image", "Reliable"),
        ("Points", "PointCloud2", "/ovseg/points", "Best Effort"),
        ("Markers", "MarkerArray", "/ovseg/markers", "Reliable"),
    ],
)
def test_rviz_subscribes_with_a_matching_quality_of_service(
    name: str, kind: str, topic: str, reliability: str
) -> None:
    display = displays()[name]
    assert display["Class"] == f"rviz_default_plugins/{kind}"
    assert display["Enabled"]
    assert display["Topic"]["Value"] == topic
    assert display["Topic"]["Reliability Policy"] == reliability
    assert display["Topic"]["Depth"] == 1
