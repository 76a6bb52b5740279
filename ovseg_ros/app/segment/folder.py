"""Where a run of `ovseg segment` may write: found and checked before anything costly is done."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError, OvsegError

DEFAULT = Path("out/segment")
"""Where results go if nobody says it; further runs go to out/segment-2, out/segment-3, …"""

FOLDERS = ("overlay", "labels", "instances")
JOURNAL, MASKS = "frames.jsonl", "masks.json"
SUMMARIES = ("summary.json", "summary.md")


def default_folder(*, again: bool) -> Path:
    """The first free folder of the numbered ones; with `again` the last that is used, if there is one."""
    last = folder = DEFAULT
    number = 1
    while _is_used(folder):
        last, number = folder, number + 1
        folder = DEFAULT.with_name(f"{DEFAULT.name}-{number}")
    return last if again else folder


def check_folder(path: Path, settings: Mapping[str, Any], *, overwrite: bool, resume: bool) -> None:
    """Refuses a folder that this run cannot go to.

    Args:
        path: it need not be there yet.
        settings: those of the run that are known already.
        overwrite: it may hold files.
        resume: it may hold what an earlier run with these settings left.

    Raises:
        ConfigError: it holds files, or was made otherwise.
        OvsegError: it cannot be written to.
    """
    with writing(path):
        there = next(one for one in (path, *path.absolute().parents) if os.path.lexists(one))
        with tempfile.TemporaryFile(dir=there):
            pass
        if not _is_used(path):
            return
        if resume:
            check_same(path, settings)
        elif not overwrite:
            raise ConfigError(
                f"expected an empty folder, {path} holds files; --resume goes on where an earlier run "
                f"stopped, "
                "--overwrite starts again, another --out keeps both"
            )


def check_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Compares settings with those of the run that left its journal in a folder.

    Raises:
        ConfigError: there is no journal, or one of `settings` was another.
    """
    journal = path / JOURNAL
    if not journal.is_file():
        raise ConfigError(f"--resume: {path} holds files, but no {JOURNAL} of an earlier run")
    with journal.open(encoding="utf-8") as lines:
        earlier = parsed(next(lines, "")).get("settings", {})
    changed = [
        f"{key}: {earlier.get(key)!r} then, {value!r} now"
        for key, value in json.loads(json.dumps(settings)).items()
        if earlier.get(key) != value
    ]
    if changed:
        raise ConfigError(
            f"--resume: {path} was made with other settings ({'; '.join(changed)[:300]}); "
            "--overwrite starts again"
        )


def parsed(line: str) -> dict[str, Any]:
    """One line of the journal, {} where it broke off."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says of what the system refuses that it was about `path`."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error}; make room, or name another folder with --out"
        raise OvsegError(f"cannot write to {path}: {reason}") from error


def _is_used(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or any(path.iterdir()))
