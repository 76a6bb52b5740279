"""Images with captions, one at a time, from the forms in which people keep them.

Files of captions are read by `caption_files` and `caption_tables`, and the names in them led to files by
`files.names`. Recordings come as an iterator from the caller. A function of the caller's reads images.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames
from ovseg_ros.learn.pairs.caption_files import LINES, read_json_captions, read_sidecars
from ovseg_ros.learn.pairs.caption_tables import read_table

LoadFrame = Callable[[Path], Frame]
"""Reads an image file, with its depth and camera where there are some; raises InvalidInputError."""

_TABLES = ("captions.json", "captions.jsonl", "captions.csv", "captions.tsv")
_READERS: dict[str, Callable[[Path, list[str]], dict[str, list[str]]]] = {
    **dict.fromkeys((".json", *LINES), read_json_captions),
    **dict.fromkeys((".csv", ".tsv", ".txt", ".psv", ".token"), read_table),
}
_LONGEST_ID = 120


@dataclass(frozen=True)
class CaptionedImage:
    """One image that is said to show something.

    Attributes:
        id: unique, of letters, digits, "-" and "_": the stem of its pairs.
        captions: what is said, in order, possibly nothing.
        source: where it comes from, JSON; goes into each pair.
        load: reads it; raises InvalidInputError.
    """

    id: str
    captions: tuple[str, ...]
    source: Mapping[str, Any]
    load: Callable[[], Frame]


class CaptionSource(Protocol):
    """Images with captions, in the same order each time."""

    def __len__(self) -> int:
        """How many there are, about."""
        ...

    def __iter__(self) -> Iterator[CaptionedImage]:
        """One after the other; none is kept."""
        ...

    def describe(self) -> dict[str, Any]:
        """What goes into the manifest, and what a resumed run must share: JSON."""
        ...


@dataclass
class CaptionedFiles:
    """Image files below a folder.

    Attributes:
        folder: where the file names start.
        captions: file name -> its captions, in order; the name of the file itself where there is one.
        load_frame: reads a file.
        about: goes into `describe`.
        remarks: what people should know of the captions themselves.
    """

    folder: Path
    captions: Mapping[str, tuple[str, ...]]
    load_frame: LoadFrame
    about: Mapping[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    names: FileNames | None = None

    def __len__(self) -> int:
        return len(self.captions)

    def __iter__(self) -> Iterator[CaptionedImage]:
        taken: set[str] = set()
        for name, captions in self.captions.items():
            chosen = safe_id(name)
            if chosen in taken:  # a.jpg and a.png
                chosen = safe_id(name, always_hash=True)
            taken.add(chosen)
            yield CaptionedImage(chosen, captions, {"file": name}, lambda name=name: self._load(name))

    def describe(self) -> dict[str, Any]:
        """How many images, and a hash of all names and captions."""
        digest = hashlib.sha256()
        for name, captions in self.captions.items():
            digest.update(json.dumps([name, *captions]).encode())
        return {**self.about, "images": len(self), "captions_sha256": digest.hexdigest()}

    def _load(self, name: str) -> Frame:
        path = (self.names or FileNames(self.folder)).find(name, what="image")
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InvalidInputError(f"expected an image below {self.folder}, got {name}")
        return self.load_frame(path)


def open_captions(
    folder: Path,
    captions: Path | None,
    load_frame: LoadFrame,
    *,
    suffixes: Iterable[str],
    per_image: int | None = None,
) -> CaptionedFiles:
    """The images of a folder with their captions.

    Args:
        folder: of the images.
        captions: a file of a form that docs/pairs.md lists, or a folder of NAME.txt; None looks in `folder`
            for captions.json, .jsonl, .csv or .tsv, then for NAME.txt.
        load_frame: reads an image file.
        suffixes: of image files, lower case, with the dot; for NAME.txt.
        per_image: at most so many captions of each image, the first ones; None: all.

    Raises:
        InvalidInputError: no folder, no captions, or a file that cannot be read or is of another form.
    """
    if not folder.is_dir():
        raise InvalidInputError(
            f"expected a folder of images, {folder} is {'a file' if folder.exists() else 'not there'}"
        )
    if captions is None:
        captions = next((folder / name for name in _TABLES if (folder / name).is_file()), folder)
    remarks: list[str] = []
    if captions.is_dir():
        found = read_sidecars(folder, captions, frozenset(suffixes), remarks)
    elif (read := _READERS.get(captions.suffix.lower())) is not None:
        found = read(captions, remarks)
    else:
        raise InvalidInputError(
            f"expected captions as .json, .jsonl, .csv, .tsv, .txt or a folder of .txt files, got {captions}"
        )
    names = FileNames(folder)
    merged: dict[str, list[str]] = {}
    for name, texts in found.items():
        merged.setdefault(_own_name(names, name, tuple(suffixes)), []).extend(texts)
    if not merged:
        raise InvalidInputError(f"expected images with captions, {captions} names none")
    about = {"images_in": folder.name, "captions": captions.name}
    chosen = {name: tuple(texts[:per_image]) for name, texts in merged.items()}
    return CaptionedFiles(folder, chosen, load_frame, about, remarks, names)


def _own_name(names: FileNames, name: str, suffixes: tuple[str, ...]) -> str:
    """The name that the file itself has, below the folder; the given one where there is no such file."""
    try:
        return names.find(name, suffixes).relative_to(names.folder).as_posix()
    except InvalidInputError:
        return name


def safe_id(name: str, *, always_hash: bool = False) -> str:
    """An id for a file name: its path without the suffix, with a hash where characters had to go.

    Examples:
        >>> safe_id("000000000139.jpg"), safe_id("kitchen/day 1/a.b.png")
        ('000000000139', 'kitchen_day_1_a_b-a802c7d0')
    """
    stem = str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).suffix else name
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:_LONGEST_ID]
    if safe == stem and not always_hash:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"
