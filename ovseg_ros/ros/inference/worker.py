"""One thread on which all inference runs: requests in their order, the camera's frames between them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.requests.answers import RequestError


class Worker:
    """Runs submitted jobs and, between any two of them, one step of the stream.

    An exception in a job goes to that job's future, one in the step to `on_step_error`; the thread lives on.
    The alternation keeps a flood of requests from starving the stream, and the other way round.
    """

    def __init__(self, step: Callable[[], float | None], on_step_error: Callable[[Exception], None]) -> None:
        """A thread that is not started yet.

        Args:
            step: Does what is due on the stream; returns the seconds after which it wants to be called
                again, or None for not before `wake()`.
            on_step_error: Told of an exception in `step`, on the worker's thread.
        """
        self._step = step
        self._on_step_error = on_step_error
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._condition = threading.Condition()
        self._awake = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ovseg_inference", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def wake(self) -> None:
        """Says that the step may have something to do."""
        with self._condition:
            self._awake = True
            self._condition.notify()

    def submit(self, job: Callable[[], Any], *, max_pending: int) -> Future[Any]:
        """Queues a job; its future gets what it returns or raises.

        Raises:
            RequestError: BUSY where `max_pending` jobs wait already, INACTIVE where the worker is stopping.
        """
        future: Future[Any] = Future()
        with self._condition:
            if self._stopping:
                raise RequestError(ResultCode.INACTIVE, "the node is shutting down")
            if len(self._jobs) >= max_pending:
                raise RequestError(
                    ResultCode.BUSY, f"{len(self._jobs)} requests are waiting already; ask again later"
                )
            self._jobs.append((future, job))
            self._condition.notify()
        return future

    @property
    def pending(self) -> int:
        """Number of jobs that wait."""
        return len(self._jobs)

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after the job it is at; jobs that wait are refused with INACTIVE.

        Returns:
            False where the thread is still at work after `timeout_s` seconds (it is a daemon thread).
        """
        with self._condition:
            self._stopping = True
            waiting = list(self._jobs)
            self._jobs.clear()
            self._condition.notify()
        for future, _ in waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(RequestError(ResultCode.INACTIVE, "the node is shutting down"))
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        delay: float | None = 0.0
        while True:
            with self._condition:
                if not self._stopping and not self._jobs and not self._awake:
                    self._condition.wait(delay)
                if self._stopping:
                    return
                job = self._jobs.popleft() if self._jobs else None
                self._awake = False
            if job is not None:
                self._run_job(*job)
            try:
                delay = self._step()
            except Exception as error:  # one frame is lost, the thread is not
                self._on_step_error(error)
                delay = 0.0

    @staticmethod
    def _run_job(future: Future[Any], job: Callable[[], Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = job()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(result)
