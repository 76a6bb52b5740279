"""Goals under way: a search that ends with one reply, and a thing that is followed from image to image."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ovseg_ros.action import FindObject
from ovseg_ros.ros.client.answers import reply_of_following, reply_of_search, sighting_of
from ovseg_ros.ros.client.connection import Connection, NoAnswer
from ovseg_ros.ros.client.replies import Reply, Sighting

KEPT_SIGHTINGS = 64  # who is slower than the camera by more hears of the newest
_LOST_S = 2.0  # without an answer for so long a goal is sent again
_END_S = 5.0  # for the node to end what is cancelled
_OVERTAKEN_S = 0.2
_STAGES = {
    FindObject.Feedback.WAITING_FOR_IMAGE: "WAITING_FOR_IMAGE",
    FindObject.Feedback.SEARCHING: "SEARCHING",
    FindObject.Feedback.WAITING_FOR_DEPTH: "WAITING_FOR_DEPTH",
    FindObject.Feedback.CONFIRMING: "CONFIRMING",
}


@dataclass(frozen=True)
class Progress:
    """How far a search has come: its stage (see FindObject.action), images searched, and the best score."""

    stage: str
    frames_seen: int
    best_score: float


class Goal:
    """One goal of an action, accepted by the node. It is cancelled when nobody holds it any more."""

    def __init__(
        self, connection: Connection, client: Any, name: str, goal: Any, *, patience_s: float, kept: int
    ) -> None:
        """Sends it.

        The middleware drops an answer that is ready before the node knows who is to have it, just after both
        met on a busy machine. So a goal of which nothing is heard is sent once more; the other is cancelled
        should its answer still come.

        Raises:
            NoAnswer: the action is not offered, or the goal not accepted, in time; NodeGone: the node died.
        """
        self.started_s = time.monotonic()
        self._told_all = False  # no feedback comes any more
        self._ended: Any = None
        self._connection, self._name = connection, name
        connection.connected(client.server_is_ready, name, patience_s)
        for wait_s in (min(_LOST_S, patience_s / 2), patience_s):
            self.feedback: deque[Any] = deque(maxlen=kept)
            keep = _keeper(connection, self.feedback)  # not a method: rclpy holds it while the goal goes on
            sent = connection.on_executor(partial(client.send_goal_async, goal, keep))
            try:
                self._handle = connection.result(sent, wait_s, give_up=False)
            except BaseException:
                sent.add_done_callback(_end_late)
                raise
            if self._handle is not None:
                break
            sent.add_done_callback(_end_late)
        if self._handle is None or not self._handle.accepted:
            raise NoAnswer(f"the goal was not accepted by {name}")
        self._ended = connection.on_executor(self._handle.get_result_async)
        self._ended.add_done_callback(lambda _: connection.notify())

    def __del__(self) -> None:
        if self._ended is not None:
            self.cancel()

    def done(self) -> bool:
        """Whether it has ended, or was given up."""
        return self._ended.done() or self._ended.cancelled()  # rclpy: done() is False for what was cancelled

    def next_feedback(self) -> Any:
        """The oldest feedback that nobody has taken, waited for; None where the goal has ended first.

        Raises:
            NodeGone: the node has died.
        """
        look = self._connection.wait
        if not self._told_all:
            look(lambda: True if self.feedback or self.done() else None, None)
            # The end comes by a way of its own, and may overtake the last feedback.
            self._told_all = look(lambda: True if self.feedback else None, _OVERTAKEN_S) is None
        return self.feedback.popleft() if self.feedback else None

    def cancel(self) -> None:
        """Tells the node to end it; its result still comes."""
        if not self.done():
            self._connection.begin(self._handle.cancel_goal_async)

    def result(self, timeout_s: float | None) -> Any:
        """What it ended with; where that does not come in time, it is cancelled and given up.

        Raises:
            NoAnswer: it did not end in time; NodeGone: the node has died.
        """
        try:
            ended = self._connection.wait(lambda: True if self.done() else None, timeout_s)
        except BaseException:  # KeyboardInterrupt too: nobody waits for it any more
            self.forget()
            raise
        if ended is None:
            self.forget()
            raise NoAnswer(f"{self._name} did not end in {timeout_s:g} s")
        if self._ended.cancelled():
            raise NoAnswer(f"this goal of {self._name} was given up")
        return self._ended.result().result

    def end(self) -> None:
        """Cancels it now: when this returns the node has been told, if it can be."""
        if not self.done():
            with contextlib.suppress(NoAnswer):
                self._connection.on_executor(self._handle.cancel_goal_async)

    def forget(self) -> None:
        """Cancels it, and lets go of what waits for its result."""
        if not self.done():
            self.cancel()
            self._ended.cancel()


def _end_late(sent: Any) -> None:
    """Ends a goal that was accepted when nobody waited for it any more."""
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()


def _keeper(connection: Connection, feedback: deque[Any]) -> Any:
    def keep(message: Any) -> None:
        with connection.changed:
            feedback.append(message.feedback)
            connection.changed.notify_all()

    return keep


class Search:
    """A search under way, from `NodeClient.begin_find`: look at it, wait for it, or cancel it.

    It is cancelled, too, when nobody holds it any more.
    """

    def __init__(self, goal: Goal, patience_s: float) -> None:
        """`patience_s`: how long to wait for the reply at most."""
        self._goal, self._patience_s = goal, patience_s
        self._reply: Reply | None = None

    @property
    def progress(self) -> Progress | None:
        """The newest word from the node, None before the first."""
        if not self._goal.feedback:
            return None
        newest = self._goal.feedback[-1]
        return Progress(_STAGES.get(newest.stage, str(newest.stage)), newest.frames_seen, newest.best_score)

    def done(self) -> bool:
        """Whether its reply is there."""
        return self._reply is not None or self._goal.done()

    def cancel(self) -> None:
        """Ends it early. `result` then says how far it had come: NOT_FOUND where images were searched."""
        self._goal.cancel()

    def result(self, timeout_s: float | None = None) -> Reply:
        """The reply, waited for.

        Args:
            timeout_s: None: as long as the search may take.

        Raises:
            NoAnswer: it did not come in time, and the search was cancelled; NodeGone: the node has died.
        """
        if self._reply is None:
            result = self._goal.result(self._patience_s if timeout_s is None else timeout_s)
            self._reply = reply_of_search(result, self._goal.started_s)
        return self._reply


class Following(Iterator[Sighting]):
    """A thing that is followed, from `NodeClient.follow`: each image's sighting, until it is lost.

    Ends by `cancel`, at the end of a `with` block, and when nobody holds it any more.
    """

    def __init__(self, goal: Goal) -> None:
        self._goal = goal
        self._reply: Reply | None = None

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self._goal.cancel()

    def __next__(self) -> Sighting:
        """The next image's sighting, waited for; after the last StopIteration.

        Raises:
            NodeGone: the node has died.
        """
        feedback = self._goal.next_feedback()
        if feedback is None:
            raise StopIteration
        return sighting_of(feedback)

    def cancel(self) -> None:
        """Ends it; from any thread."""
        self._goal.cancel()

    def reply(self, timeout_s: float = _END_S) -> Reply:
        """How it ended: LOST, NOT_FOUND, FOUND where it was cancelled in sight; its segment is as seen last.

        Args:
            timeout_s: how long to wait for its end; what goes on then is cancelled.

        Raises:
            NoAnswer: it did not end in time; NodeGone: the node has died.
        """
        if self._reply is None:
            self._reply = reply_of_following(self._goal.result(timeout_s), self._goal.started_s)
        return self._reply
