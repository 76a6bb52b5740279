"""benchmark/overhead.py runs: it fills every message of the node, its stand-ins too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from domains import fresh_domains
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

pytestmark = [pytest.mark.ros, pytest.mark.slow]


def test_every_output_is_measured_in_every_frame(tmp_path):
    written = tmp_path / "overhead.json"
    small = ["--frames", "2", "--rounds", "1", "--height", "120", "--width", "160", "--out", str(written)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmark" / "overhead.py"), *small],
        env=os.environ | {"ROS_DOMAIN_ID": str(next(fresh_domains()))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    cases = json.loads(written.read_text())["cases"]
    made = {stage.partition(":")[0] for stage in cases["all"] if stage.endswith(": make")}
    assert {"segmentation", "overlay", "points", "markers"} < made
    assert any(topic.startswith("detections_3d") for topic in made)
    assert {stage for stage in cases["segmentation"] if stage.endswith(": make")} == {"segmentation: make"}
    assert all(cases[case]["wall"]["of"] == 2 for case in cases)
