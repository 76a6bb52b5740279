"""What `ovseg doctor` hears of a camera, over real DDS."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import cv2
import rclpy
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from ros_bench import camera_info_message, fresh_domain, image_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.app.doctor.camera import check_camera
from ovseg_ros.ros.listening import listen

pytestmark = pytest.mark.ros
TOPICS = {"image": "/cam/rgb", "depth": "/cam/depth", "camera_info": "/cam/info"}
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
HEIGHT, WIDTH = 12, 16


@contextmanager
def publishing(send, *, topics=TOPICS, kinds=(Image, Image)):
    """Calls send(image, depth, stamp) 20 times a second, camera_info latched; gives the domain."""
    domain, context = fresh_domain(), rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    node = rclpy.create_node("camera", context=context)
    image, depth = (node.create_publisher(kind, topics[name], 5) for kind, name in zip(kinds, topics))
    info = node.create_publisher(CameraInfo, topics["camera_info"], LATCHED)
    info.publish(camera_info_message(HEIGHT, WIDTH))
    done = threading.Event()

    def run():
        while not done.wait(0.05):
            send(image, depth, node.get_clock().now())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield domain
    finally:
        done.set()
        thread.join()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def rgb(stamp):
    return image_message(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), "rgb8", stamp.to_msg(), "optical")


def metres(value, stamp, shape=(HEIGHT, WIDTH), frame="optical"):
    return image_message(np.full(shape, value, np.float32), "32FC1", stamp.to_msg(), frame)


def judged(domain, topics=TOPICS):
    checks = check_camera(listen(topics, 0.8, domain), needs_depth=False)
    return {check.name: check for check in checks}


def test_a_camera_that_is_well_is_heard_latched_intrinsics_included():
    def send(image, depth, now):
        image.publish(rgb(now))
        depth.publish(metres(0.9, now))

    with publishing(send) as domain:
        checks = judged(domain)
    assert {name: check.level for name, check in checks.items() if name != "image"} == dict.fromkeys(
        ("stamps", "depth", "depth's values", "camera_info"), "OK"
    )
    assert "16x12 rgb8, frame 'optical'" in checks["image"].found
    assert "Hz" in checks["image"].found


def test_depth_of_another_frame_in_another_unit_and_stamps_of_the_future_are_told():
    ahead = rclpy.duration.Duration(seconds=4)

    def send(image, depth, now):
        image.publish(rgb(now + ahead))
        depth.publish(metres(0.9, now + ahead, frame="depth_optical"))

    with publishing(send) as domain:
        checks = judged(domain)
    assert (checks["depth"].level, "expected the frame of the image" in checks["depth"].found) == (
        "WARN",
        True,
    )
    assert checks["stamps"].level == "ERROR"
    assert "ahead of the node's clock" in checks["stamps"].found

    def millimetres(image, depth, now):
        image.publish(rgb(now))
        depth.publish(metres(900.0, now))

    with publishing(millimetres) as domain:
        checks = judged(domain)
    assert "the nearest surface is 900 m away" in checks["depth's values"].found
    assert "depth_scale" in checks["depth's values"].cure


def test_packed_images_are_heard_and_the_node_s_transport_is_named():
    compressed = {**TOPICS, "image": "/cam/rgb/compressed"}
    packed = CompressedImage(
        format="png", data=cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    )

    def send(image, depth, now):
        packed.header.stamp = now.to_msg()
        image.publish(packed)

    with publishing(send, topics=compressed, kinds=(CompressedImage, Image)) as domain:
        checks = judged(domain, compressed)
    assert checks["image"].found.endswith("the node takes it with image_transport compressed")
    assert checks["stamps"].level == "OK"
    assert checks["depth"].level == "WARN"  # published, and nothing comes


def test_what_does_not_come_is_told_with_what_is_there_instead():
    other = {**TOPICS, "image": "/cam/rgb/compressed", "depth": "/cam/other"}

    def send(image, depth, now):
        image.publish(CompressedImage())

    with publishing(send, topics=other, kinds=(CompressedImage, Image)) as domain:
        checks = judged(domain)
        raw = judged(domain, {"image": "/cam/other/compressed"})
    assert checks["image"].level == "ERROR"
    assert "/cam/rgb/compressed is" in checks["image"].cure
    assert checks["depth"].found == "depth on /cam/depth (0 publishers): nobody publishes it"
    assert "but /cam/other is: name that, and set the node's image_transport to raw" in raw["image"].cure
