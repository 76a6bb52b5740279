"""Names of classes: files with one class a line, and the lists that come with the package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.texts import lines_of, read_text

CLASS_LISTS = Path(__file__).resolve().parent / "class_lists"
"""The shipped lists; README.md there says where each comes from."""

_SYNONYM = re.compile(r"(?:\([^()]*\)|[^,])+")


@dataclass(frozen=True)
class ClassList:
    """The classes of a data set, in the order of their indices.

    Attributes:
        synonyms: per class its names, at least one.
        codes: per class the number it has in files of the original distribution, () where that is not needed.
    """

    synonyms: tuple[tuple[str, ...], ...]
    codes: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.synonyms)

    @property
    def names(self) -> tuple[str, ...]:
        """The first name of each class."""
        return tuple(names[0] for names in self.synonyms)


def read_class_file(path: Path) -> ClassList:
    """Reads one class a line: its name, then synonyms behind commas; empty lines and `#` lines are skipped.

    A comma in brackets belongs to the name: "tape (cloth, paper)".

    A number and a tab before the name is the class's code in the original distribution; all lines have one or
    none has.

    Raises:
        InvalidInputError: not there, not text, no class, a class without a name or the same name twice.
    """
    what = f"expected class names, one a line, in {path}"
    lines = lines_of(read_text(path, refuse=lambda problem: InvalidInputError(f"{what}: {problem}")))
    synonyms: list[tuple[str, ...]] = []
    codes: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        code, tab, text = line.rpartition("\t")
        if tab:
            if not code.strip().isdecimal():
                raise InvalidInputError(f"expected a number before the tab in line {number} of {path}")
            codes.append(int(code))
        names = tuple(
            dict.fromkeys(" ".join(part.split()) for part in _SYNONYM.findall(text) if part.strip())
        )
        if not names:
            raise InvalidInputError(f"line {number} of {path} has no name: {line!r}")
        synonyms.append(names)
    _check(path, synonyms, codes)
    return ClassList(tuple(synonyms), tuple(codes))


def _check(path: Path, synonyms: list[tuple[str, ...]], codes: list[int]) -> None:
    if not synonyms:
        raise InvalidInputError(f"expected class names, one a line, {path} has none")
    if codes and len(codes) != len(synonyms):
        raise InvalidInputError(f"expected a number before each name in {path} or before none")
    firsts = [names[0] for names in synonyms]
    if len(set(firsts)) != len(firsts):
        twice = sorted({name for name in firsts if firsts.count(name) > 1})
        raise InvalidInputError(f"classes of one name in {path}: {', '.join(twice)}")


@cache
def shipped(name: str, count: int) -> ClassList:
    """A list that comes with the package.

    Raises:
        InvalidInputError: it has not `count` classes: the installation is damaged.
    """
    classes = read_class_file(CLASS_LISTS / f"{name}.txt")
    if len(classes) != count:
        raise InvalidInputError(f"expected {count} classes in {name}.txt, got {len(classes)}: install again")
    return classes
