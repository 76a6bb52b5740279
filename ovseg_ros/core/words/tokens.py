"""The words of a name, as the rules read them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ovseg_ros.core.words.compounds import IDIOMS
from ovseg_ros.core.words.function_words import DETERMINERS

_CLASS_GLOSS = re.compile(r"_\([^()]*\)")
_TOKEN = re.compile(r"(?:[^\s_]|_\([^()]*\))+")
_AROUND = '.,;:!?()[]{}"'
_LONGEST_IDIOM = max(len(idiom.split()) for idiom in IDIOMS)
_IDIOMS = frozenset(tuple(idiom.split()) for idiom in IDIOMS)


class Token(NamedTuple):
    """One word of a name.

    Attributes:
        raw: as it was typed, with the punctuation around it and a class's gloss: "mouse_(computer)".
        typed: without both.
        word: lower case, which the rules read; an idiom is one word with spaces: "jack in the box".
    """

    raw: str
    typed: str
    word: str


def tokens_of(name: str) -> list[Token]:
    """The words of a name; underscores count as spaces."""
    tokens = []
    for raw in _TOKEN.findall(name):
        typed = _CLASS_GLOSS.sub("", raw).strip(_AROUND)
        if typed:
            tokens.append(Token(raw, typed, typed.casefold().replace("\u2019", "'")))
    joined, at = [], 0
    while at < len(tokens):
        words = tuple(token.word for token in tokens[at : at + _LONGEST_IDIOM])
        size = next((n for n in range(len(words), 1, -1) if words[:n] in _IDIOMS), 1)
        joined.append(Token(*(" ".join(part) for part in zip(*tokens[at : at + size], strict=True))))
        at += size
    return joined


def without_determiners(tokens: Sequence[Token]) -> list[Token]:
    """Without articles and the like in front; one word stays, whatever it is."""
    start = 0
    while start < len(tokens) - 1 and tokens[start].word in DETERMINERS:
        start += 1
    return list(tokens[start:])
