"""The node in a process of its own: starting, sampling and ending it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple

from ovseg_ros.errors import ConfigError

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """What a process held at a moment.

    Attributes:
        at_s: since the process was started.
        resident_mib: its memory.
        files: open ones, sockets included.
        threads: of it.
    """

    at_s: float
    resident_mib: float
    files: int
    threads: int


class Running:
    """A program that was started; what it says goes to `log`, appended."""

    def __init__(self, log: Path, name: str, *arguments: str, **parameters: Any) -> None:
        """Starts it.

        Args:
            log: file for stdout and stderr.
            name: of the program on PATH.
            arguments: its own.
            parameters: of its ROS node.

        Raises:
            ConfigError: there is no such program.
        """
        program = shutil.which(name)
        if program is None:
            raise ConfigError(
                f"expected the program {name} on PATH; run scripts/env.sh, or source install/setup.bash"
            )
        settings = [part for key, value in parameters.items() for part in ("-p", f"{key}:={_yaml(value)}")]
        self.log = log
        self._log_start = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [program, *arguments, *(["--ros-args", *settings] if settings else [])],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.started_s = time.monotonic()

    @property
    def code(self) -> int | None:
        """The exit status, minus the signal's number where one killed it; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """What it has said so far."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def send(self, number: int) -> None:
        """Sends a signal, where it still runs."""
        if self.code is None:
            self._process.send_signal(number)

    def wait(self, timeout_s: float) -> int | None:
        """Waits for its end; None where it did not end in time."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """Ends it at once."""
        self.send(signal.SIGKILL)
        self._process.wait()

    def catches(self, number: int) -> bool:
        """Whether it has come so far as to have a handler for a signal."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except OSError:
            return False
        caught = next((line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), "0")
        return bool(int(caught, 16) >> (number - 1) & 1)

    def sample(self) -> Sample | None:
        """What it holds now; None where it has ended."""
        place = Path(f"/proc/{self._process.pid}")
        try:
            resident = int((place / "statm").read_text().split()[1]) * PAGE_BYTES
            files, threads = len(list((place / "fd").iterdir())), len(list((place / "task").iterdir()))
        except (OSError, IndexError, ValueError):
            return None
        return Sample(time.monotonic() - self.started_s, resident / 2**20, files, threads)


def start_node(log: Path, **parameters: Any) -> Running:
    """The node with the preset `mini` on small images."""
    return Running(
        log, "ovseg_node", **{"preset": "mini", "device": "cpu", "max_frame_age": 10.0, **parameters}
    )


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, (list, tuple)) else str(value)
