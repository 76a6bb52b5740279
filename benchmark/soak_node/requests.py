"""Requests of every kind, right and wrong, and whether each of them is answered."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from action_msgs.msg import GoalStatus
from ovseg_ros.action import FindObject
from ovseg_ros.srv import EmbedText, SegmentImage, SetVocabulary
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from std_srvs.srv import SetBool

from ovseg_ros.core.words import names_of, parse_request
from ovseg_ros.errors import InvalidInputError
from soak_node.camera import Camera
from soak_node.checks import Checks
from soak_node.words import QUERIES, WORDS

THRESHOLDS = (0.0, 0.0, 0.3, 0.5, 0.9, 1.0, -1.0, 2.0, float("nan"), float("inf"))
PARAMETERS: tuple[tuple[str, Any], ...] = (
    *(("threshold", value) for value in (0.0, 0.2, 0.9)),
    *(("tracking", value) for value in (True, True, False)),
    *(("publish_unlabelled", value) for value in (True, False)),
    *(("granularity", value) for value in (-1.0, 0.5, 1.0)),
    *(("max_masks", value) for value in (0, 1, 5)),
    *(("max_rate", value) for value in (0.0, 0.0, 5.0)),
    *(("target_rate", value) for value in (0.0, 0.0, 10.0)),
    *(("embedding_refresh", value) for value in (4, 0)),
)
FLOOD = 12  # requests at once: more than may wait, so that some are answered BUSY
MOST_OPEN = 24  # requests that wait: beyond, the machine is slower than what is asked of it
SLOW_S = 10.0  # an answer that took longer is counted


@dataclass
class Open:
    """A request that waits for its answer."""

    name: str
    future: Any
    sent_s: float
    take: Callable[[Any], None]


class Requests:
    """Sends requests to the node and takes their answers."""

    def __init__(
        self, node: Node, rng: random.Random, checks: Checks, camera: Camera, patience_s: float
    ) -> None:
        """`patience_s`: a request that has no answer by then was not answered."""
        self._rng, self._checks, self._camera, self.patience_s = rng, checks, camera, patience_s
        create = node.create_client
        self._set_vocabulary = create(SetVocabulary, "ovseg/set_vocabulary")
        self._segment = create(SegmentImage, "ovseg/segment")
        self._embed_text = create(EmbedText, "ovseg/embed_text")
        self._enable = create(SetBool, "ovseg/enable")
        self._find_object = ActionClient(node, FindObject, "ovseg/find_object")
        self._parameters = AsyncParameterClient(node, "ovseg")
        self.open: list[Open] = []
        self._arriving: dict[str, Any] = {}
        self._enable_at_s: float | None = None
        names = {name for query in QUERIES for name in _names_of(query)}
        assert len(names | {*WORDS}) < 200, "numbers would be given a second time"

    def send(self, name: str) -> Callable[[], None]:
        """What sends a request of a kind; nothing while too many wait for their answer."""
        if len(self.open) >= MOST_OPEN:
            return lambda: None
        return getattr(self, f"_send_{name}", lambda: None)

    def any_query(self) -> str:
        """A query, right or wrong."""
        if self._rng.random() < 0.5:
            return ", ".join(self._rng.sample(WORDS, self._rng.randint(1, 4)))
        return self._rng.choice(QUERIES)

    def any_labels(self) -> list[str]:
        """Labels, most of them right."""
        labels = self._rng.sample(WORDS, self._rng.randint(0, 5))
        if self._rng.random() < 0.3:
            labels.append(self._rng.choice(QUERIES))
        return labels

    def look(self) -> None:
        """Takes the answers that have come; says which have not."""
        now_s = time.monotonic()
        waiting = []
        for one in self.open:
            if one.future.done():
                self._checks.counts["answers"] += 1
                self._checks.counts["slow answers"] += now_s - one.sent_s > SLOW_S
                one.take(one.future.result())
            elif now_s - one.sent_s > self.patience_s:
                self._checks.breach(f"{one.name}: no answer in {self.patience_s:g} s")
            else:
                waiting.append(one)
        # What was sent while answers were taken stands at the end.
        sent = [
            one for one in self.open if one.sent_s >= now_s and one not in waiting and not one.future.done()
        ]
        self.open = waiting + sent
        if self._enable_at_s is not None and now_s > self._enable_at_s:
            self._enable_at_s = None
            self._ask("enable", self._enable, SetBool.Request(data=True), lambda reply: None)

    def forget(self) -> None:
        """The node is gone, and what it was asked with it."""
        self._checks.counts["lost with the node"] += len(self.open)
        self.open, self._arriving, self._enable_at_s = [], {}, None

    def arrive(self) -> bool:
        """Whether each server has answered once; asks those that have not."""
        asked: dict[str, tuple[Any, Any]] = {
            "set_vocabulary": (self._set_vocabulary, SetVocabulary.Request(operation=1)),
            "segment": (self._segment, SegmentImage.Request(labels=["mug"])),
            "embed_text": (self._embed_text, EmbedText.Request()),
            "enable": (self._enable, SetBool.Request(data=True)),
        }
        for name, (client, request) in asked.items():
            if client.service_is_ready() and not self._has_arrived(name):
                self._arriving.setdefault(name, []).append(client.call_async(request))
        if self._find_object.server_is_ready() and not self._has_arrived("find_object"):
            self._arriving.setdefault("find_object", []).append(
                self._find_object.send_goal_async(FindObject.Goal())
            )
        return all(self._has_arrived(name) for name in (*asked, "find_object"))

    def _has_arrived(self, name: str) -> bool:
        return any(future.done() for future in self._arriving.get(name, ()))

    def _ask(self, name: str, client: Any, request: Any, take: Callable[[Any], None]) -> None:
        self.open.append(Open(name, client.call_async(request), time.monotonic(), take))

    # One of each kind

    def _send_set_vocabulary(self) -> None:
        labels = self.any_labels()
        thresholds = [self._rng.choice(THRESHOLDS) for _ in labels] if self._rng.random() < 0.3 else []
        operation = self._rng.choice([0, 0, 1, 1, 2, 7])
        request = SetVocabulary.Request(operation=operation, labels=labels, thresholds=thresholds)
        self._ask("set_vocabulary", self._set_vocabulary, request, self._checks.vocabulary_reply)

    def _send_segment(self) -> None:
        request = SegmentImage.Request(labels=self.any_labels(), threshold=self._threshold())
        if self._rng.random() < 0.5:
            request.image, request.depth, request.camera_info = self._camera.frame(self._rng.randrange(1000))
        elif self._rng.random() < 0.3:
            request.image = self._rng.choice(self._camera.wrong_images)
        take = partial(self._checks.segment_reply, asked=list(request.labels))
        self._ask("segment", self._segment, request, take)

    def _send_embed_text(self) -> None:
        labels = self.any_labels()
        request = EmbedText.Request(labels=labels, verbatim=self._rng.random() < 0.5)
        self._ask(
            "embed_text", self._embed_text, request, partial(self._checks.embed_reply, count=len(labels))
        )

    def _send_find_object(self) -> None:
        goal = FindObject.Goal(query=self.any_query(), threshold=self._threshold())
        goal.want_3d, goal.max_results = self._rng.random() < 0.3, self._rng.choice([0, 1, 3])
        timeout_s = self._rng.choice([0.0, 0.0, 0.5, 1.0, 2.0, -1.0])
        goal.timeout.sec, goal.timeout.nanosec = int(timeout_s // 1), int(timeout_s % 1 * 1e9)
        names = _names_of(goal.query)
        take = partial(self._take_goal, names)
        self.open.append(Open("find_object", self._find_object.send_goal_async(goal), time.monotonic(), take))

    def _take_goal(self, names: tuple[str, ...], handle: Any) -> None:
        if not handle.accepted:
            self._checks.breach("~/find_object: a goal was not accepted")
            return
        if self._rng.random() < 0.2:
            handle.cancel_goal_async()
        future = handle.get_result_async()
        self.open.append(Open("find_object", future, time.monotonic(), partial(self._take_result, names)))

    def _take_result(self, names: tuple[str, ...], wrapped: Any) -> None:
        self._checks.find_result(wrapped.result, names)
        if wrapped.status == GoalStatus.STATUS_UNKNOWN:
            self._checks.breach("~/find_object: a goal ended in no state")

    def _send_flood(self) -> None:
        for _ in range(FLOOD):
            self._send_segment()

    def _send_disable(self) -> None:
        self._ask("enable", self._enable, SetBool.Request(data=False), lambda reply: None)
        self._enable_at_s = time.monotonic() + self._rng.uniform(0.1, 2)

    def _send_parameter(self) -> None:
        if self._parameters.services_are_ready():
            name, value = self._rng.choice(PARAMETERS)
            future = self._parameters.set_parameters([Parameter(name, value=value)])
            self.open.append(Open(f"parameter {name}", future, time.monotonic(), lambda reply: None))

    def _threshold(self) -> float:
        return self._rng.choice(THRESHOLDS) if self._rng.random() < 0.3 else 0.0


def _names_of(query: str) -> tuple[str, ...]:
    try:
        return names_of(parse_request(query))
    except InvalidInputError:
        return ()
