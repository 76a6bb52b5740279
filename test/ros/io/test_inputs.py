"""What cameras send, over real DDS: every QoS of camera_info, transports, scales, and what is missing."""

from __future__ import annotations

import array
import struct
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import rclpy
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rclpy.time import Time
from ros_bench import Bench, camera_info_message, image_message, picture
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.ros.inference.diagnostics import verdict
from ovseg_ros.ros.io import inputs

pytestmark = pytest.mark.ros
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
BEST_EFFORT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=1)


@pytest.fixture
def make_bench():
    made = []

    def make(**parameters):
        made.append(Bench(**{"max_frame_age": 60.0, "vocabulary": "red", **parameters}))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


def source_of(bench):
    return bench.node.engine.source


def depth_message(stamp, metres=2.0):
    return image_message(np.full((24, 32), metres, np.float32), "32FC1", stamp)


def send_depth(bench, message):
    bench._send(bench.depths, message, lambda: source_of(bench).seen()["depth"].messages)


def show_with_depth(bench, message, *, after_s=0.0):
    """Forgets what was there, and sends depth and a picture `after_s` later."""
    source_of(bench).reset()
    send_depth(bench, message)
    bench.show(stamp=(Time.from_msg(message.header.stamp) + Duration(seconds=after_s)).to_msg())


def send_info(bench, message=None):
    message = message or camera_info_message()
    bench._send(bench.infos, message, lambda: source_of(bench).seen()["camera_info"].messages)


# camera_info, whoever publishes it, and whenever


def test_camera_info_latched_before_the_start_arrives_and_stays(make_bench):
    bench = make_bench(autostart=False)
    bench.client.destroy_publisher(bench.infos)
    bench.infos = bench.client.create_publisher(CameraInfo, "/camera_info", LATCHED)
    bench.infos.publish(camera_info_message(focal=31.0))  # once, as some drivers do
    assert bench.transition("configure")
    assert bench.transition("activate")
    bench.active()
    info = bench.until(lambda: source_of(bench)._camera_info, "for the latched camera_info")
    assert info.k[0] == 31.0
    assert bench.transition("deactivate")
    assert bench.transition("activate")
    bench.active()
    show_with_depth(bench, depth_message(bench.now()))
    assert bench.find("red", want_3d=True).code == ResultCode.FOUND
    show_with_depth(bench, depth_message(bench.now()))  # after a reset, as by time that jumps back
    assert bench.find("red", want_3d=True).code == ResultCode.FOUND


@pytest.mark.parametrize("qos", [BEST_EFFORT, RELIABLE, LATCHED], ids=["best effort", "reliable", "latched"])
def test_camera_info_of_every_publisher_arrives(make_bench, qos):
    bench = make_bench()
    bench.client.destroy_publisher(bench.infos)
    bench.infos = bench.client.create_publisher(CameraInfo, "/camera_info", qos)
    bench.active()
    bench.until(lambda: bench.infos.publish(camera_info_message()) or source_of(bench)._camera_info)
    bench.until(lambda: (bench.node.cameras[""]._inputs._latched is not None) == (qos is LATCHED))


def test_a_latched_publisher_beside_another_is_heard(make_bench):
    bench = make_bench().active()  # the bench's own camera_info keeps nothing
    latched = bench.client.create_publisher(CameraInfo, "/camera_info", LATCHED)
    latched.publish(camera_info_message(focal=31.0))
    bench.until(lambda: source_of(bench)._camera_info)
    bench.until(lambda: bench.node.cameras[""]._inputs._latched is not None)
    other = camera_info_message(focal=32.0)  # more than once: what was latched may come after the first
    bench.until(lambda: bench.infos.publish(other) or source_of(bench)._camera_info.k[0] == 32.0)


def test_durability_can_be_overridden_and_for_one_topic_alone(make_bench):
    override = "qos_overrides./camera_info.subscription"
    bench = make_bench(**{f"{override}.durability": "transient_local", f"{override}.reliability": "reliable"})
    bench.until(lambda: bench.node.active)
    profiles = [one.subscription.qos_profile for one in bench.node.cameras[""]._inputs._all]
    assert [one.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL for one in profiles] == [False, False, True]
    assert [one.reliability == QoSReliabilityPolicy.RELIABLE for one in profiles] == [False, False, True]


# Depth in other clothes


def compressed_depth(millimetres, stamp):
    """What compressed_depth_image_transport sends of 16UC1: twelve bytes, then a PNG."""
    png = cv2.imencode(".png", millimetres)[1].tobytes()
    message = CompressedImage(format="16UC1; compressedDepth png")
    message.data = array.array("B", struct.pack("<iff", 0, 0.0, 0.0) + png)
    message.header.stamp, message.header.frame_id = stamp, "camera"
    return message


def test_compressed_depth_is_subscribed_to(make_bench):
    bench = make_bench(depth_transport="compressedDepth")
    bench.client.destroy_publisher(bench.depths)
    bench.depths = bench.client.create_publisher(CompressedImage, "/depth/compressedDepth", RELIABLE)
    bench.active()
    send_info(bench)
    show_with_depth(bench, compressed_depth(np.full((24, 32), 1500, np.uint16), bench.now()))
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.FOUND
    assert result.segments[0].centroid.z == pytest.approx(1.5)
    # A foreign size is said of a message that has no width.
    show_with_depth(bench, compressed_depth(np.full((12, 16), 1500, np.uint16), bench.now()))
    assert "expected the size of the image, 32x24, got 16x12" in bench.find("red", want_3d=True).message


def test_depth_scale_is_live_everywhere_and_an_implausible_unit_is_remarked(make_bench):
    bench = make_bench().active()
    send_info(bench)
    tenths = np.full((24, 32), 8000, np.uint16)  # 0.8 m in tenths of a millimetre
    given = SegmentImage.Request(image=image_message(picture()), labels=["red"])
    given.depth, given.camera_info = image_message(tenths, "16UC1"), camera_info_message()

    def distances():
        show_with_depth(bench, image_message(tenths, "16UC1", bench.now()))
        found = bench.find("red", want_3d=True).segments[0].centroid.z
        return found, bench.call(bench.segment, given).segmentation.segments[0].centroid.z

    assert distances() == pytest.approx((8.0, 8.0))
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert "depth_scale" in message
    bench.until(lambda: bench.node.cameras[""]._inputs._said_remark, "for the remark in the log")
    assert not bench.set(depth_scale=-1.0).successful
    assert bench.set(depth_scale=0.0001).successful
    bench.node.engine.reader._remarked_s = -float("inf")  # it is judged once a second
    assert distances() == pytest.approx((0.8, 0.8))
    assert verdict(bench.node)[0] == "OK"


def test_intrinsics_are_read_as_image_geometry_does(make_bench):
    """Binning, and P where K is 0, in the camera's messages and in a request's."""
    bench = make_bench().active()
    binned = camera_info_message(height=48, width=64, focal=60.0)
    binned.binning_x = binned.binning_y = 2
    by_p = CameraInfo(height=24, width=32)
    by_p.p = [30.0, 0.0, 16.0, 0.0, 0.0, 30.0, 12.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    for info in (binned, by_p):
        send_info(bench, info)
        depth = depth_message(bench.now(), 1.5)
        show_with_depth(bench, depth)
        given = SegmentImage.Request(
            image=image_message(picture()), depth=depth, camera_info=info, labels=["red"]
        )
        given.depth.header.frame_id = given.image.header.frame_id
        for answer in (bench.find("red", want_3d=True), bench.call(bench.segment, given).segmentation):
            assert answer.segments[0].size.x == pytest.approx(10 * 1.5 / 30, abs=2e-3)
    given.camera_info = CameraInfo(height=24, width=32)
    assert "never calibrated (K is 0)" in bench.call(bench.segment, given).message
    given.camera_info = CameraInfo()
    assert "expected camera_info with depth, got none" in bench.call(bench.segment, given).message


# What is missing, in diagnostics, in replies and in the log


def replies(bench):
    """The codes and messages of both interfaces about the newest image."""
    found = bench.find("red", timeout=0.1, want_3d=True)
    segmented = bench.call(bench.segment, SegmentImage.Request(labels=["red"]))
    return (found.code, found.message), (segmented.code, segmented.message)


def all_say(bench, code, *words, level="WARN"):
    for got, message in replies(bench):
        assert got == code, message
        assert all(word in message for word in words), message
    told = verdict(bench.node)
    assert told[0] == level
    assert all(word in told[1] for word in words), told
    return told[1]


def test_an_image_nobody_publishes(make_bench):
    bench = make_bench().active()
    bench.client.destroy_publisher(bench.images)
    bench.until(lambda: not bench.node.count_publishers("/image"))
    all_say(bench, ResultCode.NO_IMAGE, "no image has arrived", "image on /image (0 publishers)", "nobody")
    bench.images = bench.client.create_publisher(CompressedImage, "/image/compressed", RELIABLE)
    bench.until(lambda: bench.node.count_publishers("/image/compressed"))
    all_say(bench, ResultCode.NO_IMAGE, "/image/compressed is published: set image_transport to compressed")


def test_an_image_of_another_type_or_qos_or_that_never_comes(make_bench):
    bench = make_bench(**{"qos_overrides./image.subscription.reliability": "reliable"}).active()
    all_say(bench, ResultCode.NO_IMAGE, "image on /image (1 publisher)", "is the camera streaming?")
    bench.client.destroy_publisher(bench.images)
    bench.images = bench.client.create_publisher(Image, "/image", BEST_EFFORT)
    what = "qos_overrides./image.subscription.reliability"
    bench.until(lambda: what in verdict(bench.node)[1])
    all_say(bench, ResultCode.NO_IMAGE, "image on /image (1 publisher)", "do not match", what)
    bench.client.destroy_publisher(bench.images)


def test_an_image_topic_that_carries_another_type(make_bench):
    bench = make_bench(autostart=False)
    other = Context()  # Fast DDS has one type for a topic in a process's participant
    rclpy.init(args=[], context=other, domain_id=bench.context.get_domain_id())
    stranger = rclpy.create_node("stranger", context=other)
    try:
        bench.client.destroy_publisher(bench.images)
        stranger.create_publisher(CompressedImage, "/image", RELIABLE)
        assert bench.transition("configure")
        assert bench.transition("activate")
        what = "expected sensor_msgs/msg/Image there, got sensor_msgs/msg/CompressedImage"
        bench.until(lambda: what in verdict(bench.node)[1])
        all_say(bench, ResultCode.NO_IMAGE, "image on /image (1 publisher)", what)
    finally:
        stranger.destroy_node()
        other.try_shutdown()


def needing_depth(make_bench):
    bench = make_bench().active()
    source_of(bench).needs_depth = True
    return bench


def test_depth_that_never_comes_to_a_preset_that_needs_it(make_bench):
    bench = needing_depth(make_bench)
    send_info(bench)
    bench.show()
    told = all_say(
        bench, ResultCode.NO_DEPTH, "depth on /depth (1 publisher)", "no message of it has arrived"
    )
    assert "camera_info" not in told
    bench.client.destroy_publisher(bench.depths)
    bench.until(lambda: not bench.node.count_publishers("/depth"))
    all_say(bench, ResultCode.NO_DEPTH, "depth on /depth (0 publishers)", "nobody publishes it")


def test_depth_33_ms_away_is_named_with_the_gap_and_the_parameter(make_bench):
    bench = needing_depth(make_bench)
    send_info(bench)
    show_with_depth(bench, depth_message(bench.now()), after_s=0.033)
    words = ("depth on /depth (1 publisher)", "33 ms earlier", "sync_tolerance is 20 ms")
    all_say(bench, ResultCode.NO_DEPTH, *words)
    source_of(bench).needs_depth = False  # now the image is used without, and that is said as well
    bench.until(lambda: source_of(bench).newest() is not None)
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.NO_DEPTH
    assert all(word in result.message for word in words)
    assert all(word in verdict(bench.node)[1] for word in words)
    assert bench.set(sync_tolerance=0.04).successful
    show_with_depth(bench, depth_message(bench.now()), after_s=0.033)
    assert bench.find("red", want_3d=True).code == ResultCode.FOUND
    assert verdict(bench.node)[0] == "OK"


def test_depth_of_another_clock(make_bench):
    bench = needing_depth(make_bench)
    send_info(bench)
    send_depth(bench, depth_message(Time(seconds=12_345).to_msg()))
    bench.show()
    all_say(bench, ResultCode.NO_DEPTH, "depth on /depth (1 publisher)", "the stamps are of two clocks")


def test_camera_info_that_never_comes_is_not_called_depth(make_bench):
    bench = needing_depth(make_bench)
    show_with_depth(bench, depth_message(bench.now()))
    told = all_say(bench, ResultCode.NO_DEPTH, "camera_info on /camera_info (1 publisher)")
    assert "depth on" not in told
    source_of(bench).needs_depth = False
    bench.until(lambda: source_of(bench).newest() is not None)
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.NO_DEPTH
    assert "camera_info on /camera_info (1 publisher)" in result.message
    assert verdict(bench.node)[0] == "WARN"


def test_a_camera_that_was_never_calibrated(make_bench):
    bench = make_bench().active()
    send_info(bench, CameraInfo(height=24, width=32))
    show_with_depth(bench, depth_message(bench.now()))
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.NO_DEPTH
    words = ("camera_info on /camera_info (1 publisher)", "never calibrated (K is 0)")
    assert all(word in result.message for word in words)
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert all(word in message for word in words)


def test_depth_unknown_on_the_thing_alone_is_said_as_that(make_bench):
    bench = make_bench().active()
    send_info(bench)
    depth = np.full((24, 32), 2.0, np.float32)
    depth[4:12, 6:16] = 0
    show_with_depth(bench, image_message(depth, "32FC1", bench.now()))
    result = bench.find("red", want_3d=True)
    assert result.code == ResultCode.NO_DEPTH
    assert "unknown (0 or NaN) all over it" in result.message


def test_the_log_says_it_now_and_then(make_bench, monkeypatch):
    monkeypatch.setattr(inputs, "PATIENCE_S", 0.0)
    bench = make_bench().active()
    said = []
    logger = bench.node.get_logger()
    monkeypatch.setattr(type(logger), "warning", lambda self, text, **_: said.append(text))
    bench.until(lambda: any("image on /image (1 publisher)" in text for text in said))
    time.sleep(2 * inputs.WATCH_PERIOD_S)
    assert len([text for text in said if "image on /image" in text]) == 1
