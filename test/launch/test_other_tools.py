"""The Foxglove layout and the Nav2 costmap name topics that exist, with their types."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from repository import ROOT

FOXGLOVE = json.loads((ROOT / "config" / "foxglove.json").read_text(encoding="utf-8"))
NAV2 = yaml.safe_load((ROOT / "config" / "nav2_costmap.yaml").read_text(encoding="utf-8"))
LAYER = NAV2["local_costmap"]["local_costmap"]["ros__parameters"]["semantic_layer"]
CAMERA = {
    "/camera/color/image_raw": "sensor_msgs/Image",
    "/camera/color/camera_info": "sensor_msgs/CameraInfo",
}
# From the sources of the plugin at commit b269885: what it declares for itself, a source and a class type.
LAYER_PARAMETERS = {
    "plugin", "enabled", "combination_method", "observation_sources", "publish_debug_topics",
    "use_approximate_time_sync", "sensor_data_depth",
}  # fmt: skip
SOURCE_PARAMETERS = {
    "segmentation_topic", "confidence_topic", "labels_topic", "pointcloud_topic", "class_types",
    "observation_persistence", "expected_update_rate", "max_obstacle_distance", "min_obstacle_distance",
    "tile_map_decay_time", "visualize_tile_map", "use_cost_selection", "camera_horizontal_fov",
    "camera_vertical_fov", "fov_decay_time", "outside_fov_decay_time", "visualize_frustum_fov",
}  # fmt: skip
CLASS_PARAMETERS = {
    "classes", "base_cost", "max_cost", "mark_confidence", "samples_to_max_cost", "dominant_priority",
}  # fmt: skip


def documented() -> dict[str, str]:
    """Topic -> type in the tables of docs/interfaces.md, `~` being /ovseg, and the camera's as launched."""
    text = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([~/\w]+)` \| (\w+/\w+)", text, re.MULTILINE)
    return {**CAMERA, **{name.replace("~", "/ovseg"): kind for name, kind in rows}}


def used_by_foxglove() -> dict[str, set[str]]:
    """Topic -> the types that its panels can show or send."""
    used: dict[str, set[str]] = {}

    def uses(topic, *kinds):
        used.setdefault(topic, set(kinds)).intersection_update(kinds)

    for name, panel in FOXGLOVE["configById"].items():
        kind = name.split("!")[0]
        if kind == "Image":
            uses(panel["imageMode"]["imageTopic"], "sensor_msgs/Image")
            if "calibrationTopic" in panel["imageMode"]:
                uses(panel["imageMode"]["calibrationTopic"], "sensor_msgs/CameraInfo")
        elif kind == "3D":
            for topic in panel["topics"]:
                uses(topic, "sensor_msgs/PointCloud2", "visualization_msgs/MarkerArray")
        elif kind == "Publish":
            uses(panel["topicName"], panel["datatype"].replace("/msg/", "/"))
        elif kind == "RawMessages":
            uses(panel["topicPath"], "ovseg_ros/Vocabulary")
        elif kind.startswith("Diagnostic"):
            uses(panel["topicToRender"], "diagnostic_msgs/DiagnosticArray")
        else:
            raise AssertionError(f"what does a panel {kind} show?")
    return used


def leaves(layout):
    return [layout] if isinstance(layout, str) else leaves(layout["first"]) + leaves(layout["second"])


def test_foxglove_shows_and_sends_topics_that_exist_with_that_type():
    table, used = documented(), used_by_foxglove()
    assert {
        "/ovseg/overlay",
        "/ovseg/markers",
        "/ovseg/points",
        "/ovseg/query",
        "/diagnostics",
    } <= used.keys()
    assert {topic: table.get(topic) for topic, kinds in used.items() if table.get(topic) not in kinds} == {}


def test_every_foxglove_panel_is_on_the_screen_once():
    assert sorted(leaves(FOXGLOVE["layout"])) == sorted(FOXGLOVE["configById"])
    assert all(panel["visible"] for panel in FOXGLOVE["configById"]["3D!scene"]["topics"].values())


def test_the_query_panel_sends_what_the_node_reads():
    from ovseg_ros.core.words import parse_query

    value = json.loads(FOXGLOVE["configById"]["Publish!query"]["value"])
    assert value.keys() == {"data"}
    assert parse_query(value["data"])


def test_nav2_reads_topics_that_exist_with_that_type():
    table, source = documented(), LAYER["ovseg"]
    assert {
        name: table.get(source[f"{name}_topic"])
        for name in ("segmentation", "confidence", "labels", "pointcloud")
    } == {
        "segmentation": "sensor_msgs/Image",
        "confidence": "sensor_msgs/Image",
        "labels": "vision_msgs/LabelInfo",
        "pointcloud": "sensor_msgs/PointCloud2",
    }


def test_nav2_parameters_are_those_of_the_plugin():
    assert "semantic_layer" in NAV2["local_costmap"]["local_costmap"]["ros__parameters"]["plugins"]
    assert set(LAYER) == {*LAYER_PARAMETERS & set(LAYER), LAYER["observation_sources"]}
    source = LAYER[LAYER["observation_sources"]]
    assert set(source) == {*SOURCE_PARAMETERS & set(source), *source["class_types"]}
    for name in source["class_types"]:
        assert set(source[name]) == CLASS_PARAMETERS
        assert source[name]["base_cost"] <= source[name]["max_cost"] <= 254


@pytest.mark.parametrize("kind", LAYER["ovseg"]["class_types"])
def test_nav2_classes_are_words_the_node_takes_as_they_stand(kind):
    from ovseg_ros.core.words import Vocabulary

    words = LAYER["ovseg"][kind]["classes"]
    vocabulary, rejected = Vocabulary.empty().replace(words)
    assert not rejected
    assert list(vocabulary.names) == words
