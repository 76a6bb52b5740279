"""Entries and examples as rows of the tables, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Entry, Example, Name

_OF_EXAMPLES = ("palette", "others", "other_palettes")
REST_BYTES = 500
"""Of an entry besides vectors and picture: its row, words and places in indexes, roughly."""


def entry_row(entry: Entry, robot: str) -> dict[str, Any]:
    """A row of `ENTRIES` without id, revision and the picture's bytes.

    Raises:
        InvalidInputError: a text that no database takes.
    """
    x, y, z = map(float, entry.position)
    row = {
        "key": entry.key,
        "robot": entry.robot or robot,
        "frame_id": entry.frame_id,
        "x": x,
        "y": y,
        "z": z,
        "covariance": _doubles(entry.covariance),
        "size": _doubles(entry.size),
        "orientation": _doubles(entry.orientation),
        "space": entry.space,
        "first_seen": float(entry.first_seen),
        "last_seen": float(entry.last_seen),
        "times_seen": int(entry.times_seen),
        "times_looked": int(entry.times_looked),
        "times_missed": int(entry.times_missed),
        "gone_since": None if entry.gone_since is None else float(entry.gone_since),
        "clarity": float(entry.clarity),
        "bytes": REST_BYTES + 2 * (entry.embedding.size + entry.views.size + entry.surface.size),
    }
    if not entry.key:
        raise InvalidInputError("expected a key, got an entry without one")
    for text in (entry.key, row["robot"], entry.frame_id, entry.space, *entry.words):
        check_text(text)
    return row


def vectors_row(entry: Entry) -> dict[str, Any]:
    """A row of `VECTORS` without id."""
    return {
        "dims": len(entry.embedding),
        "embedding": pack(entry.embedding),
        "views": pack(entry.views),
        "surface": pack(entry.surface),
    }


def word_rows(entry: Entry, number: int) -> list[dict[str, Any]]:
    """Rows of `WORDS`."""
    return [
        {"id": number, "word": word, "score": float(name.score), "times": int(name.times)}
        for word, name in entry.words.items()
    ]


def entry_of(row: Any, words: Mapping[str, Name], crop: bytes | None) -> Entry:
    """The entry of a row that joins `ENTRIES` and `VECTORS`."""
    return Entry(
        key=row.key,
        robot=row.robot,
        frame_id=row.frame_id,
        position=np.array([row.x, row.y, row.z]),
        covariance=np.frombuffer(row.covariance, "<f8").reshape(3, 3),
        size=np.frombuffer(row.size, "<f8"),
        orientation=np.frombuffer(row.orientation, "<f8"),
        space=row.space,
        embedding=unpack(row.embedding, row.dims)[0],
        views=unpack(row.views, row.dims),
        surface=unpack(row.surface, 3),
        words=words,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        times_seen=row.times_seen,
        times_looked=row.times_looked,
        times_missed=row.times_missed,
        gone_since=row.gone_since,
        crop=crop,
        revision=row.revision,
        clarity=row.clarity,
    )


def example_row(example: Example) -> dict[str, Any]:
    """A row of `EXAMPLES` without id and picture.

    Raises:
        InvalidInputError: a text that no database takes, or no name.
    """
    if not example.name:
        raise InvalidInputError('expected a name ("my mug"), got none')
    for text in (example.name, example.space, example.key):
        check_text(text)
    return {
        "name": example.name,
        "space": example.space,
        "embedding": pack(example.embedding),
        "shown": float(example.shown),
        "key": example.key,
        "size_m": None if example.size_m is None else float(example.size_m),
    } | {name: _packed(getattr(example, name)) for name in _OF_EXAMPLES}


def example_of(row: Any) -> Example:
    """The example of a row of `EXAMPLES`."""
    vector = np.frombuffer(row.embedding, "<f2").astype(np.float32)
    colours = None if row.palette is None else np.frombuffer(row.palette, "<f2").astype(np.float32)
    return Example(
        row.name,
        row.space,
        vector,
        row.shown,
        row.jpeg,
        row.key,
        palette=colours,
        size_m=row.size_m,
        others=_unpacked(row.others, len(vector)),
        other_palettes=_unpacked(row.other_palettes, 0 if colours is None else len(colours)),
    )


def _packed(vectors: npt.ArrayLike | None) -> bytes | None:
    return None if vectors is None else pack(vectors)


def _unpacked(data: bytes | None, dims: int) -> npt.NDArray[np.float32] | None:
    return None if data is None or not dims else unpack(data, dims)


def pack(vectors: npt.ArrayLike) -> bytes:
    """float16: a cosine of unit vectors changes by some 1e-4 at most, and files have half the size.

    Raises:
        InvalidInputError: numbers that float16 cannot hold.
    """
    with np.errstate(over="ignore"):
        halves = np.asarray(vectors, "<f2")
    if not np.isfinite(halves).all():
        raise InvalidInputError("expected embeddings of unit length, got numbers above 65504 or not finite")
    return halves.tobytes()


def unpack(data: bytes, dims: int) -> npt.NDArray[np.float32]:
    """(V, D) float32."""
    return np.frombuffer(data, "<f2").astype(np.float32).reshape(-1, dims)


def check_text(text: str) -> None:
    """Raises InvalidInputError for what PostgreSQL or UTF-8 has no place for."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise InvalidInputError(f"expected text without NUL and lone surrogates, got {text!r}")


def _doubles(values: npt.ArrayLike) -> bytes:
    return np.asarray(values, "<f8").tobytes()
