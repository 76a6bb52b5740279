"""How the process ends: by SIGINT or SIGTERM at any moment of its life, with status 0 and in bounded time."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
END_S = 2.5  # from the signal to the end, whatever the process is at


def leave_at_once(*_: object) -> None:
    """Ends the process with status 0 without putting anything away: for moments when there is nothing yet."""
    os._exit(0)


def guard_start() -> None:
    """From here on a signal ends the process quietly; an `Ending` takes over later."""
    for number in SIGNALS:
        signal.signal(number, leave_at_once)


class Ending:
    """Notes that a signal asked the process to end. A context manager, on the main thread.

    rclpy's own handlers take the context away under whatever callback runs, which then fails in its own way.
    With these the context stays, and the program's loop looks at `requested`. When it is left signals are
    ignored: what ends by itself is not to be broken off, and the interpreter, while it ends, puts handlers
    written in Python back to the system's, but leaves this.
    """

    def __init__(self, end_s: float = END_S) -> None:
        """`end_s`: seconds after which the process ends even if its clean-up has not."""
        self.requested = False
        self._end_s = end_s
        self._has_begun = False

    def __enter__(self) -> Ending:
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in SIGNALS:
                signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)

    def begin(self) -> None:
        """From here on there is something to put away: a signal asks, it does not end at once."""
        self._has_begun = True

    def _on_signal(self, *_: object) -> None:
        if not self._has_begun:
            leave_at_once()
        if self.requested:  # under ros2 launch Ctrl-C comes twice, from the terminal and from launch
            return
        self.requested = True
        last_resort = threading.Timer(self._end_s, _leave_late)
        last_resort.daemon = True
        last_resort.start()


def leave(status: int) -> NoReturn:
    """Ends the process after what is registered for its end, without the interpreter's taking itself apart.

    That takes seconds where networks are loaded and the machine is busy, and neither a signal nor the time
    limit of an `Ending` is heard in it; also, coroutines of rclpy's that never ran complain then.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # nobody may read it any more
            stream.flush()
    os._exit(status)


def _leave_late() -> None:
    """The clean-up hangs, in a network or in the middleware, which Python cannot interrupt."""
    with contextlib.suppress(Exception):
        sys.stderr.flush()
    leave_at_once()
