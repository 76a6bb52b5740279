"""A camera that plays the bundled table small, and sometimes stalls, jumps in time or sends what is wrong."""

from __future__ import annotations

import random
from array import array
from typing import Any

import numpy as np
import rclpy.time
from hostile import camera_infos, compressed_images, wrong_images
from hypothesis import HealthCheck, given, seed, settings
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ovseg_ros.app.web.images import shrink
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.ros.io.images import image_from_array

FRAME_ID = "camera"


def drawn(strategy: Any, count: int, number: int) -> list[Any]:
    """So many values of a strategy of the property-based tests."""
    found: list[Any] = []
    limits = {"database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}

    @seed(number)
    @settings(max_examples=count, **limits)
    @given(strategy)
    def note(value: Any) -> None:
        found.append(value)

    note()
    return found


def image_message(given_fields: Any) -> Image:
    """The Image that has these fields, as far as a message can hold them."""
    message = Image(header=Header(frame_id=FRAME_ID))
    message.height, message.width, message.step = (
        min(getattr(given_fields, name), 2**32 - 1) for name in ("height", "width", "step")
    )
    message.encoding = given_fields.encoding.encode(errors="ignore").decode().replace("\0", "")
    message.is_bigendian = min(given_fields.is_bigendian, 255)
    message.data = array("B", bytes(given_fields.data))
    return message


def compressed_message(given_fields: Any) -> CompressedImage:
    """The CompressedImage that has these fields."""
    message = CompressedImage(header=Header(frame_id=FRAME_ID), data=array("B", given_fields.data))
    message.format = given_fields.format.encode(errors="ignore").decode().replace("\0", "")
    return message


def info_message(given_fields: Any) -> CameraInfo:
    """The CameraInfo that has these fields."""
    message = CameraInfo(header=Header(frame_id=FRAME_ID))
    for name in ("width", "height", "binning_x", "binning_y", "distortion_model", "d", "k", "r", "p"):
        setattr(message, name, getattr(given_fields, name))
    for name in ("x_offset", "y_offset", "width", "height"):
        setattr(message.roi, name, getattr(given_fields.roi, name))
    return message


class Camera:
    """Publishes the recording's frames there and back for ever, as `rate` asks."""

    def __init__(
        self, node: Node, rng: random.Random, *, recording: str = "demo/tabletop", width: int = 128
    ) -> None:
        """Reads the recording and draws what is to be wrong."""
        self._node, self._rng = node, rng
        frames = [shrink(one.frame, width) for one in read_recording(recording_folder(recording))]
        self._frames = [*frames, *reversed(frames)]
        self.sizes_hw = {frame.size_hw for frame in frames}
        qos = QoSProfile(depth=1)
        self._images = node.create_publisher(Image, "image", qos)
        self._depths = node.create_publisher(Image, "depth", qos)
        self._infos = node.create_publisher(CameraInfo, "camera_info", qos)
        number = rng.randrange(2**32)
        self.wrong_images = [image_message(one) for one in drawn(wrong_images(), 200, number)]
        self._wrong_infos = [info_message(one) for one in drawn(camera_infos(), 100, number)]
        self.compressed = [compressed_message(one) for one in drawn(compressed_images(), 50, number)]
        self.sent = 0
        self.stalled_until_s = self.jumped_until_s = 0.0
        self.jump_s = 0.0

    def frame(self, number: int) -> tuple[Image, Image, CameraInfo]:
        """The messages of one frame, with the stamp of now."""
        frame = self._frames[number % len(self._frames)]
        header = Header(frame_id=FRAME_ID, stamp=self._stamp())
        noise = np.random.default_rng(number).integers(0, 4, frame.image_rgb.shape, dtype=np.uint8)
        image = image_from_array(header, np.minimum(frame.image_rgb, 251) + noise)
        depth = image_from_array(header, np.nan_to_num(frame.depth_m * 1000).clip(0, 65535).astype(np.uint16))
        lens = frame.intrinsics
        info = CameraInfo(header=header, width=lens.width, height=lens.height)
        info.k = [lens.fx, 0.0, lens.cx, 0.0, lens.fy, lens.cy, 0.0, 0.0, 1.0]
        return image, depth, info

    def step(self, now_s: float) -> None:
        """The next frame, unless the camera stalls."""
        if now_s < self.stalled_until_s:
            return
        if now_s > self.jumped_until_s:
            self.jump_s = 0.0
        image, depth, info = self.frame(self.sent)
        self.sent += 1
        self._infos.publish(info)
        if self._rng.random() > 0.05:  # sometimes depth is lost
            self._depths.publish(depth)
        self._images.publish(image)

    def send_wrong(self) -> None:
        """A message that is wrong, on one of the topics."""
        kind = self._rng.choice(["image", "depth", "info"])
        if kind == "info":
            self._infos.publish(self._rng.choice(self._wrong_infos))
            return
        message = self._rng.choice(self.wrong_images)
        if self._rng.random() < 0.7:
            message.header.stamp = self._stamp()
        (self._images if kind == "image" else self._depths).publish(message)

    def _stamp(self) -> Any:
        now = self._node.get_clock().now().nanoseconds + int(self.jump_s * 1e9)
        return rclpy.time.Time(nanoseconds=max(now, 1)).to_msg()
