"""What is a caption, what is the name of an image, and how those of one file come together.

A caption is text or nothing: what tables and JSON hold for a missing one (NaN, null, "n/a"), numbers, and
anything else without a letter is counted, said once, and left out.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ovseg_ros.files.pictures import IMAGE_SUFFIXES

FILE_KEYS = (
    *("filename", "image", "file", "path", "imagename", "imagefile", "imagefilename", "imagepath"),
    *("filepath", "img", "imgname", "imgfile", "imgpath", "images", "picture", "photo", "name"),
    *("imageid", "imgid", "id"),
)
"""What columns and keys with the name of an image are called, without case and signs; the first is taken."""

CAPTION_KEYS = (
    *("captions", "caption", "text", "sentences", "sentence", "comments", "comment", "descriptions"),
    *("description", "raw", "imagecaption", "captiontext", "alttext", "title"),
)
"""The same for captions."""

WANTED = "a file name (file_name, image, file, path, …) and a caption (caption, text, comment, raw, …)"

_NO_TEXT = "{count} captions in {file} are no text, the first is {what} in {where}: counted as no caption"
_NOTHING = frozenset({"nan", "null", "none", "n/a", "na", "<na>", "nat", "inf", "-inf"})
_NUMBERED = re.compile(r"(.+\.[A-Za-z0-9]{2,5})#\d+")  # Flickr8k's tokens: 1000268201.jpg#0
_SHOWN = 40


class Found:
    """The captions of one file by image, and what was left out of it."""

    def __init__(self, path: Path, remarks: list[str]) -> None:
        """`path` is for messages; `remarks` gets them when `finish` is called."""
        self.path = path
        self.captions: dict[str, list[str]] = {}
        self._remarks = remarks
        self._left_out: dict[str, tuple[int, str, str]] = {}

    def add(self, name: str, value: object, where: str) -> None:
        """What an entry says of an image: one caption or a list of them; `where` it stands."""
        captions = self.captions.setdefault(name, [])
        for one in _parts(value):
            text = caption_in(one)
            if text is None:
                self.leave_out(_NO_TEXT, where, shown(one))
            else:
                captions.append(text)

    def leave_out(self, why: str, where: str = "", what: str = "") -> None:
        """Counts what cannot be used; `why` has places for {count}, {file}, and {where} and {what} first."""
        count, *first = self._left_out.get(why, (0, where, what))
        self._left_out[why] = (count + 1, first[0], first[1])

    def finish(self) -> dict[str, list[str]]:
        """The captions by image; says what was left out, once for each reason."""
        for why, (count, where, what) in self._left_out.items():
            self._remarks.append(why.format(count=count, file=self.path.name, where=where, what=what))
        return self.captions


def caption_in(value: object) -> str | None:
    """A caption, None where there is none.

    Examples:
        >>> caption_in(" A mug. "), caption_in(float("nan")), caption_in("NaN"), caption_in("0 0.5 0.5")
        ('A mug.', None, None, None)
    """
    if not isinstance(value, str):
        return None
    text = clean(value)
    named = any(map(str.isalpha, text)) and text.casefold() not in _NOTHING
    return text if named and not _is_number(text) else None


def name_in(value: object) -> str | None:
    """The name of an image file, None where there is none; numbers are names without a suffix."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:d}" if abs(value) < 10**30 else None
    text = clean(value) if isinstance(value, str) else ""
    numbered = _NUMBERED.fullmatch(text)
    return (numbered[1] if numbered else text) or None


def is_image(text: object) -> bool:
    """Whether a text is the name of an image file, by its suffix."""
    return PurePosixPath((name_in(text) or "").lower()).suffix in IMAGE_SUFFIXES


def key_of(text: object) -> str:
    """A column's or key's name without case, blanks and signs: "File Name", "file_name" and "fileName"."""
    return re.sub(r"[\W_]+", "", str(text)).lower()


def first_of(keys: Iterable[str], entry: Mapping[str, Any]) -> str | None:
    """The first of `keys` that is in an entry."""
    return next((key for key in keys if key in entry), None)


def clean(text: str) -> str:
    """Without blanks around it, zeros and halves of characters: none of these can be written to a file."""
    return text.replace("\0", "").encode("utf-8", "replace").decode().strip()


def shown(value: object) -> str:
    """A value for a message, short; nothing of it is walked through."""
    if isinstance(value, list | Mapping):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value[: 2 * _SHOWN]) if isinstance(value, str) else f"{value!r:.80}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _parts(value: object) -> list[object]:
    """The captions in an entry's value: those of a list, also one written as text; a mapping's `raw`."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _written_list(value)
    items = value if isinstance(value, list) else [value]
    return [_unwrapped(item) for item in items]


def _written_list(text: str) -> object:
    """A list as JSON or as Python prints it; other text as it is."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _unwrapped(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    entry = {key_of(key): inner for key, inner in value.items()}
    return entry.get(first_of(("raw", *CAPTION_KEYS), entry) or "", value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
