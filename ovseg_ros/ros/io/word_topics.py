"""The latched topics about the words: one set for all cameras."""

from __future__ import annotations

import importlib
import types
from typing import Any

from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from ovseg_ros.msg import Vocabulary
from ovseg_ros.ros.io.conversions import vocabulary_message
from ovseg_ros.ros.io.markers import label_info

LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)


def vision_msgs() -> types.ModuleType | None:
    """The module vision_msgs.msg, or None on a machine without it."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None


class WordTopics:
    """`~/vocabulary`, and `~/label_info` where vision_msgs is installed. On the executor's thread."""

    def __init__(self, node: Any, *, detections: bool) -> None:
        """Creates the topics; says where vision_msgs is wanted (`detections`) and is not installed."""
        self._node = node
        self._vision = vision_msgs() if detections else None
        if detections and self._vision is None:
            node.get_logger().info(
                "vision_msgs is not installed: no topics label_info, detections, detections_3d "
                "(apt install ros-$ROS_DISTRO-vision-msgs; detections:=false silences this)"
            )
        self._vocabulary = self._create(Vocabulary, "vocabulary")
        self._label_info = self._create(self._vision.LabelInfo, "label_info") if self._vision else None

    def _create(self, kind: Any, name: str) -> Any:
        return self._node.create_lifecycle_publisher(
            kind, f"~/{name}", LATCHED, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )

    def publish(self, vocabulary: Any, default_threshold: float) -> None:
        """Publishes the words."""
        stamp = self._node.get_clock().now().to_msg()
        self._vocabulary.publish(vocabulary_message(vocabulary, default_threshold, stamp))
        if self._label_info is not None:
            self._label_info.publish(label_info(vocabulary, default_threshold, stamp, self._vision))

    def destroy(self) -> None:
        """Takes the topics away."""
        for publisher in filter(None, (self._vocabulary, self._label_info)):
            self._node.destroy_lifecycle_publisher(publisher)
