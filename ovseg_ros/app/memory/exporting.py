"""Memory as files for other programs: all of it as JSON, a table as CSV. See docs/memory.md."""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import json
import os
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry, Example

FORMAT, VERSION = "ovseg-memory", 1
"""Of the JSON: a reader refuses other versions; fields may be added without a new one."""
ENDINGS = (".json", ".csv")
CSV_COLUMNS = (
    *("key", "name", "names", "robot", "frame_id"),
    *("x", "y", "z", "sd_x", "sd_y", "sd_z"),
    *("size_x", "size_y", "size_z", "qx", "qy", "qz", "qw"),
    *("first_seen", "last_seen", "times_seen", "times_looked", "times_missed", "gone_since"),
)


def entry_json(entry: Entry, *, vectors: bool = False) -> dict[str, Any]:
    """An entry for `json.dumps`; with `vectors` all of it, else without embeddings, surface and picture."""
    given: dict[str, Any] = {
        "key": entry.key,
        "name": entry.name,
        "words": {word: {"score": one.score, "times": one.times} for word, one in entry.words.items()},
        "robot": entry.robot,
        "frame_id": entry.frame_id,
        "position": entry.position.tolist(),
        "covariance": entry.covariance.tolist(),
        "size": entry.size.tolist(),
        "orientation": entry.orientation.tolist(),
        "first_seen": entry.first_seen,
        "last_seen": entry.last_seen,
        "times_seen": entry.times_seen,
        "times_looked": entry.times_looked,
        "times_missed": entry.times_missed,
        "gone_since": entry.gone_since,
        "space": entry.space,
    }
    if vectors:
        given |= {name: _numbers(getattr(entry, name)) for name in ("embedding", "views", "surface")}
        given |= {"crop": _picture(entry.crop), "clarity": entry.clarity}
    return given


def export_json(entries: Sequence[Entry], examples: Sequence[Example], now_s: float) -> str:
    """All of entries and examples, an entry a line."""
    head = json.dumps({"format": FORMAT, "version": VERSION, "exported": now_s})[:-1]
    lists = {
        "entries": [entry_json(entry, vectors=True) for entry in entries],
        "examples": [_example_json(example) for example in examples],
    }
    parts = [
        f'"{name}": [\n' + ",\n".join(json.dumps(one, ensure_ascii=False) for one in rows) + "\n]"
        for name, rows in lists.items()
    ]
    return ",\n".join([head, *parts]) + "}\n"


def export_csv(entries: Sequence[Entry]) -> str:
    """A table with a line for each entry, times in UTC; without vectors and pictures."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for entry in entries:
        words = sorted(entry.words.items(), key=lambda item: -item[1].times)
        writer.writerow(
            [
                *(entry.key, entry.name, "; ".join(f"{word}: {one.times}" for word, one in words)),
                *(entry.robot, entry.frame_id),
                *(f"{value:.4f}" for value in entry.position),
                *(f"{value:.4f}" for value in np.sqrt(entry.covariance.diagonal())),
                *(f"{value:.4f}" for value in entry.size),
                *(f"{value:.6f}" for value in entry.orientation),
                *(_utc(entry.first_seen), _utc(entry.last_seen)),
                *(entry.times_seen, entry.times_looked, entry.times_missed),
                "" if entry.gone_since is None else _utc(entry.gone_since),
            ]
        )
    return text.getvalue()


def write_file(path: Path, content: bytes) -> None:
    """Writes a file that has its name only once it is whole, for this user's eyes alone.

    Raises:
        ConfigError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise ConfigError(f"cannot write {path} ({error.strerror}): name another file") from error


def _example_json(example: Example) -> dict[str, Any]:
    return {
        "name": example.name,
        "key": example.key,
        "shown": example.shown,
        "space": example.space,
        "embedding": _numbers(example.embedding),
        "palette": None if example.palette is None else _numbers(example.palette),
        "size_m": example.size_m,
        "others": None if example.others is None else [_numbers(row) for row in example.others],
        "other_palettes": (
            None if example.other_palettes is None else [_numbers(row) for row in example.other_palettes]
        ),
        "crop": _picture(example.crop),
    }


def _numbers(vectors: npt.NDArray[np.float32]) -> list[Any]:
    """Kept in 16 bits: so few digits as say which of these numbers it is."""
    values: list[Any] = _shortest()[vectors.astype(np.float16).view(np.uint16)].tolist()
    return values


@lru_cache(maxsize=1)
def _shortest() -> npt.NDArray[np.float64]:
    """Of each of the 65536 numbers of 16 bits the one of fewest digits that is read back as it."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(str).astype(np.float64)


def _picture(jpeg: bytes | None) -> str | None:
    return None if jpeg is None else base64.b64encode(jpeg).decode("ascii")


def _utc(seconds: float) -> str:
    return (
        datetime.fromtimestamp(seconds, timezone.utc)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
