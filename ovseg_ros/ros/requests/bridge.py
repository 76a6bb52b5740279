"""From the inference thread to coroutines on the executor, without holding the executor's thread."""

from __future__ import annotations

from concurrent.futures import Future as ThreadFuture
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.task import Future


class Bridge:
    """Futures that callbacks can await on a single-threaded executor.

    rclpy of Humble and Jazzy looks at a pending coroutine again only when the executor wakes, so whatever
    completes a future on another thread must wake it: that is the guard condition's work.
    """

    def __init__(self, node: Any) -> None:
        self._guard = node.create_guard_condition(lambda: None, callback_group=ReentrantCallbackGroup())
        self._waiting: list[Future] = []

    def wrap(self, work: ThreadFuture[Any]) -> Future:
        """A future to await that ends as `work` does."""
        future = Future()

        def done(finished: ThreadFuture[Any]) -> None:
            error = finished.exception()
            if error is not None:
                future.set_exception(error)
                future.exception()  # or rclpy prints it where the executor ends before anybody looked
            else:
                future.set_result(finished.result())
            self.wake()

        work.add_done_callback(done)
        return future

    def changed(self) -> Future:
        """A future that ends at the next `notify()`. Executor's thread only."""
        future = Future()
        self._waiting.append(future)
        return future

    def notify(self) -> None:
        """Lets everything go on that awaits `changed()`. Executor's thread only."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.set_result(None)
        if waiting:
            self.wake()

    def wake(self) -> None:
        """Makes the executor look at its coroutines."""
        try:
            self._guard.trigger()
        except Exception:  # the node is being destroyed: rclpy.handle.InvalidHandle, under several names
            return
