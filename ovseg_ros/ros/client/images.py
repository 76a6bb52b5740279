"""The last images of topics that the program asked for, by their stamps."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from ovseg_ros.ros.client.connection import Connection, NoAnswer
from ovseg_ros.ros.io.frame_source import stamp_ns

KEPT_FRAMES = 64
COMPRESSED = "sensor_msgs/msg/CompressedImage"
KINDS = {"sensor_msgs/msg/Image": Image, COMPRESSED: CompressedImage}


class Images:
    """Keeps the last `KEPT_FRAMES` images of each topic; they are decoded when they are looked at."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._kept: dict[str, OrderedDict[int, Any]] = {}

    def keep(self, topic: str, *, compressed: bool = False, reliable: bool = True) -> None:
        """Subscribes to a topic; a second time does nothing.

        Args:
            topic: its full name.
            compressed: it is of CompressedImage, not of Image.
            reliable: False hears cameras that publish best effort too, and may lose images.
        """
        if topic in self._kept:
            return
        frames = self._kept[topic] = OrderedDict()

        def callback(message: Any) -> None:
            with self._connection.changed:
                frames[stamp_ns(message.header)] = message
                while len(frames) > KEPT_FRAMES:
                    frames.popitem(last=False)
                self._connection.changed.notify_all()

        kind = CompressedImage if compressed else Image
        policy = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
        qos = QoSProfile(depth=5, reliability=policy)
        self._connection.node.create_subscription(kind, topic, callback, qos)

    def at(self, topic: str, stamp: int, *, frame: str = "", timeout_s: float = 1.0) -> np.ndarray | None:
        """The image with exactly this stamp; None where it does not come in time.

        Args:
            topic: one that is kept.
            stamp: nanoseconds, as `Reply.stamp_ns`.
            frame: the camera's, as `Reply.frame`, where several cameras send at one time; "": any.
            timeout_s: how long to wait for it.

        Returns:
            Colour as (H, W, 3) uint8 RGB, 16UC1 as (H, W) uint16.

        Raises:
            InvalidInputError: it cannot be decoded.
        """
        frames = self._kept[topic]
        message = self._connection.wait(lambda: frames.get(stamp), timeout_s, of_node=False)
        if message is None or (frame and message.header.frame_id != frame):
            return None
        return _pixels(message)

    def newest(self, topic: str, *, after: int = 0, timeout_s: float = 10.0) -> tuple[int, np.ndarray]:
        """(stamp, image) of the newest image of a kept topic that is later than `after`.

        Raises:
            NoAnswer: none came in time.
        """
        frames = self._kept[topic]

        def latest() -> tuple[int, Any] | None:
            stamp = next(reversed(frames), 0)
            return (stamp, frames[stamp]) if stamp > after else None

        newest = self._connection.wait(latest, timeout_s, of_node=False)
        if newest is None:
            raise NoAnswer(f"no image on {topic} in {timeout_s:g} s")
        return newest[0], _pixels(newest[1])

    def all(self, topic: str) -> list[tuple[int, np.ndarray]]:
        """All that is kept of a topic, by time."""
        with self._connection.changed:
            messages = list(self._kept[topic].items())
        return [(stamp, _pixels(message)) for stamp, message in messages]

    def count(self, topic: str) -> int:
        """How many images of a topic are kept."""
        return len(self._kept[topic])

    def of_node(self) -> dict[str, str]:
        """The image topics that the node listens to, colour and depth, and their types.

        Raises:
            NoAnswer: there is no such node.
        """
        space, _, name = self._connection.name.rpartition("/")
        try:
            topics = self._connection.node.get_subscriber_names_and_types_by_node(name, space or "/")
        except Exception as error:  # NodeNameNonExistentError, which has changed its place
            raise NoAnswer(f"there is no node {self._connection.name}: {error}") from error
        return {topic: kinds[0] for topic, kinds in topics if kinds[0] in KINDS}


def _pixels(message: Any) -> np.ndarray:
    # OpenCV and Pillow come with these: only who looks at images needs them.
    from ovseg_ros.core.camera import decode_integers
    from ovseg_ros.ros.io.images import colour_from_message

    integers = getattr(message, "encoding", "") == "16UC1"
    return decode_integers(message) if integers else colour_from_message(message)
