"""Child processes that cannot outlive the program: each in its own group, with a log file, always ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ovseg_ros.errors import OvsegError

_PR_SET_PDEATHSIG = 1


class ChildEnded(OvsegError):
    """A process ended that should have gone on; the message holds the end of its log."""


class Child:
    """A running command; everything it prints goes to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        *,
        niceness: int = 0,
    ) -> None:
        """Starts it; `env` is added to this process's environment, `niceness` to its niceness."""
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                preexec_fn=partial(_prepare, niceness),
            )

    def check(self) -> None:
        """Raises ChildEnded where it has ended."""
        status = self._process.poll()
        if status is not None:
            raise ChildEnded(f"{self.name} ended with status {status}; {self.log} ends:\n{self.tail()}")

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (nothing)"

    def signal(self, which: signal.Signals) -> None:
        """Sends a signal to it and to what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, which)

    def ended(self, patience_s: float) -> bool:
        """Whether it is over, at the latest after `patience_s` seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(patience_s)
        return self._process.poll() is not None


def end_all(children: Sequence[Child], patience_s: float = 3.0) -> None:
    """Ends children and all they started: interrupts them together, kills after `patience_s` seconds."""
    for child in children:
        child.signal(signal.SIGINT)
    deadline = time.monotonic() + patience_s
    for child in children:
        child.ended(max(deadline - time.monotonic(), 0))
        child.signal(signal.SIGKILL)  # also what is left of its group
        child.ended(patience_s)


def _prepare(niceness: int) -> None:
    """Runs in the child: where the parent dies without cleaning up (Linux), the child is told to end."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    os.nice(niceness)
