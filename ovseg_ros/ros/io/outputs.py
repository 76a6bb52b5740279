"""The output topics of one frame: each is computed only where someone listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.overlay import draw_on
from ovseg_ros.msg import Segmentation
from ovseg_ros.ros.io.conversions import (
    CloudMaker,
    MessageContext,
    segmentation_message,
)
from ovseg_ros.ros.io.images import image_from_array
from ovseg_ros.ros.io.markers import MarkerMaker, detections_2d, detections_3d
from ovseg_ros.ros.io.word_topics import vision_msgs
from ovseg_ros.ros.parameters.table import Settings

RELIABLE_1 = QoSProfile(depth=1)  # reliable, volatile


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
    """The output topics of one camera. `publish` runs on the inference thread, the rest on the executor's."""

    def __init__(self, node: Any, settings: Callable[[], Settings], model: str, camera: str = "") -> None:
        """`camera`: its name, which stands before those of the topics; empty: nothing does."""
        self._node = node
        self._settings = settings
        self._model = model
        self._camera = camera
        self._prefix = f"~/{camera}/" if camera else "~/"
        self._publishers: list[Any] = []
        self._vision = vision_msgs() if settings().detections else None
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
            kind,
            self._prefix + name,
            qos,
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._publishers.append(publisher)
        return publisher

    def wanted(self) -> Iterator[Output]:
        """The topics of one frame that someone subscribes to; each is asked about when its turn comes."""
        return (output for output in self._outputs if output.wanted)

    def publish(self, context: MessageContext) -> None:
        """Computes and publishes what is wanted."""
        for output in self.wanted():
            message = output.message_of(context)
            if message is not None:
                output.publisher.publish(message)

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
        message.camera = self._camera
        stamp, now = context.segmentation.frame.stamp_ns, self._node.get_clock().now().nanoseconds
        if 0 < stamp <= now:
            message.latency_s = (now - stamp) * 1e-9
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
