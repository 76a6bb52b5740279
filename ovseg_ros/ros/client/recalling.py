"""What a planner asks of the node's memory: what was seen where, also what is not in view."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.client.answers import thing_of
from ovseg_ros.ros.client.connection import Connection
from ovseg_ros.ros.client.replies import RememberedThing, plain
from ovseg_ros.ros.client.requests import text, whole
from ovseg_ros.ros.requests.answers import name_of
from ovseg_ros.srv import Recall

_PATIENCE_S = 20.0


@dataclass(frozen=True, eq=False)
class RecallReply:
    """What the node remembers.

    Attributes:
        code: REMEMBERED where there is something, NOT_FOUND where there is nothing, or what stood against it.
        message: the sentence beside the code.
        things: the surest first, and of equally sure ones the one seen last.
        count: how many there are, those included that `max_results` left out.
        latency_s: from the request to its answer.
    """

    code: int
    message: str
    things: tuple[RememberedThing, ...]
    count: int
    latency_s: float

    @property
    def code_name(self) -> str:
        """The name of the code."""
        return name_of(self.code)

    @property
    def remembered(self) -> bool:
        """Whether the code is REMEMBERED. Nothing of it is FOUND: it need not be there any more."""
        return self.code == ResultCode.REMEMBERED

    @property
    def best(self) -> RememberedThing | None:
        """The first of the things, None where there is none."""
        return self.things[0] if self.things else None

    def as_dict(self) -> dict[str, Any]:
        """All but pictures, for JSON."""
        told = {"code_name": self.code_name, **plain(self, leave_out=("things",))}
        return {**told, "things": [one.as_dict() for one in self.things]}


class Recalling:
    """The part of `NodeClient` that asks the node's memory."""

    def __init__(self, connection: Connection) -> None:
        self._memory = connection
        self._recall: Any = None  # most clients never ask: they need not look for the service

    def recall(
        self,
        query: str = "",
        *,
        kind: str = "",
        on: str = "",
        low_m: Sequence[float] | None = None,
        high_m: Sequence[float] | None = None,
        seen_after_s: float = 0.0,
        seen_before_s: float = 0.0,
        with_gone: bool = False,
        max_results: int = 0,
        with_pictures: bool = False,
        timeout_s: float = _PATIENCE_S,
    ) -> RecallReply:
        """What the node remembers; all conditions hold together.

        Args:
            query: "mug", or as people ask: "where is my mug?", "what is on the table?", "what food do you
                remember?"; "": everything.
            kind: "container", "furniture": only what was called a kind of it.
            on: only what stands on a thing of this name: "table".
            low_m: (x, y, z) in the node's `memory_frame`: only what is from there …
            high_m: … to there; both or none.
            seen_after_s: only what was last seen from then on, seconds since the epoch; 0: at any time.
            seen_before_s: only what was last seen until then.
            with_gone: also what is gone.
            max_results: the most things to return; 0: all. `RecallReply.count` counts all.
            with_pictures: fill `RememberedThing.jpeg`.
            timeout_s: for the node to be there, and then to answer.

        Raises:
            NoAnswer: no answer in time; NodeGone: the node has died.
            InvalidInputError: a number that no request can carry, or one corner of a box without the other.
        """
        if (low_m is None) != (high_m is None):
            raise InvalidInputError(f"expected both low_m and high_m or none, got {low_m} and {high_m}")
        request = Recall.Request(
            query=text(query, "query"),
            kind=text(kind, "kind"),
            on=text(on, "on"),
            seen_after=_time(seen_after_s),
            seen_before=_time(seen_before_s),
            with_gone=with_gone,
            max_results=whole(max_results, "max_results"),
            with_crops=with_pictures,
        )
        if low_m is not None and high_m is not None:
            request.low, request.high = _point(low_m), _point(high_m)
        start = time.monotonic()
        if self._recall is None:
            self._recall = self._memory.service(Recall, "recall")
        told = self._memory.call(self._recall, request, "~/recall", timeout_s)
        things = tuple(map(thing_of, told.objects))
        return RecallReply(told.code, told.message, things, told.count, time.monotonic() - start)


def _time(seconds: float) -> Time:
    if not 0 <= seconds < 2**31:
        raise InvalidInputError(f"expected seconds since the epoch, 0 to {2**31}, got {seconds}")
    full, rest = divmod(seconds, 1.0)
    return Time(sec=int(full), nanosec=int(rest * 1e9))


def _point(metres: Sequence[float]) -> Point:
    if len(metres) != 3:
        raise InvalidInputError(f"expected three coordinates in metres, got {list(metres)}")
    x, y, z = map(float, metres)
    return Point(x=x, y=y, z=z)
