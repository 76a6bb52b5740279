"""What one file of a recording gives, whatever its storage, and several such in order of time."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol


class Channel(NamedTuple):
    """A topic as one file has it: name, type, how messages are serialised, and how many there are."""

    topic: str
    kind: str
    serialization: str
    count: int


class Recorded(NamedTuple):
    """A message as it was recorded; `data` may still be packed."""

    logged_ns: int
    topic: str
    kind: str
    data: bytes


class Part(Protocol):
    """One file of a recording.

    Attributes:
        path: the user's file.
        channels: its topics.
        start_ns: when its first message was recorded.
        remarks: what is lost, in sentences; more may come while it is read.
    """

    path: Path
    channels: list[Channel]
    start_ns: int
    remarks: list[str]

    def messages(self, topics: Collection[str]) -> Iterator[Recorded]:
        """Those of some topics in the order of recording; damage ends or thins it, and is remarked."""


def type_name(name: str) -> str:
    """The name of a type as ROS 2 writes it today.

    >>> type_name("sensor_msgs/Image"), type_name("sensor_msgs::msg::dds_::Image_")
    ('sensor_msgs/msg/Image', 'sensor_msgs/msg/Image')
    """
    words = [word for word in name.replace("::", "/").split("/") if word not in ("msg", "dds_", "")]
    return "/msg/".join((words[0], words[1].rstrip("_"))) if len(words) == 2 else name


def merged(pieces: Iterable[tuple[int, Callable[[], Iterator[Recorded]]]]) -> Iterator[Recorded]:
    """Messages of all pieces in order of time; each (start, opener) is opened when its start has come."""
    waiting: list[tuple[int, int, Recorded, Iterator[Recorded]]] = []

    def push(number: int, messages: Iterator[Recorded]) -> None:
        for message in messages:
            heapq.heappush(waiting, (message.logged_ns, number, message, messages))
            return

    def oldest() -> Recorded:
        _, number, message, messages = heapq.heappop(waiting)
        push(number, messages)
        return message

    for number, (start_ns, opened) in enumerate(sorted(pieces, key=lambda piece: piece[0])):
        while waiting and waiting[0][0] < start_ns:
            yield oldest()
        push(number, opened())
    while waiting:
        yield oldest()
