"""Files that survive a kill: locks, journals, whole files; what `pair_store` is made of."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError, OvsegError

SHARD_END = b"\0" * 1024
"""Two empty blocks: the end of a tar archive."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors into one that names the folder."""
    try:
        yield
    except OSError as error:
        raise OvsegError(f"cannot write to {path}: {error.strerror or error}") from error


def locked(path: Path) -> int:
    """A descriptor of the folder that keeps other writers out until it is closed, or its process killed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ConfigError(f"another run is writing to {path}; wait for it, or end it") from error
    return descriptor


def stored_bytes(path: Path) -> dict[int, int]:
    """Shard number -> how long the part with pairs can be at most; the journal knows how long it is."""
    sizes = {}
    for file in path.glob("shard-[0-9][0-9][0-9][0-9][0-9].tar"):
        sizes[int(file.name[6:-4])] = file.stat().st_size - len(SHARD_END)
    for file in path.glob(".shard-[0-9][0-9][0-9][0-9][0-9].tar.part"):
        sizes.setdefault(int(file.name[7:-9]), file.stat().st_size)
    return sizes


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal that are whole, in order."""
    with path.open("rb") as lines:
        for line in lines:
            with contextlib.suppress(ValueError):  # a line that broke off
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def json_line(entry: Mapping[str, Any]) -> bytes:
    """One line of a journal."""
    return json.dumps(entry).encode() + b"\n"


def write_all(file: Any, data: bytes) -> None:
    """All of it, however little one write takes."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that has its name only once it is whole."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
