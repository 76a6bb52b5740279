"""The object words that compete with the words asked for, where a preset decides by trust."""

from __future__ import annotations

from functools import cache
from pathlib import Path

OBJECTS = Path(__file__).resolve().parent / "bundled" / "objects.txt"
"""One word a line; how it was made stands in its first lines, which begin with "#"."""


@cache
def rival_list() -> tuple[str, ...]:
    """The 980 nouns for things and stuff that cameras see, in lower case, sorted, each once."""
    lines = OBJECTS.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))
