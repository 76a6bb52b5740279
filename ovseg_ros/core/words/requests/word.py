"""The words of a phrase while it is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ovseg_ros.core.words import function_words as kinds
from ovseg_ros.core.words.requests.phrasebook import (
    LINKS,
    NO_THING,
    SUPERLATIVES,
    VIEWERS,
    position_at_start,
    relation_at_start,
    row_at_start,
)


class Word(NamedTuple):
    """A token and its place in the phrase."""

    at: int
    raw: str
    typed: str
    word: str


def text_of(words: Sequence[Word]) -> str:
    """Lower case, with a space between each two."""
    return " ".join(word.word for word in words)


def without_determiners(words: Sequence[Word]) -> list[Word]:
    """Without articles and the like in front; one word stays, whatever it is."""
    start = 0
    while start < len(words) - 1 and words[start].word in kinds.DETERMINERS:
        start += 1
    return list(words[start:])


def without_links(words: list[Word]) -> list[Word]:
    """Without verbs and the like that led to a part: "mugs that are", "mug is the"."""
    while len(words) > 1 and words[-1].word in LINKS | kinds.DETERMINERS:
        words = words[:-1]
    return words


def names_thing(words: Sequence[Word]) -> bool:
    """Whether any of the words may be a thing's."""
    return any(word.word not in NO_THING for word in words)


def is_viewer(words: Sequence[Word]) -> bool:
    """Whether the words mean who looks: "me", "the camera"."""
    bare = without_determiners(words)
    return len(bare) == 1 and bare[0].word in VIEWERS


def begins_part(words: Sequence[Word]) -> bool:
    """Whether the words begin with what a request understands."""
    text = text_of(words)
    measured = words[0].word in SUPERLATIVES or words[0].word in LINKS
    return measured or any(read(text) for read in (row_at_start, position_at_start, relation_at_start))
