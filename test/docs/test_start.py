"""docs/start.md: the three terminals of ROS give the answer that the page promises."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess

import pytest
from pages import blocks, command_lines
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import fresh_domain

pytestmark = pytest.mark.ros

PAGE = "start.md"
PATIENCE_S = 120.0
READY = "preset mini on cpu is ready"


def test_three_terminals_find_the_teapot():
    lines = command_lines(PAGE)
    camera, node, ask = (
        next(line for line in lines if line.startswith(start))
        for start in ("player ", "ovseg_node ", "ovseg ask ")
    )
    environment = {**os.environ, "ROS_DOMAIN_ID": str(fresh_domain())}
    others: list[subprocess.Popen[str]] = []
    try:
        for line in (camera, node):
            others.append(
                subprocess.Popen(
                    shlex.split(line),
                    cwd=ROOT,
                    env=environment,
                    stdout=subprocess.PIPE if line == node else subprocess.DEVNULL,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        assert any(READY in line for line in others[1].stdout), "the node ended before it was ready"
        done = subprocess.run(
            [*shlex.split(ask), "--timeout", "60"],  # the later option counts: a busy machine takes longer
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    finally:
        for process in others:
            process.send_signal(signal.SIGINT)
        for process in others:
            process.communicate(timeout=PATIENCE_S)
    assert READY in (ROOT / "docs" / PAGE).read_text(encoding="utf-8")
    promised = next(block for block in blocks(PAGE) if block.startswith("teapot: "))
    assert (done.returncode, done.stderr) == (0, "")
    where, end = done.stdout.splitlines()
    assert where.startswith("teapot: ")
    assert " in frame camera_color_optical_frame, " in where
    assert " in frame camera_color_optical_frame, " in promised
    assert end == promised.splitlines()[1]
