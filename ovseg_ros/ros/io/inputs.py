"""The node's subscriptions to the camera, which exist while it is active, and what is missing of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.qos import (
    QoSCompatibility,
    QoSDurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovseg_ros.core.camera import InputState, is_rectified, missing_inputs
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.io.frame_source import Seen

WATCH_PERIOD_S = 0.5
PATIENCE_S = 3.0  # after activation, before the log says what is missing: discovery takes a moment
LOG_PERIOD_S = 30.0
OVERRIDABLE = (
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.RELIABILITY,
    QoSPolicyKind.DURABILITY,
)
TRANSPORTS = {"image": "compressed", "depth": "compressedDepth"}  # what there is beside raw


@dataclass(frozen=True)
class Input:
    """One subscription, and what tells how it fares.

    Attributes:
        name: image, depth or camera_info.
        subscription: of rclpy.
        topic: As ROS resolves it.
        other: The topic of the same camera in the other transport, and how that is spelt; "": none.
        is_named: Whether somebody remapped it: then it is wanted.
    """

    name: str
    subscription: Any
    topic: str
    other: tuple[str, str]
    is_named: bool


class Inputs:
    """`image`, `depth` and `camera_info`, handed to a frame source.

    A camera_info that was published once and latched (transient local) comes through a second subscription,
    as one that asks for what was before does not match publishers that keep nothing. It is made where such a
    publisher is seen: asked of the others, rclcpp's would log that the QoS is incompatible.
    """

    def __init__(self, node: Any, engine: Engine, after: Callable[[], None], camera: str = "") -> None:
        """Subscribes.

        Args:
            node: as for `Queries`.
            engine: whose source gets the messages.
            after: called after every message.
            camera: its name, which stands before those of the inputs; empty: nothing does.
        """
        self._node = node
        self._engine = engine
        self._source = source = engine.source
        self._after = after
        self._prefix = f"{camera}/" if camera else ""
        self._latched: Any = None
        self._said_at = time.monotonic() + PATIENCE_S - LOG_PERIOD_S
        self._said_remark = False
        settings = node.settings
        self._image = self._input("image", Image, source.add_image, settings.image_transport)
        self._depth = self._input("depth", Image, source.add_depth, settings.depth_transport)
        self._info = self._input("camera_info", CameraInfo, source.add_camera_info, "raw")
        self._all = (self._image, self._depth, self._info)
        source.is_rectified = is_rectified(self._image.topic)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._watch = node.create_timer(WATCH_PERIOD_S, self._look, clock=steady)

    def _input(self, name: str, kind: Any, add: Callable[[Any], None], transport: str) -> Input:
        # As image_transport does: first the base name is remapped, then the transport appended.
        topic = self._prefix + name
        base = self._node.resolve_topic_name(topic)
        is_named = base != self._node.resolve_topic_name(topic, only_expand=True)
        other = ("", "")
        if name in TRANSPORTS:
            word = TRANSPORTS[name]
            other = (f"{base}/{word}", word) if transport == "raw" else (base, "raw")
        if transport == "raw":
            subscription = self._subscribe(kind, topic, add)
        else:
            subscription = self._subscribe(CompressedImage, f"{base}/{transport}", add)
        return Input(name, subscription, subscription.topic_name, other, is_named)

    def _subscribe(self, kind: Any, topic: str, add: Callable[[Any], None], **more: Any) -> Any:
        def callback(message: Any) -> None:
            add(message)
            self._after()

        # A new one each time: overrides are written into it.
        qos = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        options = QoSOverridingOptions(policy_kinds=OVERRIDABLE)
        return self._node.create_subscription(
            kind, topic, callback, **{"qos_profile": qos, "qos_overriding_options": options, **more}
        )

    def _look(self) -> None:
        """Subscribes to what is latched, and logs what is missing."""
        self._take_latched()
        node, engine, now = self._node, self._engine, time.monotonic()
        if not node.enabled:
            return
        remark = engine.reader.depth_remark
        if remark and not self._said_remark:
            self._said_remark = True
            node.get_logger().warning(f"depth on {self._depth.topic}: {remark}")
        if now - self._said_at < LOG_PERIOD_S:
            return
        missing = engine.missing()
        if missing:
            self._said_at = now
            node.get_logger().warning(missing)

    def _take_latched(self) -> None:
        if self._latched is not None:
            return
        qos = QoSProfile(
            depth=1,
            reliability=QoSReliabilityPolicy.RELIABLE,
            durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
        )
        publishers = self._node.get_publishers_info_by_topic(self._info.topic)
        if any(_fits(one.qos_profile, qos) for one in publishers):
            self._latched = self._subscribe(
                CameraInfo,
                self._info.topic,
                self._source.add_camera_info,
                qos_profile=qos,
                qos_overriding_options=None,
                # The others on the topic are served by the first one: no word of these.
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False),
            )

    def missing(self, *, problems: Mapping[str, str], with_depth: bool = False) -> str:
        """What keeps images, and depth where it is wanted, from being used; "" where nothing does.

        Depth is wanted where the preset needs it, where it has come, and where its topic was remapped, which
        nobody does in vain.

        Args:
            problems: Why messages of an input were of no use, by its name.
            with_depth: Depth is wanted in any case.
        """
        source = self._source
        seen, tolerance_s = source.seen(), source.sync_tolerance_s
        silent_s = source.depth_stopped_s
        is_used = with_depth or source.needs_depth or (seen["depth"].messages > 0 and not silent_s)
        wanted = [self._image]
        if is_used or (self._depth.is_named and not silent_s):
            wanted.append(self._depth)
        if is_used:
            wanted.append(self._info)
        problems = dict(problems)
        if silent_s:
            problems["depth"] = f"the last came {silent_s:.0f} s ago; is its camera alive?"
        states = [self._state(one, seen[one.name], problems.get(one.name, "")) for one in wanted]
        return missing_inputs(states, seen["image"].stamp_ns, tolerance_s, "sync_tolerance")

    def _state(self, one: Input, seen: Seen, problem: str) -> InputState:
        publishers = self._node.get_publishers_info_by_topic(one.topic)
        stamp_ns = seen.stamp_ns if one.name == "depth" else None
        cure = "" if seen.messages else self._cure(one, publishers)
        return InputState(one.name, one.topic, len(publishers), seen.messages, stamp_ns, problem, cure)

    def _cure(self, one: Input, publishers: list[Any]) -> str:
        """What helps an input of which no message has come."""
        topic, transport = one.other
        elsewhere = bool(topic) and self._node.count_publishers(topic) > 0
        switch = f"set {one.name}_transport to {transport}"
        if not publishers:
            if elsewhere:
                return f"but {topic} is published: {switch}"
            if one.name == "depth" and not self._source.needs_depth:
                return "start the camera, name another topic, or remap it no more (launch: depth_topic:='')"
            return ""
        want = _type_name(one.subscription.msg_type)
        kinds = sorted({info.topic_type for info in publishers} - {want})
        if len(kinds) and all(info.topic_type != want for info in publishers):
            compressed = kinds == ["sensor_msgs/msg/CompressedImage"] and transport not in ("", "raw")
            hint = f" (or its base name, and {switch})" if compressed else ""
            return f"expected {want} there, got {', '.join(kinds)}; name the topic that carries it{hint}"
        ours = one.subscription.qos_profile
        if not any(_fits(info.qos_profile, ours) for info in publishers):
            why = qos_check_compatible(publishers[0].qos_profile, ours)[1].rstrip("; ")
            return (
                f"its QoS and the node's do not match ({why}): set "
                f"qos_overrides.{one.topic}.subscription.reliability and .durability"
            )
        return "its publishers send nothing: is the camera streaming?"

    def destroy(self) -> None:
        """Ends the subscriptions."""
        self._node.destroy_timer(self._watch)
        for one in self._all:
            self._node.destroy_subscription(one.subscription)
        if self._latched is not None:
            self._node.destroy_subscription(self._latched)


def _fits(publisher: QoSProfile, subscription: QoSProfile) -> bool:
    return bool(qos_check_compatible(publisher, subscription)[0] != QoSCompatibility.ERROR)


def _type_name(kind: Any) -> str:
    """As sensor_msgs/msg/Image."""
    package, _, _ = kind.__module__.split(".")[:3]
    return f"{package}/msg/{kind.__name__}"
