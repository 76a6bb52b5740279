"""A short look at the topics of a camera, for `ovseg doctor`: what the node would make of them."""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.core.camera import CameraLook, Heard, InputState, depth_remark, is_rectified
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.inference.age import age_of
from ovseg_ros.ros.io.conversions import frame_from_messages
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.parameters.table import Settings

DISCOVERY_S = 3.0
_KEPT = 10  # messages of a topic, of which the pair nearest in time is looked at
_KINDS = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
    "sensor_msgs/msg/CameraInfo": CameraInfo,
}
_WANTED = {
    "image": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "depth": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "camera_info": ("sensor_msgs/msg/CameraInfo",),
}
_TRANSPORTS = {"image": "compressed", "depth": "compressedDepth"}


class _Ear:
    """One subscription, made when its topic has a publisher."""

    def __init__(self, node: Any, name: str, topic: str) -> None:
        self.name, self.topic = name, node.resolve_topic_name(topic)
        self._node = node
        self._subscription: Any = None
        self.messages: deque[tuple[float, int, Any]] = deque(maxlen=_KEPT)  # arrival_s, clock_ns, message
        self.count = 0
        self.first_s = 0.0

    @property
    def publishers(self) -> list[Any]:
        return list(self._node.get_publishers_info_by_topic(self.topic))

    def look(self) -> bool:
        """Subscribes where somebody publishes what is wanted; whether it has."""
        if self._subscription is not None:
            return True
        fitting = [one for one in self.publishers if one.topic_type in _WANTED[self.name]]
        if not fitting:
            return False
        qos = QoSProfile(depth=_KEPT, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(
            depth=1,
            reliability=QoSReliabilityPolicy.RELIABLE,
            durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
        )
        if self.name == "camera_info" and any(
            qos_check_compatible(one.qos_profile, latched)[0] != QoSCompatibility.ERROR for one in fitting
        ):
            qos = latched  # published once, before anybody listened
        kind = _KINDS[fitting[0].topic_type]
        self._subscription = self._node.create_subscription(kind, self.topic, self._add, qos)
        return True

    def _add(self, message: Any) -> None:
        now_s = time.monotonic()
        self.first_s = self.first_s or now_s
        self.count += 1
        self.messages.append((now_s, self._node.get_clock().now().nanoseconds, message))

    @property
    def rate_hz(self) -> float | None:
        if self.count < 2:
            return None
        return (self.count - 1) / max(self.messages[-1][0] - self.first_s, 1e-9)

    def state(self, problem: str = "", stamp: int | None = None) -> InputState:
        publishers = self.publishers
        return InputState(
            self.name, self.topic, len(publishers), self.count, stamp, problem, self._cure(publishers)
        )

    def _cure(self, publishers: Sequence[Any]) -> str:
        """What helps where no message came; "" where the usual does."""
        if self.count:
            return ""
        kinds = sorted({one.topic_type for one in publishers})
        if kinds and not set(kinds) & set(_WANTED[self.name]):
            wanted = _WANTED[self.name][0]
            return f"expected {wanted} there, got {', '.join(kinds)}; name the topic that carries it"
        if self.name in _TRANSPORTS and not publishers:
            word = _TRANSPORTS[self.name]
            base = self.topic.removesuffix(f"/{word}")
            for there, transport in ((f"{self.topic}/{word}", word), (base, "raw")):
                if there != self.topic and self._node.count_publishers(there):
                    return (
                        f"but {there} is: name that, and set the node's {self.name}_transport to {transport}"
                    )
        return "its publishers send nothing: is the camera streaming?" if publishers else ""


def listen(topics: Mapping[str, str], seconds: float, domain_id: int | None = None) -> CameraLook:
    """Listens to a camera's topics in a ROS context of its own, and reads what comes as the node would.

    Args:
        topics: by input: image, and depth and camera_info where they are wanted.
        seconds: how long, from when every topic has a publisher; without one, discovery is given 3 s.
        domain_id: of DDS; None: the one of ROS_DOMAIN_ID.
    """
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain_id)
    node = rclpy.create_node(
        f"ovseg_doctor_{uuid.uuid4().hex[:8]}",
        context=context,
        enable_rosout=False,
        start_parameter_services=False,
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        ears = {name: _Ear(node, name, topic) for name, topic in topics.items() if topic}
        deadline = time.monotonic() + DISCOVERY_S
        while time.monotonic() < deadline and not _all_connected(ears.values()):
            executor.spin_once(timeout_sec=0.05)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.05)
        return _read(ears)
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)


def _all_connected(ears: Iterable[_Ear]) -> bool:
    """Subscribes where it can be done; whether nothing is left."""
    left = [ear for ear in ears if not ear.look()]
    return not left


def _read(ears: Mapping[str, _Ear]) -> CameraLook:
    image, depth, info = (ears.get(name) for name in ("image", "depth", "camera_info"))
    if image is None or not image.messages:
        heard = {name: Heard(ear.state(), ear.rate_hz) for name, ear in ears.items()}
        return CameraLook(heard, Settings.sync_tolerance, Settings.max_frame_age)
    arrived, seen = _pair(image, depth)
    camera_info = info.messages[-1][2] if info and info.messages else None
    _, clock_ns, message = arrived
    taken = stamp_ns(message.header)
    age = age_of(taken, 0.0, clock_ns, tolerance_s=Settings.stamp_tolerance, simulated=False)
    problems: dict[str, str] = {}
    remark, known = "", None
    try:
        frame, problems = frame_from_messages(message, seen, camera_info, rectified=is_rectified(image.topic))
        if frame.depth_m is not None:
            is_known = np.isfinite(frame.depth_m) & (frame.depth_m > 0)
            remark, known = depth_remark(frame.depth_m), float(is_known.mean())
    except InvalidInputError as error:
        problems["image"] = str(error)
    stamps = {"image": taken, "depth": None if seen is None else stamp_ns(seen.header), "camera_info": None}
    newest = {"image": message, "depth": seen, "camera_info": camera_info}
    heard = {
        name: Heard(ear.state(problems.get(name, ""), stamps[name]), ear.rate_hz, _about(name, newest[name]))
        for name, ear in ears.items()
    }
    limits = (Settings.sync_tolerance, Settings.max_frame_age)
    return CameraLook(heard, *limits, taken, (clock_ns - taken) / 1e9, age.doubt, remark, known)


def _pair(image: _Ear, depth: _Ear | None) -> tuple[tuple[float, int, Any], Any]:
    """The image and the depth nearest to each other in time; the newest image where there is no depth."""
    if depth is None or not depth.messages:
        return image.messages[-1], None
    pairs = [(one, other[2]) for one in reversed(image.messages) for other in depth.messages]
    return min(pairs, key=lambda pair: abs(stamp_ns(pair[0][2].header) - stamp_ns(pair[1].header)))


def _about(name: str, message: Any) -> str:
    """A message in words."""
    if message is None:
        return ""
    size = f"{message.width}x{message.height}" if hasattr(message, "width") else f"{len(message.data)} bytes"
    kind = getattr(message, "encoding", "") or getattr(message, "format", "")
    frame = f"frame {message.header.frame_id!r}"
    is_packed = hasattr(message, "format")
    how = f"the node takes it with {name}_transport {_TRANSPORTS[name]}" if is_packed else ""
    return ", ".join(filter(None, (f"{size} {kind}".strip(), frame, how)))
