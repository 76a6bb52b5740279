"""Captions out of tables: lines with commas, semicolons, tabs or upright strokes between their columns.

Tables are read row by row, so that one broken row costs that row. `csv` by itself takes a quotation mark that
never closes as one text to the end of the file, and a comma in a text without marks as the text's end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.texts import lines_of, read_text
from ovseg_ros.learn.pairs.caption_texts import (
    CAPTION_KEYS,
    FILE_KEYS,
    WANTED,
    Found,
    first_of,
    is_image,
    key_of,
    name_in,
)

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "upright stroke"}

LONGEST_LINE = 100_000
"""Characters; longer ones are no rows with captions."""

LONGEST_CAPTION = 20
"""Lines that a text in quotation marks may go over."""

_EXCEL = re.compile(r'"?sep=."?', re.IGNORECASE)  # a first line that tells Excel what separates the columns
_NEVER_CLOSED = (
    "{count} rows of {file} open a quotation mark that never closes, the first is {where}: left out, the "
    "others are used; a text with such a mark stands in marks itself, and its own is written twice"
)
_SHORT = "{count} rows of {file} have too few columns: left out"
_TOO_LONG = "{count} lines of {file} have more than 100000 characters, the first is {where}: left out"
_NAMELESS = "{count} rows of {file} name no image, the first is {where}: left out"
_ZEROS = "{file} has zeros between its letters, the first in {where}: left out"


@dataclass(frozen=True)
class _Form:
    """How the rows of a table are to be read.

    Attributes:
        separator: between columns.
        file: column of the image's name.
        caption: column of the caption.
        width: number of columns; a longer row has separators in its caption.
        has_header: whether the first line names the columns.
    """

    separator: str
    file: int
    caption: int
    width: int
    has_header: bool

    def parts(self, cells: Sequence[str]) -> tuple[str, str] | None:
        """The name and the caption in a row, None where it is too short."""
        row = list(cells)
        while len(row) > self.width and not row[-1].strip():
            row.pop()
        if len(row) <= max(self.file, self.caption):
            return None
        more = max(len(row) - self.width, 0)
        caption = self.separator.join(row[self.caption : self.caption + more + 1])
        return row[self.file + (more if self.file > self.caption else 0)], _without_marks(caption)


def read_table(path: Path, remarks: list[str]) -> dict[str, list[str]]:
    """The captions of a table by image; with a header, or with the names of images in the first column.

    Raises:
        InvalidInputError: not there, no text, or columns in which no names and captions can be made out; the
            message has those that were found.
    """
    text = read_text(path, remarks=remarks)
    found = Found(path, remarks)
    if "\0" in text:
        found.leave_out(_ZEROS, f"line {len(lines_of(text[: text.index(chr(0)) + 1]))}")
    lines = lines_of(text.replace("\0", ""))
    start = next((i for i, line in enumerate(lines) if line.strip()), len(lines))
    if start < len(lines) and _EXCEL.fullmatch(lines[start]):
        start += 1
    if start == len(lines):
        return {}
    form = _form(path, lines[start])
    for number, cells in _rows(lines, start + form.has_header, form, found):
        parts = form.parts(cells)
        name = None if parts is None else name_in(parts[0])
        if parts is None:
            found.leave_out(_SHORT)
        elif name is None:
            found.leave_out(_NAMELESS, f"line {number}")
        else:
            found.add(name, parts[1], f"line {number}")
    return found.finish()


def _form(path: Path, first: str) -> _Form:
    """How a table is to be read, by its first line.

    Raises:
        InvalidInputError: it is neither a header nor a row that begins with the name of an image.
    """
    tabs_first = path.suffix.lower() == ".tsv"
    seen: list[str] = []
    for separator in sorted(SEPARATORS, key=lambda one: tabs_first and one != "\t"):
        try:
            cells = _cells(first, separator)
        except (csv.Error, _OpenMarkError):
            cells = first.split(separator)
        header = {key_of(cell): i for i, cell in reversed([*enumerate(cells)])}
        file, caption = first_of(FILE_KEYS, header), first_of(CAPTION_KEYS, header)
        if file is not None and caption is not None:
            return _Form(separator, header[file], header[caption], len(cells), True)
        if len(cells) > 1 and is_image(cells[0]):
            texts = (i for i, cell in enumerate(cells) if i and any(map(str.isalpha, cell)))
            column = next(texts, len(cells) - 1)
            return _Form(separator, 0, column, column + 1, False)
        seen = max(seen, [cell.strip() for cell in cells], key=len)
    separated = ", ".join(SEPARATORS.values())
    raise InvalidInputError(
        f"expected a header with {WANTED} in {path}, or rows that begin with the name of an image, "
        f"separated by one of {separated}; got the columns {', '.join(seen)[:200]!r}"
    )


def _rows(lines: Sequence[str], at: int, form: _Form, found: Found) -> Iterator[tuple[int, Sequence[str]]]:
    """The rows from line `at` on, each with the number of its line."""
    while at < len(lines):
        line, number = lines[at], at + 1
        if len(line) > LONGEST_LINE:
            found.leave_out(_TOO_LONG, f"line {number}")
        elif line.strip():
            cells, used = _row(lines, at, form)
            at += used - 1
            if cells is None:
                found.leave_out(_NEVER_CLOSED, f"line {number}")
            else:
                yield number, cells
        at += 1


def _row(lines: Sequence[str], at: int, form: _Form) -> tuple[Sequence[str] | None, int]:
    """The cells of the row that begins in line `at`, and its number of lines; None: a mark never closes."""
    if '"' not in lines[at]:
        return lines[at].split(form.separator), 1
    block = ""
    for used, line in enumerate(lines[at : at + LONGEST_CAPTION], 1):
        if used > 1 and (_begins_row(line, form) or len(line) > LONGEST_LINE):
            break
        block += f"\n{line}" if used > 1 else line
        try:
            return _cells(block, form.separator), used
        except _OpenMarkError:
            continue
        except csv.Error:  # marks in the middle of a text: of this row, or of another that closes this one's
            return (line.split(form.separator), 1) if used == 1 else (None, 1)
    return None, 1


class _OpenMarkError(Exception):
    """The text ends before its quotation mark closes."""


def _cells(block: str, separator: str) -> list[str]:
    """The cells of one row.

    Raises:
        _OpenMarkError: see there.
        csv.Error: something else than a separator after a mark that closes.
    """
    lines = [f"{line}\n" for line in block.split("\n")]
    try:
        rows = list(csv.reader(lines, delimiter=separator, strict=True))
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise _OpenMarkError from error
        raise
    return rows[0] if rows else []


def _begins_row(line: str, form: _Form) -> bool:
    """Whether a line that a quotation mark may reach over is rather a row of its own."""
    cells = [cell.strip(' "') for cell in line.split(form.separator)]
    if len(cells) <= max(form.file, form.caption):
        return False
    if form.file < form.caption:
        return is_image(cells[form.file])
    return is_image(cells[form.file - form.width]) and line.count('"') % 2 == 0


def _without_marks(text: str) -> str:
    """A text without the quotation marks around it that `csv` left because of others inside."""
    bare = text.strip()
    return bare[1:-1].replace('""', '"') if len(bare) > 1 and bare[0] == bare[-1] == '"' else bare
