"""A planner's side of the node: asks by name through each interface, and keeps the camera's recent frames.

Made for programs without an executor of their own: calls block, with a time limit each, while a thread of the
client's spins. Answers hold numpy arrays, no messages.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import rclpy
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rclpy.action import ActionClient
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from ovseg_ros.action import FindObject
from ovseg_ros.core.camera import decode_integers
from ovseg_ros.core.words import Quoted, parse_query
from ovseg_ros.errors import OvsegError
from ovseg_ros.msg import ResultCode, Segmentation
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.images import colour_from_message
from ovseg_ros.ros.requests.answers import name_of
from ovseg_ros.srv import SegmentImage, SetVocabulary

_T = TypeVar("_T")
KEPT_FRAMES = 64
RELIABLE = QoSProfile(depth=5)


class NoAnswer(OvsegError):
    """What was waited for did not come in time; the message says what."""


@dataclass(frozen=True)
class FoundSegment:
    """One mask of an answer: word ("": none), probability, box (x, y, width, height) and the mask inside.

    `margin` is how far the probability is above that of `runner_up`, the word that fits second best.
    """

    label: str
    score: float
    box: tuple[int, int, int, int]
    inside: np.ndarray  # (height, width) bool
    margin: float = 0.0
    runner_up: str = ""

    def mask(self, size_hw: tuple[int, int]) -> np.ndarray:
        """(H, W) bool in the whole image."""
        whole = np.zeros(size_hw, dtype=bool)
        x, y, width, height = self.box
        whole[y : y + height, x : x + width] = self.inside
        return whole


@dataclass(frozen=True)
class Reply:
    """What came back through an interface.

    Attributes:
        code: a number of ResultCode; `code_name` is its name.
        message: the sentence beside the code, empty through the query topic.
        stamp_ns: time of the image that was searched, 0 where none was.
        segments: those with a word, best first, as the node ranks them.
        best_score: the best score any mask had for the words, None where the interface does not tell.
        latency_s: from the request to its answer, as the asker sees it.
        masks: all that came with the answer, with a word or without: where the node's parameter
            publish_unlabelled is set, all of the frame, though not from the action.
    """

    code: int
    message: str
    stamp_ns: int
    segments: tuple[FoundSegment, ...]
    best_score: float | None
    latency_s: float
    masks: tuple[FoundSegment, ...] = ()

    @property
    def code_name(self) -> str:
        """The name of the code, for example NOT_FOUND."""
        return name_of(self.code)


class NodeClient:
    """Asks one `ovseg` node. Use as a context manager, or call `close`."""

    def __init__(self, *, domain_id: int | None = None, node_name: str = "/ovseg") -> None:
        """Joins a DDS domain (None: the one of ROS_DOMAIN_ID)."""
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain_id)
        self._node = rclpy.create_node("planner", context=self._context)
        self._changed = threading.Condition()
        self._kept: dict[str, OrderedDict[int, np.ndarray]] = {}
        self._newest_segmentation: Any = None
        create = self._node.create_client
        self._get_state = create(GetState, f"{node_name}/get_state")
        self._set_vocabulary = create(SetVocabulary, f"{node_name}/set_vocabulary")
        self._segment = create(SegmentImage, f"{node_name}/segment")
        self._find_object = ActionClient(self._node, FindObject, f"{node_name}/find_object")
        self._query = self._node.create_publisher(String, f"{node_name}/query", 10)
        self._node.create_subscription(Segmentation, f"{node_name}/segmentation", self._on_segmentation, 1)
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
        return self._wait(lambda: frames.get(stamp), timeout_s)

    def newest(self, topic: str, *, after: int = 0, timeout_s: float = 10.0) -> tuple[int, np.ndarray]:
        """(stamp, image) of the newest image of a kept topic that is later than `after`.

        Raises:
            NoAnswer: none came in time.
        """
        frames = self._kept[topic]

        def latest() -> tuple[int, np.ndarray] | None:
            stamp = next(reversed(frames), 0)
            return (stamp, frames[stamp]) if stamp > after else None

        return self._wanted(self._wait(latest, timeout_s), f"no image on {topic} in {timeout_s:g} s")

    def frames(self, topic: str) -> list[tuple[int, np.ndarray]]:
        """All that is kept of a topic, by time."""
        with self._changed:
            return list(self._kept[topic].items())

    # The node

    def is_active(self) -> bool:
        """Whether the node's lifecycle state is active; False also while it does not answer."""
        if not self._get_state.service_is_ready():
            return False
        reply = self._result(self._get_state.call_async(GetState.Request()), 2.0)
        return reply is not None and reply.current_state.id == State.PRIMARY_STATE_ACTIVE

    def ask_by_topic(self, text: str, *, timeout_s: float = 10.0) -> Reply:
        """Publishes a query; the answer is the first frame that was labelled with its words.

        Raises:
            NoAnswer: no such frame came in time.
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

        waited = f"no frame labelled {', '.join(names)} on ~/segmentation in {timeout_s:g} s"
        message = self._wanted(self._wait(labelled, timeout_s), waited)
        return _reply_of(message, start)

    def ask_by_services(self, words: Sequence[str], *, timeout_s: float = 10.0) -> Reply:
        """Makes the words the node's vocabulary, then has the newest image segmented with it.

        Raises:
            NoAnswer: a service did not answer in time, or a word was refused.
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
        return _reply_of(reply.segmentation, start, code=reply.code, message=reply.message)

    def ask_by_action(self, text: str, *, search_s: float, timeout_s: float = 20.0) -> Reply:
        """Sends a goal that looks at fresh frames for `search_s` seconds at most.

        Raises:
            NoAnswer: the goal was refused or did not end in time.
        """
        self._connected(self._find_object.server_is_ready, "~/find_object", timeout_s)
        goal = FindObject.Goal(query=text)
        goal.timeout.sec, goal.timeout.nanosec = int(search_s), int(search_s % 1 * 1e9)
        start = time.monotonic()
        handle = self._result(self._on_executor(lambda: self._find_object.send_goal_async(goal)), timeout_s)
        if handle is None or not handle.accepted:
            raise NoAnswer("the goal was not accepted by ~/find_object")
        ended = self._result(self._on_executor(handle.get_result_async), search_s + timeout_s)
        result = self._wanted(ended, f"~/find_object did not end in {search_s + timeout_s:g} s").result
        segments = tuple(_segment_of(segment) for segment in result.segments)
        stamp, latency = stamp_ns(result.header), time.monotonic() - start
        return Reply(result.code, result.message, stamp, segments, result.best_score, latency, segments)

    # Waiting

    def _on_segmentation(self, message: Segmentation) -> None:
        with self._changed:
            self._newest_segmentation = message
            self._changed.notify_all()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _wait(self, look: Callable[[], _T | None], timeout_s: float) -> _T | None:
        """What `look` gives as soon as it is not None; looked at whenever a message came."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while (seen := look()) is None:
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return None
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
        return future.result() if done.wait(timeout_s) else None

    def _connected(self, ready: Callable[[], bool], name: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not ready():
            if time.monotonic() > deadline:
                raise NoAnswer(f"{name} was not offered within {timeout_s:g} s")
            time.sleep(0.02)

    @staticmethod
    def _wanted(value: _T | None, otherwise: str) -> _T:
        if value is None:
            raise NoAnswer(otherwise)
        return value


def _reply_of(segmentation: Any, start: float, *, code: int | None = None, message: str = "") -> Reply:
    """The reply that a Segmentation message is; without a code of its own, FOUND where a mask has a word."""
    masks = tuple(_segment_of(segment) for segment in segmentation.segments)
    segments = tuple(one for one in masks if one.label)
    if code is None:
        code = ResultCode.FOUND if segments else ResultCode.NOT_FOUND
    best = segments[0].score if segments else None
    stamp, latency = stamp_ns(segmentation.header), time.monotonic() - start
    return Reply(code, message, stamp, segments, best, latency, masks)


def _segment_of(segment: Any) -> FoundSegment:
    box, mask = segment.box, segment.mask
    rows = np.frombuffer(mask.data, dtype=np.uint8).reshape(mask.height, mask.step)
    return FoundSegment(
        segment.label,
        segment.score,
        (box.x_offset, box.y_offset, box.width, box.height),
        rows[:, : mask.width] > 0,
        segment.margin,
        segment.runner_up,
    )
