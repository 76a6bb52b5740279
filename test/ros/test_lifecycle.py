"""Lifecycle, parameters over their services, diagnostics, and the process from start to end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ovseg_ros.msg import ResultCode, Segmentation
from ovseg_ros.srv import SegmentImage
from rclpy.qos import QoSProfile
from ros_bench import Bench, fresh_domain, image_message, picture
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage, Image

from ovseg_ros.errors import WeightsError
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.run import main

pytestmark = pytest.mark.ros
FIXTURES = ROOT / "test" / "fixtures"


@pytest.fixture
def make_bench():
    made = []

    def make(*args, **parameters):
        made.append(Bench(*args, **{"max_frame_age": 60.0, **parameters}))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def test_every_transition_and_inactive_in_between(make_bench):
    bench = make_bench(autostart=False, vocabulary=["red"])
    request = SegmentImage.Request(image=image_message(picture()), labels=["red"])
    assert bench.call(bench.segment, request).code == ResultCode.INACTIVE  # unconfigured
    assert bench.find("red").code == ResultCode.INACTIVE
    assert not bench.transition("activate")
    assert bench.transition("configure")
    assert bench.node.vocabulary.names == ("red",)
    received = bench.segmentations()
    assert bench.call(bench.segment, request).code == ResultCode.INACTIVE  # inactive
    assert bench.images.get_subscription_count() == 0
    for _ in range(2):
        assert bench.transition("activate")
        bench.active()
        received.clear()
        bench.until(lambda: "segmentation" in bench.wanted())
        bench.show()
        bench.until(lambda: received)
        assert bench.find("red").code == ResultCode.FOUND
        assert bench.transition("deactivate")
        assert bench.find("red").code == ResultCode.INACTIVE
        bench.until(lambda: bench.images.get_subscription_count() == 0)
    thread = bench.node._worker.thread
    assert bench.transition("cleanup")
    assert bench.node.engine is None
    assert not thread.is_alive()
    assert not len(bench.node.vocabulary)
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.active().show()
    assert bench.find("red").code == ResultCode.FOUND
    assert bench.transition("active_shutdown")
    assert bench.node.engine is None


def test_cleanup_keeps_what_numbers_mean_and_versions_count_on(make_bench):
    bench = make_bench(autostart=False, vocabulary=["red"])
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.active()
    before = bench.words("blue", "red").vocabulary
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    assert not len(bench.node.vocabulary)
    assert bench.words("green").vocabulary.label_ids[0] == 2  # 0 and 1 were active a moment ago
    assert bench.transition("configure")
    assert bench.transition("activate")
    after = bench.active().words("red").vocabulary
    assert list(after.label_ids) == [list(before.label_ids)[1]]
    assert list(after.names_by_id) == ["red", "blue", "green"]
    assert after.version > before.version + 1


def test_a_running_search_ends_inactive(make_bench):
    bench = make_bench().active()
    handle = bench.begin_find("red", timeout=60.0)
    assert bench.transition("deactivate")
    assert bench.result_of(handle)[0].code == ResultCode.INACTIVE


def test_deactivated_in_mid_inference_publishes_nothing(make_bench):
    bench = make_bench(vocabulary="red").active()
    received = bench.segmentations()
    bench.proposer.gate.clear()
    bench.show()
    bench.until(lambda: bench.proposer.frames)
    assert bench.transition("deactivate")
    bench.proposer.gate.set()
    bench.node.submit(lambda: None).result(5)  # the frame is through the model
    assert received == []


def test_failing_configure_leaves_a_node_that_can_be_mended(make_bench):
    broken = [True]

    def make_segmenter(settings):
        if broken:
            raise WeightsError("no weights at /x; run: ovseg download mini")
        return bench.segmenter

    bench = make_bench(make_segmenter, autostart=False)
    assert not bench.transition("configure")
    broken.clear()
    assert bench.transition("configure")
    assert bench.transition("activate")


def test_parameters_live_and_refused(make_bench):
    bench = make_bench(vocabulary=["red", "blue"], threshold=1).active()
    assert bench.node.settings.threshold == 1.0  # an integer on the command line
    assert list(bench.vocabulary().thresholds) == [1.0, 1.0]
    bench.show()
    assert bench.find("red").code == ResultCode.NOT_FOUND
    assert bench.set(threshold=0.3).successful
    assert bench.find("red").code == ResultCode.FOUND
    latched = bench.vocabulary()
    assert latched.thresholds[0] == pytest.approx(0.3)
    assert bench.set(vocabulary=["green", ""]).successful
    assert bench.node.vocabulary.names == ("green",)
    assert list(bench.vocabulary().labels) == ["green"]
    assert bench.set(vocabulary=[]).successful
    assert bench.node.vocabulary.names == ()
    assert bench.set(vocabulary=["green"]).successful
    for values, reason in [
        ({"threshold": 2.0}, "0 to 1"),
        ({"threshold": "x"}, "expected double"),
        ({"image_transport": "theora"}, "raw, compressed"),
        ({"vocabulary": ["y" * 200]}, "128 bytes"),
        ({"vocabulary": None}, "expected string array"),  # ROS would forget the parameter
        ({"autostart": False}, ""),
    ]:
        result = bench.set(**values)
        assert not result.successful, values
        assert reason in result.reason
    assert bench.node.settings.threshold == 0.3
    assert bench.node.vocabulary.names == ("green",)


def test_background_and_mask_limits_are_live(make_bench):
    bench = make_bench().active()
    bench.show(picture(red=True, blue=True))
    assert bench.set(background_labels=["preset", "floor"]).successful
    assert bench.set(min_mask_pixels=70, max_masks=5, background_max_similarity=0.5, granularity=1.0)
    bench.show(picture(red=True, blue=True))
    bench.until(lambda: bench.node.engine.source.newest_seq() > bench.node.engine.last_seq)
    assert bench.find("blue").code == ResultCode.NOT_FOUND  # its 60 pixels are under the limit
    assert bench.find("red").code == ResultCode.FOUND
    assert bench.set(background_labels=[""]).successful
    assert bench.node.engine.options.background == ()


def test_256th_label_is_refused_by_name(make_bench):
    bench = make_bench().active()
    reply = bench.words(*(f"thing {n}" for n in range(255)))
    assert reply.success
    assert len(reply.vocabulary.labels) == 255
    assert not reply.rejected
    full = bench.words("giraffe", operation=1)
    assert list(full.rejected) == ["giraffe"]
    assert "255" in full.reasons[0]
    assert not full.success
    assert not bench.set(vocabulary=["giraffe"]).successful
    assert bench.words("thing 7").success


def test_compressed_transport(make_bench):
    import cv2

    bench = make_bench(image_transport="compressed", autostart=False, vocabulary="red")
    publisher = bench.client.create_publisher(CompressedImage, "/image/compressed", 1)
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.until(publisher.get_subscription_count)
    message = CompressedImage(format="png")
    for data, code in ((b"junk", ResultCode.NO_IMAGE), (None, ResultCode.FOUND)):
        message.data = data or cv2.imencode(".png", picture()[..., ::-1])[1].tobytes()
        message.header.stamp = bench.now()
        bench._send(publisher, message, lambda: bench.node.engine.source.counts.images)
        assert bench.find("red").code == code


def test_diagnostics(make_bench):
    bench = make_bench(vocabulary="red").active()
    heard = []
    bench.client.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)

    def said(level, word):
        return any(m.status[0].level == level and word in m.status[0].message for m in heard)

    bench.until(lambda: said(DiagnosticStatus.WARN, "no image has arrived"))
    bench.proposer.error = RuntimeError("cosmic ray")
    bench.show()
    bench.find("red")
    bench.until(lambda: said(DiagnosticStatus.ERROR, "cosmic ray"))
    status = heard[-1].status[0]
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == "/ovseg: segmentation"
    assert values["model"] == "colours"
    assert values["vocabulary"] == "red"
    assert values["images"] == "1"
    assert int(values["failed"]) >= 1
    assert int(values["memory_mb"]) > 10
    assert {"rate_hz", "inference_s", "latency_s", "dropped", "frame_age_s", "device"} <= set(values)


def test_depth_arriving_later_is_waited_for(make_bench):
    bench = make_bench(vocabulary="red", depth_wait=5.0).active()
    received = bench.segmentations()
    bench.show_with_depth(np.ones((24, 32), np.float32))
    bench.until(lambda: received)
    stamp = bench.now(0.1)  # out of the tolerance of the depth before
    bench.show(stamp=stamp)
    bench.depths.publish(image_message(np.full((24, 32), 2.0, np.float32), "32FC1", stamp))
    bench.until(lambda: len(received) == 2)
    assert received[1].has_depth
    assert received[1].segments[0].centroid.z == pytest.approx(2.0)


def test_simulated_time_that_stands_and_jumps_back(make_bench):
    bench = make_bench(use_sim_time=True, max_frame_age=1.0).active()  # started although no clock runs
    clock = bench.client.create_publisher(Clock, "/clock", 1)
    bench.until(clock.get_subscription_count)

    def set_clock(seconds):
        clock.publish(Clock(clock=Time(sec=seconds)))
        bench.until(lambda: bench.node.get_clock().now().nanoseconds == seconds * 10**9)

    set_clock(100)
    bench.show(stamp=Time(sec=100))
    assert bench.find("red").code == ResultCode.FOUND
    set_clock(102)
    assert bench.find("red", timeout=0.2).code == ResultCode.STALE_IMAGE
    set_clock(10)
    assert bench.find("red", timeout=0.2).code == ResultCode.NO_IMAGE  # the future's frame is forgotten
    bench.show(stamp=Time(sec=10))
    assert bench.find("red").code == ResultCode.FOUND


def test_qos_can_be_overridden(make_bench):
    depth = "qos_overrides./ovseg/segmentation.publisher.depth"
    bench = make_bench(autostart=False, **{depth: 7})
    assert bench.transition("configure")
    (output,) = [o for o in bench.node.cameras[""].outputs._outputs if o.name == "segmentation"]
    assert output.publisher.qos_profile.depth == 7
    assert bench.transition("cleanup")
    assert bench.transition("configure")  # the override is declared already


# The process


@pytest.fixture(autouse=True)
def signals():
    """A program ignores signals once it has run; the tests' own process is not to."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


CHILD = """
import sys, time
sys.path.insert(0, {here!r})
from ros_bench import colour_segmenter
from ovseg_ros.ros import run

def make_segmenter(settings):
    segmenter = colour_segmenter()
    inner = segmenter.proposer.propose
    def propose(frame):
        print("IN MODEL", flush=True)
        time.sleep(30)
        return inner(frame)
    segmenter.proposer.propose = propose
    return segmenter

run.STOP_TIMEOUT_S = 0.2
sys.exit(run.main([*sys.argv], make_segmenter))
"""


@contextlib.contextmanager
def camera(domain):
    """A camera that shows a picture ten times a second to whoever looks, and a listener to the results."""
    context = rclpy.context.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    node = rclpy.create_node("camera", context=context)
    publisher = node.create_publisher(Image, "/image", QoSProfile(depth=1))
    node.create_subscription(Segmentation, "/ovseg/segmentation", lambda _: None, 1)
    node.create_timer(0.1, lambda: publisher.publish(image_message(picture())))
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield
    executor.shutdown()
    thread.join(5)
    node.destroy_node()
    context.try_shutdown()


@pytest.mark.parametrize(
    ("moment", "end", "times"),
    [
        ("is ready", signal.SIGTERM, 1),
        ("IN MODEL", signal.SIGINT, 6),  # from the terminal and from launch
    ],
)
def test_a_signal_ends_the_process_with_status_0(moment, end, times):
    domain = fresh_domain()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(here=str(FIXTURES)), "--ros-args", "-p", "vocabulary:=red"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "ROS_DOMAIN_ID": str(domain)},
    )
    try:
        with camera(domain):
            seen = next((line for line in process.stdout if moment in line), None)
            assert seen is not None
            for _ in range(times):
                process.send_signal(end)
                time.sleep(0.12)
            output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0, output
    assert "Traceback" not in output, output


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("preset:=broken", "run: ovseg download mini"),
        ("threshold:=3.0", "expected 0 to 1"),
        ("offline:=7", "offline"),
        ("image_transport:=theora", "raw, compressed"),
    ],
)
def test_a_start_that_fails_says_why_and_ends_with_status_1(parameter, reason, capfd):
    def make_segmenter(settings):
        raise WeightsError(f"no weights for {settings.preset}; run: ovseg download mini")

    assert main(["--ros-args", "-p", parameter], make_segmenter) == 1
    assert reason in "".join(capfd.readouterr())


@pytest.mark.parametrize("through", ["command line", "file"])
def test_an_empty_list_is_no_words(through, tmp_path):
    """ROS hands `[]` on as no value at all."""
    seen = []

    def make_segmenter(settings):
        seen.append(settings)
        raise WeightsError("enough seen")

    given = ["-p", "vocabulary:=[]", "-p", "background_labels:=[]"]
    if through == "file":
        file = tmp_path / "params.yaml"
        file.write_text("ovseg:\n  ros__parameters:\n    vocabulary: []\n    background_labels: []\n")
        given = ["--params-file", str(file)]
    assert main(["--ros-args", *given], make_segmenter) == 1
    assert [(settings.vocabulary, settings.background_labels) for settings in seen] == [((), ())]


def test_config_file_is_read_by_ros_and_gives_the_defaults():
    seen = []

    def make_segmenter(settings):
        seen.append(settings)
        raise WeightsError("enough seen")

    config = ROOT / "config" / "ovseg.yaml"
    assert main(["--ros-args", "--params-file", str(config)], make_segmenter) == 1
    assert seen == [Settings()]
