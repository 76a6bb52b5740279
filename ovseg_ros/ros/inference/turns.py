"""Whose frame is next: the cameras take turns on the one inference thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ovseg_ros.core.joint import EncodeAll, Way, together


class Turn(Protocol):
    """What `Turns` needs of a camera."""

    def due_in(self) -> float | None:
        """See `ovseg_ros.ros.inference.stream.Stream`."""

    def turn(self) -> Way[None]:
        """See there."""

    def lost(self, error: Exception) -> None:
        """Told of the exception that ended a turn."""


class Turns:
    """The step of the worker: a turn for every camera that has a frame due, first who waited longest.

    Between two turns of a camera that always has a frame each other one has at most one, however fast its
    frames come. The regions of frames that are due at the same moment are encoded in one batch.
    """

    def __init__(self, cameras: Sequence[Turn], encode_all: EncodeAll) -> None:
        """`encode_all`: of the segmenter that they share."""
        self._queue = list(cameras)  # who waits longest first
        self._encode_all = encode_all

    def step(self) -> float | None:
        """Does what is due.

        Returns:
            Seconds to wait before the next call is of use, None: until something new arrives.
        """
        ready = [camera for camera in self._queue if camera.due_in() == 0]
        self._queue = [camera for camera in self._queue if camera not in ready] + ready
        outcomes = together([camera.turn() for camera in ready], self._encode_all)
        for camera, outcome in zip(ready, outcomes, strict=True):
            if isinstance(outcome, Exception):
                camera.lost(outcome)
        waits = [camera.due_in() for camera in self._queue]
        return min((wait for wait in waits if wait is not None), default=None)
