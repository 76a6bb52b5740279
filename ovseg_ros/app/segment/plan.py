"""Which files the inputs of `ovseg segment` stand for, and what their outputs are called."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any

from ovseg_ros.app.segment.folder import FOLDERS, JOURNAL
from ovseg_ros.app.segment.inputs import InputOptions, Picture, Recording, Source, Video, readable
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import IMAGE_SUFFIXES
from ovseg_ros.files.recordings import is_recording, refusal

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".ogv", ".3gp"}
)
MAX_NAME_BYTES = 180
"""Longest part of an output's name; file systems allow 255 with suffix and all."""


def plan_inputs(inputs: Iterable[str], options: InputOptions) -> tuple[list[Source], list[tuple[str, str]]]:
    """Finds out what each input is and names its outputs.

    Returns:
        The sources in the order given, and (input, reason) for each that cannot be used.
    """
    sources: list[Source] = []
    failures: list[tuple[str, str]] = []
    names = _Names()
    for text in inputs:
        path = Path(text).expanduser()
        try:
            for kind, file, below in _files(path, options):
                moves = kind is not Picture
                more: dict[str, Any] = {} if moves else {"below": below}
                stem = below.name if file.is_dir() else below.with_suffix("").as_posix()
                source = kind(file, "", options, **more)
                source.name = names.take(stem, folder=moves)
                sources.append(source)
        except InvalidInputError as error:
            failures.append((readable(path), str(error)))
        except OSError as error:  # no permission, a name that is too long
            failures.append((readable(path), f"cannot be read: {error.strerror or error}"))
    return sources, failures


def _files(path: Path, options: InputOptions) -> Iterator[tuple[type[Source], Path, Path]]:
    """(kind, file, its path below the folder it was found in) of each file that one input stands for."""
    suffix = path.suffix.lower()
    if not path.exists():
        raise InvalidInputError(f"expected a picture, a folder, a video or a recording, {path} is not there")
    if path.is_file() and (said := refusal(path)):
        raise InvalidInputError(said)
    if is_recording(path):
        yield Recording, path, Path(path.resolve().name if path.is_dir() else path.name)
    elif path.is_dir():
        yield from ((Picture, file, file.relative_to(path)) for file in _pictures_in(path, options))
    elif suffix in VIDEO_SUFFIXES:
        yield Video, path, Path(path.name)
    else:
        yield Picture, path, Path(path.name)


def _pictures_in(folder: Path, options: InputOptions) -> list[Path]:
    """Pictures in a folder, in order of their names; hidden ones, depth and earlier outputs left out."""
    left_out = {os.path.realpath(f) for f in (*options.leave_out, options.depth or os.devnull)}
    found, others = [], []
    for at, folders, files in os.walk(folder):
        here = Path(at)
        made = FOLDERS if (here / JOURNAL).is_file() else ()  # by an earlier run
        keep = [name for name in folders if not name.startswith(".") and name not in made]
        folders[:] = [f for f in keep if options.recursive and os.path.realpath(here / f) not in left_out]
        if os.path.realpath(here) not in left_out:  # which loops of links do not make raise
            for name in files:
                if not name.startswith("."):
                    (found if Path(name).suffix.lower() in IMAGE_SUFFIXES else others).append(here / name)
    found = sorted(file for file in found if os.path.realpath(file) not in left_out)
    if not found:
        hint = "" if options.recursive else ", without its folders (--recursive looks there too)"
        inside = [entry.name for entry in sorted(folder.iterdir()) if entry.is_dir() and is_recording(entry)]
        if inside:
            hint = f"; {', '.join(inside)} in it holds a recording: give that"
        kinds = sorted({file.suffix.lower() or file.name for file in others})[:5]
        there = f"; there is {', '.join(kinds)}, which are no pictures that are read" if kinds else ""
        raise InvalidInputError(f"there is no picture in the folder {folder}{hint}{there}")
    return found


class _Names:
    """Gives every source a name of its own, also where file systems take A for a."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._videos: set[str] = set()  # their frames' folder, which is theirs alone
        self._tops: set[str] = set()  # first folder of pictures

    def take(self, wanted: str, *, folder: bool) -> str:
        """`wanted`, made safe, with _2, _3 … behind it where another source has it."""
        parts = [_safe(part) for part in PurePath(wanted).parts if part not in ("/", "..", ".")] or ["input"]
        if not folder and len(parts) > 1:
            parts[0] = _numbered(parts[0], lambda top: top.casefold() not in self._videos)
            self._tops.add(parts[0].casefold())
        name = _numbered("/".join(parts), lambda name: self._is_free(name.casefold(), folder))
        self._taken.add(name.casefold())
        if folder:
            self._videos.add(name.casefold())
        return name

    def _is_free(self, key: str, folder: bool) -> bool:
        return key not in self._taken and not (folder and key in self._tops)


def _numbered(wanted: str, is_free: Callable[[str], bool]) -> str:
    """`wanted`, or the first of wanted_2, wanted_3 … that is free."""
    name, number = wanted, 1
    while not is_free(name):
        number += 1
        name = f"{wanted}_{number}"
    return name


def _safe(part: str) -> str:
    """A part of a path that is UTF-8 and short enough."""
    text = readable(part).replace("\\", "_")
    encoded = text.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return text
    tail = hashlib.sha256(encoded).hexdigest()[:8]
    return encoded[: MAX_NAME_BYTES - 9].decode(errors="ignore") + "_" + tail
