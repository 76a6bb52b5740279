"""The node's subscriptions to the camera, which exist while it is active."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.ros.io.frame_source import FrameSource

SENSOR_1 = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)


class Inputs:
    """`image` (or `image/compressed`), `depth` and `camera_info`, handed to a frame source."""

    def __init__(self, node: Any, source: FrameSource, after: Callable[[], None], transport: str) -> None:
        """Subscribes; `after()` is called after every message, `transport` is raw or compressed."""
        self._node = node
        self._after = after
        if transport == "raw":
            image = self._subscribe(Image, "image", source.add_image)
        else:  # as image_transport does: first the base name is remapped, then the transport appended
            base = node.resolve_topic_name("image")
            image = self._subscribe(CompressedImage, f"{base}/compressed", source.add_image)
        depth = self._subscribe(Image, "depth", source.add_depth)
        camera_info = self._subscribe(CameraInfo, "camera_info", source.add_camera_info)
        self._subscriptions = [image, depth, camera_info]

    def _subscribe(self, kind: Any, topic: str, add: Callable[[Any], None]) -> Any:
        def callback(message: Any) -> None:
            add(message)
            self._after()

        options = QoSOverridingOptions.with_default_policies()
        return self._node.create_subscription(kind, topic, callback, SENSOR_1, qos_overriding_options=options)

    def destroy(self) -> None:
        """Ends the subscriptions."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []
