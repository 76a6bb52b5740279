"""One thread on which all inference runs: requests in their order, the camera's frames between them."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from typing import Any

from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.requests.answers import RequestError

Step = Callable[[], float | None]


class ModelExit(Exception):
    """What a model raised is no error but an order to the interpreter (SystemExit …), which is not obeyed."""


class Worker:
    """Runs submitted jobs and, between any two of them, one step of the stream.

    An exception in a job goes to that job's future, one in the step to `on_step_error`; the thread lives on.
    The alternation keeps a flood of requests from starving the stream, and the other way round.
    """

    def __init__(self, on_step_error: Callable[[Exception], None], step: Step = lambda: None) -> None:
        """A thread that is not started yet.

        Args:
            on_step_error: Told of an exception in `step`, on the worker's thread.
            step: See `follow`.
        """
        self._step = step
        self._on_step_error = on_step_error
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._condition = threading.Condition()
        self._awake = False
        self._stopping = False
        self._present: Future[Any] | None = None  # of the job it is at
        self._busy_since: float | None = None
        self.thread = threading.Thread(target=self._run, name="ovseg_inference", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self.thread.start()

    def follow(self, step: Step) -> None:
        """Sets what is done between jobs.

        `step()` does what is due on the stream; it returns the seconds after which it wants to be called
        again, or None for not before `wake()`.
        """
        self._step = step
        self.wake()

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

    @property
    def stopping(self) -> bool:
        """True from `stop` on: what the thread still finishes is for nobody."""
        return self._stopping

    @property
    def busy_s(self) -> float:
        """Seconds the present job or step has taken so far; 0: there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def where(self) -> str:
        """The thread's stack at this moment: what it is at."""
        frame = sys._current_frames().get(self.thread.ident or -1)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def refuse_all(self, error: RequestError) -> None:
        """Ends the waiting of all who wait, for the job at work too; what that gives is thrown away then."""
        with self._condition:
            futures = [future for future, _ in self._jobs]
            self._jobs.clear()
            present = self._present
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        if present is not None:
            with contextlib.suppress(InvalidStateError):  # it has just ended by itself
                present.set_exception(error)

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread after the job it is at; jobs that wait are refused with INACTIVE.

        Returns:
            False where the thread is still at work after `timeout_s` seconds (it is a daemon thread).
        """
        with self._condition:
            self._stopping = True
            self._condition.notify()
        ended = not self.thread.is_alive()
        if not ended:
            self.thread.join(timeout_s)
            ended = not self.thread.is_alive()
        self.refuse_all(RequestError(ResultCode.INACTIVE, "the node is shutting down"))
        self._step = lambda: None  # whoever still holds the worker is not to hold the model
        return ended

    def _run(self) -> None:
        delay: float | None = 0.0
        while True:
            with self._condition:
                if not self._stopping and not self._jobs and not self._awake:
                    self._condition.wait(delay)
                if self._stopping:
                    return
                future, job = self._jobs.popleft() if self._jobs else (None, None)
                if future is not None and not future.set_running_or_notify_cancel():
                    future = job = None
                self._present, self._awake = future, False
            if future is not None and job is not None:
                self._run_job(future, job)
            future = job = self._present = None  # or the last answer would be kept until the next request
            delay = self._run_step()

    def _run_job(self, future: Future[Any], job: Callable[[], Any]) -> None:
        with contextlib.suppress(InvalidStateError):  # `refuse_all` gave it up meanwhile
            try:
                with self._busy():
                    result = job()
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(result)

    def _run_step(self) -> float | None:
        try:
            with self._busy():
                return self._step()
        except Exception as error:  # one frame is lost, the thread is not
            with contextlib.suppress(Exception):  # the log may be gone already
                if not self._stopping:
                    self._on_step_error(error)
            return 0.0

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        """Measures how long it takes, and makes an ordinary error of what would end the thread."""
        self._busy_since = time.monotonic()
        try:
            yield
        except Exception:
            raise
        except BaseException as order:
            raise ModelExit(f"the model raised {type(order).__name__}: {order}") from order
        finally:
            self._busy_since = None
