"""The launch files run by the real `launch`, where it is installed: how they end, and what stays behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from domains import fresh_domains
from repository import ROOT

pytest.importorskip("launch", reason="`launch` is not on PyPI; it comes with a ROS installation")
pytest.importorskip("launch_ros", reason="`launch_ros` is not on PyPI; it comes with a ROS installation")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

pytestmark = [pytest.mark.ros, pytest.mark.slow]
PATIENCE_S = 120.0
_domains = fresh_domains()
RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
file, *given = sys.argv[1:]
arguments = [tuple(word.split(":=")) for word in given]
service = LaunchService()
included = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=arguments)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""


@contextlib.contextmanager
def launched(log: Path, name: str, *arguments: str) -> Iterator[Any]:
    """A launch in a session of its own, with what it says in `log`; nothing of it outlives the block."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(next(_domains)), "ROS_LOG_DIR": str(log.parent / "ros")}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(ROOT / "launch" / name), *arguments],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE_S)


def said(log: Path, *texts: str) -> None:
    """Waits until all the texts are in the log."""
    deadline = time.monotonic() + PATIENCE_S
    while not all(text in log.read_text() for text in texts):
        assert time.monotonic() < deadline, f"waited in vain for {texts}:\n{log.read_text()}"
        time.sleep(0.05)


def nobody_left(group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return False
    return True


@pytest.mark.parametrize("moment", ["while it loads", "under load"])
def test_ctrl_c_ends_everything_by_itself(moment: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with launched(log, "demo.launch.py", "rate:=30") as process:
        if moment == "under load":
            said(log, "playing", "is ready")
        else:
            said(log, "playing")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to launch and to what it started
        process.wait(PATIENCE_S)
        text = log.read_text()
        assert nobody_left(process.pid), text
    assert "escalating" not in text, text  # neither SIGTERM nor SIGKILL was needed, 3 s and 4 s after Ctrl-C
    assert "Traceback" not in text, text
    assert text.count("process has finished cleanly") == 2, text


@pytest.mark.parametrize(
    ("name", "argument", "want"),
    [
        (
            "demo.launch.py",
            "rate:=fast",
            "rate: expected a number of Hz above 0 and up to 1000, such as 5.0, got 'fast'",
        ),
        (
            "demo.launch.py",
            "log_level:=loud",
            "log_level: expected one of debug, info, warn, error, fatal, got 'loud'",
        ),
        ("demo.launch.py", "rviz:=ture", "rviz: expected true or false, got 'ture'"),
        ("ovseg.launch.py", "use_sim_time:=2", "use_sim_time: expected true or false, got '2'"),
        ("demo.launch.py", "rviz:=true", "rviz: expected the package rviz2, which is not installed"),
        ("ovseg.launch.py", "rviz:=true", "rviz: expected the package rviz2, which is not installed"),
    ],
)
def test_an_argument_that_cannot_be_is_said_and_nothing_starts(
    name: str, argument: str, want: str, tmp_path: Path
) -> None:
    from ament_index_python.packages import get_packages_with_prefixes

    if argument == "rviz:=true" and "rviz2" in get_packages_with_prefixes():
        pytest.skip("rviz2 is installed here")
    log = tmp_path / "log"
    with launched(log, name, argument) as process:
        assert process.wait(PATIENCE_S) == 1
        text = log.read_text()
        assert nobody_left(process.pid), text
    assert want in text
    assert "process started" not in text
