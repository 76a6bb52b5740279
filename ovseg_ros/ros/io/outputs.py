"""The output topics of one frame: each is computed only where someone listens."""

from __future__ import annotations

import importlib
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.overlay import draw_on
from ovseg_ros.msg import Found, ResultCode, Segmentation, Vocabulary
from ovseg_ros.ros.io.context import MessageContext
from ovseg_ros.ros.io.conversions import (
    CloudMaker,
    fill_pose,
    segment_message,
    segmentation_message,
    vocabulary_message,
)
from ovseg_ros.ros.io.images import image_from_array
from ovseg_ros.ros.io.markers import MarkerMaker, detections_2d, detections_3d, label_info
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.requests.best import best_of

RELIABLE_1 = QoSProfile(depth=1)  # reliable, volatile
LATCHED = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
IN_3D = {"segmentation", "markers", "detections_3d", "found", "pose"}  # topics that tell of `frame_id_3d`


def vision_msgs() -> types.ModuleType | None:
    """The module vision_msgs.msg, or None on a machine without it."""
    try:
        return importlib.import_module("vision_msgs.msg")
    except ImportError:
        return None


@dataclass(frozen=True)
class Output:
    """One topic: its publisher, and how its message comes from a labelled image (None: none this time)."""

    name: str
    publisher: Any
    message_of: Callable[[MessageContext], Any]

    @property
    def wanted(self) -> bool:
        """True where someone subscribes."""
        return bool(self.publisher.get_subscription_count())


class Outputs:
    """All output topics of the node. `publish` runs on the inference thread, the rest on the executor's."""

    def __init__(self, node: Any, settings: Callable[[], Settings], model: str) -> None:
        self._node = node
        self._settings = settings
        self._model = model
        self._publishers: list[Any] = []
        self._vision = vision_msgs() if settings().detections else None
        if settings().detections and self._vision is None:
            node.get_logger().info(
                "vision_msgs is not installed: no topics label_info, detections, detections_3d "
                "(apt install ros-$ROS_DISTRO-vision-msgs; detections:=false silences this)"
            )
        self._vocabulary = self._create(Vocabulary, "vocabulary", LATCHED)
        self._label_info = (
            self._create(self._vision.LabelInfo, "label_info", LATCHED) if self._vision else None
        )
        self._outputs = self._create_outputs()

    def _create_outputs(self) -> list[Output]:
        clouds = CloudMaker()
        table: list[tuple[Any, str, QoSProfile, Callable[[MessageContext], Any]]] = [
            (Segmentation, "segmentation", RELIABLE_1, self._segmentation),
            (Image, "label_image", RELIABLE_1, lambda c: c.label_message),
            (Image, "confidence", RELIABLE_1, _confidence),
            (Image, "instance_image", RELIABLE_1, lambda c: c.instance_message),
            (Image, "overlay", RELIABLE_1, _overlay),
            (
                PointCloud2,
                "points",
                qos_profile_sensor_data,
                lambda c: clouds.message(c) if c.has_depth else None,
            ),
            (MarkerArray, "markers", RELIABLE_1, MarkerMaker().message),
            (Found, "found", RELIABLE_1, self._found),
            (PoseStamped, "pose", RELIABLE_1, self._pose),
        ]
        if self._vision is not None:
            msgs = self._vision
            table += [
                (msgs.Detection2DArray, "detections", RELIABLE_1, lambda c: detections_2d(c, msgs)),
                (
                    msgs.Detection3DArray,
                    "detections_3d",
                    RELIABLE_1,
                    lambda c: detections_3d(c, msgs) if c.has_depth else None,
                ),
            ]
        return [
            Output(name, self._create(kind, name, qos), message_of) for kind, name, qos, message_of in table
        ]

    def _create(self, kind: Any, name: str, qos: QoSProfile) -> Any:
        publisher = self._node.create_lifecycle_publisher(
            kind, f"~/{name}", qos, qos_overriding_options=QoSOverridingOptions.with_default_policies()
        )
        self._publishers.append(publisher)
        return publisher

    def wanted(self) -> Iterator[Output]:
        """The topics of one frame that someone subscribes to; each is asked about when its turn comes."""
        return (output for output in self._outputs if output.wanted)

    def want_3d(self) -> bool:
        """Whether someone subscribes to a topic with 3D."""
        return any(output.name in IN_3D for output in self.wanted())

    def publish(self, context: MessageContext) -> None:
        """Computes and publishes what is wanted."""
        for output in self.wanted():
            message = output.message_of(context)
            if message is not None:
                output.publisher.publish(message)

    def publish_vocabulary(self, vocabulary: Any, default_threshold: float) -> None:
        """Publishes the latched topics about the words."""
        stamp = self._node.get_clock().now().to_msg()
        self._vocabulary.publish(vocabulary_message(vocabulary, default_threshold, stamp))
        if self._label_info is not None:
            self._label_info.publish(label_info(vocabulary, default_threshold, stamp, self._vision))

    def destroy(self) -> None:
        """Takes all topics away."""
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = []

    def _segmentation(self, context: MessageContext) -> Segmentation:
        settings = self._settings()
        message = segmentation_message(
            context,
            model=self._model,
            with_masks=settings.publish_masks,
            with_unlabelled=settings.publish_unlabelled,
        )
        stamp, now = context.segmentation.frame.stamp_ns, self._node.get_clock().now().nanoseconds
        if 0 < stamp <= now:
            message.latency_s = (now - stamp) * 1e-9
        return message

    def _best(self, context: MessageContext) -> tuple[str, list[int]]:
        """The last query, and the masks that answer it, the best first."""
        query = self._node.words.query_of(context.segmentation.vocabulary)
        return query, best_of(context, query)

    def _found(self, context: MessageContext) -> Found:
        query, best = self._best(context)
        context.objects_in_camera(best)
        return Found(
            header=context.header,
            query=query,
            code=ResultCode.FOUND if best else ResultCode.NOT_FOUND,
            message="; ".join(filter(None, (f"{len(best)} found", *context.remarks, context.remark_3d))),
            frame_id_3d=context.frame_id_3d,
            segments=[segment_message(context, i, with_mask=False) for i in best],
        )

    def _pose(self, context: MessageContext) -> PoseStamped | None:
        """Of the best answer alone: where that has no 3D, another thing is not sent in its place."""
        best = self._best(context)[1][:1]
        found = context.object_3d(best[0]) if best else None
        if found is None:
            return None
        message = PoseStamped(header=context.header_3d)
        fill_pose(message.pose, found)
        return message


def _confidence(context: MessageContext) -> Image:
    """mono8: 0 to 255 for 0 to 1."""
    return image_from_array(context.header, context.segmentation.confidence_bytes())


def _overlay(context: MessageContext) -> Image:
    """Drawn where it is sent from: the pixels of the message are the canvas."""
    image_rgb = context.segmentation.frame.image_rgb
    message = image_from_array(context.header, image_rgb)
    draw_on(np.frombuffer(message.data, np.uint8).reshape(image_rgb.shape), context.segmentation)
    return message
