"""Images with captions, one at a time, from the forms in which people keep them.

| form | what it is |
|---|---|
| COCO captions | `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}` |
| JSON lines | `{"file_name": …, "caption": …}` or `"captions": […]` per line |
| CSV, TSV | a header with `file_name` (or `image`, `file`) and `caption` (or `text`); a row per caption |
| text files | NAME.txt beside each image NAME.jpg, a caption per line |

Recordings come as an iterator from the caller. Files are read by a function that the caller gives.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError

LoadFrame = Callable[[Path], Frame]
"""Reads an image file, with its depth and camera where there are some; raises InvalidInputError."""

_FILE_COLUMNS = ("file_name", "filename", "image", "file", "path")
_CAPTION_COLUMNS = ("caption", "text", "sentence", "comment")
_TABLES = ("captions.json", "captions.jsonl", "captions.csv", "captions.tsv")
_LONGEST_ID = 120
_LONGEST_FIELD = 1 << 20


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
        captions: file name -> its captions, in order.
        load_frame: reads a file.
        about: goes into `describe`.
        remarks: what people should know of the captions themselves.
    """

    folder: Path
    captions: Mapping[str, tuple[str, ...]]
    load_frame: LoadFrame
    about: Mapping[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

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
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise InvalidInputError(f"want an image below {self.folder}, got {name}")
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
        captions: a file of a form in the module's table, or a folder of NAME.txt; None looks in `folder` for
            captions.json, .jsonl, .csv or .tsv, then for NAME.txt.
        load_frame: reads an image file.
        suffixes: of image files, lower case, with the dot; for NAME.txt.
        per_image: at most so many captions of each image, the first ones; None: all.

    Raises:
        InvalidInputError: no folder, no captions, or a file that cannot be read or is of another form.
    """
    if not folder.is_dir():
        raise InvalidInputError(
            f"want a folder of images, {folder} is {'a file' if folder.exists() else 'not there'}"
        )
    if captions is None:
        captions = next((folder / name for name in _TABLES if (folder / name).is_file()), folder)
    remarks: list[str] = []
    if captions.is_dir():
        found = _sidecars(folder, captions, frozenset(suffixes), remarks)
    elif captions.suffix.lower() in _READERS:
        found = _READERS[captions.suffix.lower()](captions, remarks)
    else:
        raise InvalidInputError(
            f"want captions as .json (COCO), .jsonl, .csv, .tsv or a folder of .txt files, got {captions}"
        )
    if not found:
        raise InvalidInputError(f"want images with captions, {captions} names none")
    chosen = {name: tuple(texts if per_image is None else texts[:per_image]) for name, texts in found.items()}
    return CaptionedFiles(
        folder, chosen, load_frame, {"images_in": folder.name, "captions": captions.name}, remarks
    )


def safe_id(name: str, *, always_hash: bool = False) -> str:
    """An id for a file name: its path without the suffix, with a hash where characters had to go.

    Example:
        >>> safe_id("000000000139.jpg"), safe_id("kitchen/day 1/a.b.png")
        ('000000000139', 'kitchen_day_1_a_b-a802c7d0')
    """
    stem = str(PurePosixPath(name).with_suffix("")) if PurePosixPath(name).suffix else name
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", stem)[:_LONGEST_ID]
    if safe == stem and not always_hash:
        return safe
    return f"{safe}-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}"


def _coco(path: Path, remarks: list[str]) -> dict[str, list[str]]:
    content = _json(path)
    try:
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        found: dict[str, list[str]] = {name: [] for name in files.values()}
        unknown = 0
        for annotation in content["annotations"]:
            name = files.get(annotation["image_id"])
            if name is None:
                unknown += 1
            else:
                found[name].append(str(annotation["caption"]))
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            f"want COCO captions in {path}: images with id and file_name, annotations with image_id and "
            f"caption; got {error!r}"
        ) from error
    if unknown:
        remarks.append(f"{unknown} captions in {path.name} are of images it does not list: left out")
    if len(found) < len(files):
        remarks.append(
            f"{len(files) - len(found)} images in {path.name} have the file name of another: one each"
        )
    return found


def _json_lines(path: Path, remarks: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    damaged = 0
    for line in _text(path).splitlines():
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name = next(str(entry[key]) for key in _FILE_COLUMNS if key in entry)
            texts = entry.get("captions", next((entry[k] for k in _CAPTION_COLUMNS if k in entry), []))
        except (ValueError, TypeError, AttributeError, StopIteration):
            damaged += 1
            continue
        found.setdefault(name, []).extend([texts] if isinstance(texts, str) else map(str, texts or ()))
    if damaged:
        remarks.append(f"{damaged} lines of {path.name} are no JSON with a file name and a caption: left out")
    return found


def _table(path: Path, remarks: list[str]) -> dict[str, list[str]]:
    csv.field_size_limit(_LONGEST_FIELD)
    lines = _text(path).splitlines(keepends=True)
    rows = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    header = [cell.strip().lower() for cell in next(rows, [])]
    file_column = next((header.index(name) for name in _FILE_COLUMNS if name in header), None)
    caption_column = next((header.index(name) for name in _CAPTION_COLUMNS if name in header), None)
    if file_column is None or caption_column is None:
        raise InvalidInputError(
            f"want a header with {' or '.join(_FILE_COLUMNS)} and {' or '.join(_CAPTION_COLUMNS)} in {path}, "
            f"got {header}"
        )
    found: dict[str, list[str]] = {}
    short = 0
    for row in rows:
        if len(row) > max(file_column, caption_column):
            found.setdefault(row[file_column].strip(), []).append(row[caption_column])
        else:
            short += bool(row)
    if short:
        remarks.append(f"{short} rows of {path.name} have too few columns: left out")
    return found


def _sidecars(
    images: Path, texts: Path, suffixes: frozenset[str], remarks: list[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for image in sorted(images.rglob("*")):
        if image.suffix.lower() not in suffixes or image.name.startswith(".") or not image.is_file():
            continue
        name = image.relative_to(images)
        text = (texts / name).with_suffix(".txt")
        found[name.as_posix()] = _caption_lines(text, remarks) if text.is_file() else []
    if found and not any(found.values()):
        raise InvalidInputError(f"want NAME.txt with a caption for the images in {images}, {texts} has none")
    return found


def _caption_lines(path: Path, remarks: list[str]) -> list[str]:
    try:
        return [line.strip() for line in _text(path).splitlines() if line.strip()]
    except InvalidInputError as error:
        remarks.append(str(error))
        return []


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise InvalidInputError(f"{path} is no JSON: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InvalidInputError(f"the captions {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"want captions as UTF-8, {path} is not: {error}") from error


_READERS: dict[str, Callable[[Path, list[str]], dict[str, list[str]]]] = {
    ".json": _coco,
    ".jsonl": _json_lines,
    ".csv": _table,
    ".tsv": _table,
}
