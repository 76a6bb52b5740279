"""Text and JSON as people's machines write them, or an error that names file, line and cure.

Text that a user may have written comes in by `read_text`, `read_json` or `yaml_texts.read_yaml`, always.
Text is UTF-8 with or without its mark, UTF-16 ("Unicode" to Excel and PowerShell) or UTF-32.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ovseg_ros.errors import InvalidInputError, OvsegError

MAX_BYTES = 2 << 30
"""Longest text: twice the instances of LVIS."""

Refuse = Callable[[str], OvsegError]
"""Makes the error for a message: one of `errors`, or a function that adds a cure."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins with the mark of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHUNK = 1 << 20
_LINE = re.compile(r"\r\n|\n|\r")


def read_text(
    path: Path,
    *,
    refuse: Refuse = InvalidInputError,
    max_bytes: int = MAX_BYTES,
    remarks: list[str] | None = None,
) -> str:
    """The text of a file; see `decoded`.

    Raises:
        refuse: not there, no file, larger than `max_bytes`, or no text.
    """
    return decoded(read_bytes(path, refuse=refuse, max_bytes=max_bytes), path, refuse=refuse, remarks=remarks)


def read_json(path: Path, *, refuse: Refuse = InvalidInputError) -> Any:
    """The content of a JSON file; NaN and infinity pass, as Python writes them.

    Raises:
        refuse: see `read_text`; or it is not JSON.
    """
    return parse_json(read_text(path, refuse=refuse), path, refuse=refuse)


def read_bytes(path: Path, *, refuse: Refuse = InvalidInputError, max_bytes: int = MAX_BYTES) -> bytes:
    """What is in a file; a pipe will do, a device that never ends will not.

    Raises:
        refuse: not there, no file, or larger than `max_bytes`.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            endless = stat.S_ISCHR(mode) or stat.S_ISBLK(mode)
            data = b"" if endless else b"".join(_chunks(file, max_bytes))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise refuse(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if endless:
        raise refuse(f"{path} is a device, expected a file")
    if len(data) > max_bytes:
        raise refuse(f"{path} has more than {max_bytes} bytes, expected a text of at most these")
    return data


def decoded(
    data: bytes, where: object, *, refuse: Refuse = InvalidInputError, remarks: list[str] | None = None
) -> str:
    """Bytes as text, without the mark in front.

    Args:
        data: the bytes.
        where: they come from, for messages.
        refuse: makes the error.
        remarks: where it is given, lines that are not UTF-8 are read as Windows-1252 (Latin-1), and that is
            told here; None refuses them.

    Raises:
        refuse: no text in an encoding above.
    """
    encoding, body = _encoding_of(data)
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(encoding, "ignore").count("\n") + 1
        if remarks is None or encoding != "utf-8" or b"\0" in body:
            raise refuse(
                f"{where} is not text in UTF-8, it has other bytes in line {line}; save it as UTF-8"
            ) from error
    lines = [(part, _utf8(part)) for part in body.split(b"\n")]
    strange = sum(text is None for _, text in lines)
    remarks.append(
        f"{strange} lines of {_name(where)} are not UTF-8, the first is line {line}: read as Windows-1252 "
        "(Latin-1); where letters come out wrong, save the file as UTF-8"
    )
    return "\n".join(_windows(part) if text is None else text for part, text in lines)


def lines_of(text: str) -> list[str]:
    """The lines of a text; unlike in `str.splitlines` U+2028 and U+0085, which captions hold, end none."""
    lines = _LINE.split(text)
    return lines if lines[-1] else lines[:-1]


def parse_json(text: str, where: object, *, refuse: Refuse = InvalidInputError) -> Any:
    """The content of a JSON text; `where` it comes from is for messages.

    Raises:
        refuse: it is not JSON, or nests too deeply.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise refuse(f"{where} is not JSON: {error}") from error
    except RecursionError as error:
        raise refuse(f"{where} is not JSON to go by: it nests too deeply") from error


def _chunks(file: BinaryIO, enough: int) -> Iterator[bytes]:
    """A file piece by piece until it ends or there are more than `enough` bytes."""
    while enough >= 0 and (part := file.read(_CHUNK)):
        enough -= len(part)
        yield part


def _encoding_of(data: bytes) -> tuple[str, bytes]:
    """The encoding that the mark in front says, or that zeros in every second byte show; UTF-8 else."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, data[len(mark) :]
    sample = data[:4096] if len(data) % 2 == 0 else b""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) > 0.7 * len(sample) / 2 and min(even, odd) < 0.1 * len(sample) / 2:
        return ("utf-16-le" if odd > even else "utf-16-be"), data
    return "utf-8", data


def _utf8(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _windows(line: bytes) -> str:
    """Windows-1252, which has no letter for five bytes: those as in Latin-1."""
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _name(where: object) -> object:
    return where.name if isinstance(where, Path) else where
