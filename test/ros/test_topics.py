"""The tables of docs/interfaces.md hold every topic of the node with its type."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from repository import ROOT
from ros_bench import Bench

from ovseg_ros.ros.io.outputs import vision_msgs

pytestmark = pytest.mark.ros
EVERY_NODE_HAS = {"/rosout", "/parameter_events", "/ovseg/transition_event"}


def test_the_tables_are_the_nodes_topics():
    text = (ROOT / "docs" / "interfaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(~/\w+|/diagnostics)` \| (\w+)/(\w+)", text.split("## Words")[0], re.MULTILINE)
    documented = {
        name.replace("~", "/ovseg"): f"{package}/msg/{kind}"
        for name, package, kind in rows
        if package != "vision_msgs" or vision_msgs()
    }
    bench = Bench()
    try:
        node = bench.active().node
        there = node.get_publisher_names_and_types_by_node("ovseg", "/")
        there += node.get_subscriber_names_and_types_by_node("ovseg", "/")
        offered = {
            name: kinds[0]
            for name, kinds in there
            if name not in EVERY_NODE_HAS and name.startswith(("/ovseg/", "/diagnostics"))
        }
    finally:
        bench.close()
    assert {name: kind for name, kind in offered.items() if "/_action/" not in name} == documented
