"""Says when inference takes longer than it ever may, and lets nobody wait for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.requests.answers import Overdue


class Watchdog:
    """Looks at a worker from the executor's thread; inference itself cannot be interrupted."""

    def __init__(self, worker: Worker, limit_s: Callable[[], float], logger: Any) -> None:
        """`limit_s()`: the seconds a job or a frame may take at most; 0: any time."""
        self._worker = worker
        self._limit_s = limit_s
        self._logger = logger
        self._barks = False
        self._longest_s = 0.0

    def error(self) -> Overdue | None:
        """What to tell those who ask now; None where inference is in time."""
        seconds, limit_s = self._worker.busy_s, self._limit_s()
        return Overdue(seconds, limit_s) if 0 < limit_s < seconds else None

    def look(self) -> None:
        """Call it now and then: ends the waiting of all who wait, and logs when it begins and ends."""
        error = self.error()
        if error is not None:
            self._longest_s = self._worker.busy_s
            if not self._barks:
                self._logger.error(f"{error.message}. It is at:\n{self._worker.where()}")
            self._worker.refuse_all(error)
        elif self._barks:
            self._logger.warning(f"inference has returned, after {self._longest_s:.1f} s; the node goes on")
        self._barks = error is not None
