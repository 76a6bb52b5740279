"""A planner's side of the node: asks by name through each interface, and keeps the camera's recent frames.

Made for programs without an executor of their own: calls block, with a time limit each, while a thread of the
client's spins. Answers hold numpy arrays, no messages.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Empty, String

from ovseg_ros.action import FindObject
from ovseg_ros.core.camera import decode_integers
from ovseg_ros.core.words import Quoted, parse_query
from ovseg_ros.errors import OvsegError
from ovseg_ros.msg import ResultCode, Segmentation
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.images import colour_from_message
from ovseg_ros.ros.replies import FoundSegment, Reply, reply_of, segment_of
from ovseg_ros.ros.requests.queues import ALIVE
from ovseg_ros.srv import SegmentImage, SetVocabulary

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

__all__ = ["FoundSegment", "NoAnswer", "NodeClient", "NodeGone", "Reply"]

_T = TypeVar("_T")
KEPT_FRAMES = 64
RELIABLE = QoSProfile(depth=5)
LOST_S = 0.25  # so long the node must show no sign of life to count as gone, on top of the lease of `ALIVE`
SEGMENT_TYPE = "ovseg_ros/srv/SegmentImage"


class NoAnswer(OvsegError):
    """What was waited for did not come in time; the message says what."""


class NodeGone(NoAnswer):
    """The node was there and is no more: its process ended, or the network to it did. Said within 2 s."""


class NodeClient:
    """Asks one `ovseg` node. Use as a context manager, or call `close`."""

    def __init__(self, *, domain_id: int | None = None, node_name: str = "/ovseg") -> None:
        """Joins a DDS domain (None: the one of ROS_DOMAIN_ID)."""
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = rclpy.create_node("planner", context=self._context)
        self._name, self._domain = node_name, self._context.get_domain_id()
        self._changed = threading.Condition()
        self._seen = False  # whether the node was ever alive
        self._lost_at: float | None = None  # since when it is not
        self._kept: dict[str, OrderedDict[int, np.ndarray]] = {}
        self._newest_segmentation: Any = None
        create = self._node.create_client
        self._get_state = create(GetState, f"{node_name}/get_state")
        self._set_vocabulary = create(SetVocabulary, f"{node_name}/set_vocabulary")
        self._segment = create(SegmentImage, f"{node_name}/segment")
        self._find_object = ActionClient(self._node, FindObject, f"{node_name}/find_object")
        self._query = self._node.create_publisher(String, f"{node_name}/query", 10)
        self._node.create_subscription(Segmentation, f"{node_name}/segmentation", self._on_segmentation, 1)
        watch = SubscriptionEventCallbacks(liveliness=self._on_liveliness)
        alive = f"{node_name}/alive"
        self._node.create_subscription(Empty, alive, lambda _: None, ALIVE, event_callbacks=watch)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="planner", daemon=True)
        self._thread.start()

    def __enter__(self) -> NodeClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the domain."""
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(timeout=2.0)
        self._find_object.destroy()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    # Frames

    def keep(self, topic: str) -> None:
        """Keeps the last images of a reliable topic (sensor_msgs/Image) by their stamps.

        Colour becomes (H, W, 3) uint8 RGB, 16UC1 stays (H, W) uint16.
        """
        frames = self._kept.setdefault(topic, OrderedDict())

        def callback(message: Image) -> None:
            decode = decode_integers if message.encoding == "16UC1" else colour_from_message
            pixels = decode(message)
            with self._changed:
                frames[stamp_ns(message.header)] = pixels
                while len(frames) > KEPT_FRAMES:
                    frames.popitem(last=False)
                self._changed.notify_all()

        self._node.create_subscription(Image, topic, callback, RELIABLE)

    def frame(self, topic: str, stamp: int, *, timeout_s: float = 1.0) -> np.ndarray | None:
        """The image of a kept topic with exactly this stamp; None where it does not come in time."""
        frames = self._kept[topic]
        return self._wait(lambda: frames.get(stamp), timeout_s, of_node=False)

    def newest(self, topic: str, *, after: int = 0, timeout_s: float = 10.0) -> tuple[int, np.ndarray]:
        """(stamp, image) of the newest image of a kept topic that is later than `after`.

        Raises:
            NoAnswer: none came in time.
        """
        frames = self._kept[topic]

        def latest() -> tuple[int, np.ndarray] | None:
            stamp = next(reversed(frames), 0)
            return (stamp, frames[stamp]) if stamp > after else None

        newest = self._wait(latest, timeout_s, of_node=False)
        return self._wanted(newest, f"no image on {topic} in {timeout_s:g} s")

    def frames(self, topic: str) -> list[tuple[int, np.ndarray]]:
        """All that is kept of a topic, by time."""
        with self._changed:
            return list(self._kept[topic].items())

    # The node

    def is_active(self) -> bool:
        """Whether the node's lifecycle state is active; False also while it does not answer."""
        return self.state() == "active"

    def state(self) -> str:
        """The node's lifecycle state (unconfigured, inactive, active …); "" where it does not answer."""
        if not self._get_state.service_is_ready():
            return ""
        try:
            reply = self._result(self._get_state.call_async(GetState.Request()), 2.0)
        except NodeGone:
            return ""
        return reply.current_state.label if reply is not None else ""

    def is_gone(self) -> bool:
        """Whether the node was alive and is no more."""
        lost_at = self._lost_at
        return lost_at is not None and time.monotonic() - lost_at > LOST_S

    def ask_by_topic(self, text: str, *, timeout_s: float = 10.0) -> Reply:
        """Publishes a query; the answer is the first frame that was labelled with its words.

        Raises:
            NoAnswer: no such frame came in time; NodeGone: the node has died.
        """
        names = [name.casefold() for name in parse_query(text)]
        self._connected(lambda: self._query.get_subscription_count() > 0, "~/query", timeout_s)
        with self._changed:
            self._newest_segmentation = None
        start = time.monotonic()
        self._query.publish(String(data=text))

        def labelled() -> Any:
            message = self._newest_segmentation
            return message if message and [n.casefold() for n in message.labels] == names else None

        message = self._wait(labelled, timeout_s)
        if message is None:
            state = self.state()
            why = f"; the node is {state}, not active" if state not in ("", "active") else ""
            raise NoAnswer(f"no frame labelled {', '.join(names)} on ~/segmentation in {timeout_s:g} s{why}")
        return reply_of(message, start)

    def ask_by_services(self, words: Sequence[str], *, timeout_s: float = 10.0) -> Reply:
        """Makes the words the node's vocabulary, then has the newest image segmented with it.

        Raises:
            NoAnswer: a service did not answer in time, or a word was refused; NodeGone: the node has died.
        """
        for client, name in ((self._set_vocabulary, "~/set_vocabulary"), (self._segment, "~/segment")):
            self._connected(client.service_is_ready, name, timeout_s)
        start = time.monotonic()
        quoted = [f'"{word}"' if isinstance(word, Quoted) else word for word in words]
        request = SetVocabulary.Request(operation=SetVocabulary.Request.REPLACE, labels=quoted)
        late = f"did not answer in {timeout_s:g} s"
        done = self._wanted(
            self._result(self._set_vocabulary.call_async(request), timeout_s), f"~/set_vocabulary {late}"
        )
        if not done.success or done.rejected:
            raise NoAnswer(f"~/set_vocabulary refused {list(done.rejected)}: {done.message}")
        future = self._segment.call_async(SegmentImage.Request())
        reply = self._wanted(self._result(future, timeout_s), f"~/segment {late}")
        searched = reply.code in (ResultCode.FOUND, ResultCode.NOT_FOUND)
        if searched and reply.segmentation.vocabulary_version != done.vocabulary.version:
            raise NoAnswer("~/segment used another vocabulary than ~/set_vocabulary had set")
        return reply_of(reply.segmentation, start, code=reply.code, message=reply.message)

    def ask_by_action(self, text: str, *, search_s: float, timeout_s: float = 20.0) -> Reply:
        """Sends a goal that looks at fresh frames for `search_s` seconds at most.

        Raises:
            NoAnswer: the goal was refused or did not end in time; NodeGone: the node has died.
        """
        self._connected(self._find_object.server_is_ready, "~/find_object", timeout_s)
        goal = FindObject.Goal(query=text, with_masks=True)
        goal.timeout.sec, goal.timeout.nanosec = int(search_s), int(search_s % 1 * 1e9)
        start = time.monotonic()
        handle = self._result(self._on_executor(lambda: self._find_object.send_goal_async(goal)), timeout_s)
        if handle is None or not handle.accepted:
            raise NoAnswer("the goal was not accepted by ~/find_object")
        ended = self._result(self._on_executor(handle.get_result_async), search_s + timeout_s)
        result = self._wanted(ended, f"~/find_object did not end in {search_s + timeout_s:g} s").result
        segments = tuple(segment_of(segment) for segment in result.segments)
        stamp, latency = stamp_ns(result.header), time.monotonic() - start
        return Reply(result.code, result.message, stamp, segments, result.best_score, latency, segments)

    # Waiting

    def _on_segmentation(self, message: Segmentation) -> None:
        with self._changed:
            self._newest_segmentation = message
            self._changed.notify_all()

    def _on_liveliness(self, event: Any) -> None:
        with self._changed:
            if event.alive_count > 0:
                self._seen, self._lost_at = True, None
            elif self._seen and self._lost_at is None:
                self._lost_at = time.monotonic()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self._context.ok():  # else somebody took it away, which rclpy says in many ways
                raise

    def _wait(self, look: Callable[[], _T | None], timeout_s: float, *, of_node: bool = True) -> _T | None:
        """What `look` gives as soon as it is not None; looked at whenever a message came.

        Raises:
            NodeGone: `of_node`: it comes from the node, which has died.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (seen := look()) is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
                if of_node:
                    self._check_alive()
                self._changed.wait(min(remaining, 0.1))
        return seen

    def _on_executor(self, request: Callable[[], Any]) -> Any:
        """The future that a request makes, made on the executor's thread.

        rclpy's action client notes a request after sending it: made on another thread, its response may come
        before and is then thrown away.
        """
        return self._wanted(self._result(self._executor.create_task(request), 5.0), "the executor is stuck")

    def _result(self, future: Any, timeout_s: float) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        deadline = time.monotonic() + timeout_s
        while not done.wait(min(0.1, max(deadline - time.monotonic(), 0.0))):
            self._check_alive()
            if time.monotonic() >= deadline:
                return None
        return future.result()

    def _check_alive(self) -> None:
        """Raises NodeGone where the node has died."""
        if self.is_gone():
            raise NodeGone(
                f"the node {self._name} is gone: it was there and shows no sign of life any more; its "
                "process has ended, or the network to it has"
            )

    def _connected(self, ready: Callable[[], bool], name: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self.is_gone() or not ready():  # a dead node's services stay in the graph for a while
            self._check_alive()
            if time.monotonic() > deadline:
                raise NoAnswer(f"{name} was not offered within {timeout_s:g} s: {self._absence()}")
            time.sleep(0.02)

    def _absence(self) -> str:
        """What there is in the place of what was looked for."""
        if self._seen:
            return f"the node {self._name} is there, but without it"
        segmenting = [
            name for name, kinds in self._node.get_service_names_and_types() if SEGMENT_TYPE in kinds
        ]
        others = sorted({name.removesuffix("/segment") for name in segmenting} - {self._name})
        there = f"; there is {', '.join(others)}: say so with node_name" if others else ""
        return (
            f"no node {self._name} in domain {self._domain}; is it started, with this ROS_DOMAIN_ID?{there}"
        )

    @staticmethod
    def _wanted(value: _T | None, otherwise: str) -> _T:
        if value is None:
            raise NoAnswer(otherwise)
        return value
