"""The process ends by SIGINT and SIGTERM at any moment: status 0, no traceback, soon."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import rclpy
from ovseg_ros.srv import SegmentImage
from ros_bench import PATIENCE_S, fresh_domain, image_message, picture

pytestmark = pytest.mark.ros
FIXTURES = ROOT / "test" / "fixtures"
SCRIPT = ROOT / "scripts" / "nodes" / "ovseg_node"
SEED = 15
ENDINGS = 20

# As the script begins, then a model that does what the test is about.
CHILD = """
import os, signal, sys, time
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: os._exit(0))
print("FIRST LINE", flush=True)
sys.path.insert(0, {here!r})

def make_segmenter(settings):
    from ros_bench import colour_segmenter
    print("LOADING", flush=True)
    {load}
    return colour_segmenter()

from ovseg_ros.ros.run import main
status = main(sys.argv, make_segmenter)
print("STATUS", status, flush=True)
sys.exit(status)
"""
SCRIPT_CHILD = (
    "import runpy; print('FIRST LINE', flush=True); runpy.run_path({script!r}, run_name='__main__')"
)
NOISE = (
    "Traceback",
    "Error",
    "invalid",
    "Failed",
    "never retrieved",
    "already executing",
    "terminate called",
)


class Child:
    def __init__(self, load="pass", script=False, said=""):
        code = (
            SCRIPT_CHILD.format(script=str(SCRIPT)) if script else CHILD.format(here=str(FIXTURES), load=load)
        )
        self.domain = fresh_domain()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "ROS_DOMAIN_ID": str(self.domain)}
        arguments = ["--ros-args", "-p", "vocabulary:=red"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )
        self.said = []
        if said:
            self.until(said)

    def until(self, words):
        for line in self.process.stdout:
            self.said.append(line)
            if words in line:
                return
        raise AssertionError(f"{words!r} was never said:\n{''.join(self.said)}")

    def end(self, number, times=1):
        """Sends the signal; returns the seconds until the end."""
        start = time.monotonic()
        for _ in range(times):
            self.process.send_signal(number)
        try:
            output, _ = self.process.communicate(timeout=PATIENCE_S)
        finally:
            self.process.kill()
        self.said.append(output)
        return time.monotonic() - start

    def check_quiet(self):
        output = "".join(self.said)
        assert self.process.returncode == 0, (self.process.returncode, output)
        assert not [word for word in NOISE if word in output], output


@pytest.mark.parametrize(
    ("number", "load"),
    [(signal.SIGINT, "time.sleep(600)"), (signal.SIGTERM, "while True: pass")],
    ids=["waits in C", "keeps Python's lock"],
)
def test_a_signal_ends_configure_while_the_model_loads(number, load):
    child = Child(load)
    child.until("LOADING")
    seconds = child.end(number, times=2)
    child.check_quiet()
    assert seconds < 60  # 600 without; how soon is bounded by END_S, see below


def test_the_clean_up_is_bounded():
    """What cannot be interrupted does not keep the process: 2.5 s after the signal it is left at once."""
    from ovseg_ros.ros import ending, run

    assert run.STOP_TIMEOUT_S < ending.END_S < 3
    code = """
import os, signal, time
from ovseg_ros.ros.ending import Ending
with Ending(end_s=0.2) as ending:
    ending.begin()
    os.kill(os.getpid(), signal.SIGTERM)
    assert ending.requested
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_does_not_take_itself_apart():
    code = """
import atexit, time
from ovseg_ros.ros.ending import leave
class Slow:
    def __del__(self):
        print("taken apart", flush=True)
        time.sleep(600)
kept = Slow()
atexit.register(print, "put away")
print("begun", end=" ")
leave(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "begun put away\n", "")


def test_requests_that_wait_when_the_signal_comes_are_no_noise():
    """One is in a model that does not return, the others queue; rclpy says of each what became of it."""
    child = Child(
        "import ros_bench\n    ros_bench.ColourProposer.propose = lambda *_: time.sleep(600)", said="is ready"
    )
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=child.domain)
    node = rclpy.create_node("planner", context=context)
    client = node.create_client(SegmentImage, "/ovseg/segment")
    try:
        assert client.wait_for_service(PATIENCE_S)
        for _ in range(4):
            client.call_async(SegmentImage.Request(labels=["red"], image=image_message(picture())))
        time.sleep(1.0)
        child.end(signal.SIGTERM)
    finally:
        node.destroy_node()
        context.try_shutdown()
    child.check_quiet()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_importing_leaves_no_traceback(number):
    child = Child(script=True)
    child.until("FIRST LINE")
    time.sleep(0.5)  # the script has begun, torch is not there yet
    child.end(number)
    child.check_quiet()


def test_afterwards_signals_are_ignored():
    """The interpreter takes a while to end, and puts handlers written in Python back before it has."""
    code = """
import os, signal
from ovseg_ros.ros.ending import Ending
with Ending():
    pass
for number in (signal.SIGINT, signal.SIGTERM):
    os.kill(os.getpid(), number)
raise SystemExit(1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_random_moments_end_quietly():
    """From the program's first line, over its imports and its model, to a node that has run for a while."""
    moments = random.Random(SEED)
    for _ in range(ENDINGS):
        child = Child()
        child.until("FIRST LINE")
        moment = moments.uniform(0.0, 8.0)
        time.sleep(moment)
        child.end(moments.choice([signal.SIGINT, signal.SIGTERM]), times=moments.choice([1, 1, 3]))
        child.said.append(f"at {moment:.3f} s")
        child.check_quiet()
