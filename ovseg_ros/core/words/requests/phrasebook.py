"""The words and phrases that a request may hold, and what they mean."""

from __future__ import annotations

import re

from ovseg_ros.core.words import function_words as kinds
from ovseg_ros.core.words.compounds import words_in
from ovseg_ros.core.words.requests.wanted import By, Where

SUPERLATIVES: dict[str, By] = {
    word: by
    for by, words in {
        By.LEFT: "leftmost",
        By.RIGHT: "rightmost",
        By.TOP: "topmost uppermost highest higher",
        By.BOTTOM: "bottommost lowermost lowest lower",
        By.FRONT: "frontmost",
        By.BACK: "rearmost",
        By.NEAREST: "nearest closest nearer closer near nearby",
        By.FARTHEST: "farthest furthest farther further far",
        By.LARGEST: "largest biggest larger bigger",
        By.SMALLEST: "smallest smaller",
        By.TALLEST: "tallest taller",
        By.SHORTEST: "shortest shorter",
        By.LONGEST: "longest longer",
        By.WIDEST: "widest wider",
        By.NARROWEST: "narrowest narrower",
    }.items()
    for word in words.split()
}
"""Of two "the larger" is the largest. What no camera sees ("heaviest", "oldest") is missing."""

DIRECTIONS: dict[str, By] = {
    word: by
    for by, words in {
        By.LEFT: "left",
        By.RIGHT: "right",
        By.TOP: "top upper",
        By.BOTTOM: "bottom lower",
        By.FRONT: "front foreground",
        By.BACK: "back rear background",
        By.MIDDLE: "middle center centre",
    }.items()
    for word in words.split()
}

COMPARED: dict[str, Where] = {
    word: where
    for where, words in {
        Where.LARGER: "larger bigger",
        Where.SMALLER: "smaller",
        Where.TALLER: "taller",
        Where.SHORTER: "shorter",
    }.items()
    for word in words.split()
}
"""Before "than"."""

_ADVERB = r"(?:(?:just|directly|right|immediately|slightly|straight) )?"
_SIDE = r"(?:(?:to|on|at) (?:the )?)?(?:far )?{}(?:[ -]hand)?(?: side)? of"
_RELATIONS = tuple(
    (where, re.compile(f"{_ADVERB}(?:{pattern})(?= |$)"))
    for where, pattern in (
        (Where.LEFT, _SIDE.format("left")),
        (Where.RIGHT, _SIDE.format("right")),
        (Where.IN_FRONT, r"(?:in )?front of"),
        (Where.BEHIND, r"behind"),
        (Where.ON, r"on top of|on|onto|atop|upon"),
        (Where.ABOVE, r"above|over"),
        (Where.BELOW, r"below|beneath|underneath|under"),
        (Where.IN, r"inside of|inside|within|into|in(?! between)"),
        (
            Where.NEAR,
            r"next to|close to|adjacent to|nearby|near to|near|beside|alongside|along|around|by",
        ),
        (Where.BETWEEN, r"(?:in )?between"),
    )
)
_DIRECTION = "|".join(DIRECTIONS)
_POSITION = re.compile(
    r"(?:on|to|at|in) (?:the |my |your |our |its )?(?:(?:very|far|extreme) )?"
    rf"(?P<first>{_DIRECTION})(?: (?P<second>{_DIRECTION}))?"
    r"(?!(?:[ -]hand)?(?: (?:side|end|edge|corner|part))? of(?: |$))"
    r"(?:[ -]hand)?(?: (?:side|end|edge|corner|part))?(?= |$)"
)
_ROW_FROM = re.compile(rf"from (?:the |my |your )?(?:far )?(?P<first>{_DIRECTION})(?: side| end)?(?= |$)")
_ENDS_OF_A_ROW = frozenset({By.LEFT, By.RIGHT, By.TOP, By.BOTTOM, By.FRONT, By.BACK})


def relation_at_start(words: str) -> tuple[Where, int] | None:
    """A relation that words begin with, and how many words tell it; None where none is known."""
    for where, pattern in _RELATIONS:
        if found := pattern.match(words):
            return where, _word_count(found[0])
    return None


def position_at_start(words: str) -> tuple[tuple[By, ...], int] | None:
    """A place in the image that words begin with ("on the left", "in the top left corner"), as above."""
    found = _POSITION.match(words)
    if found is None:
        return None
    named = (found["first"], found["second"])
    return tuple(DIRECTIONS[word] for word in named if word), _word_count(found[0])


def row_at_start(words: str) -> tuple[By, int] | None:
    """Where a row is counted from ("from the left"), as above."""
    found = _ROW_FROM.match(words)
    if found is None or DIRECTIONS[found["first"]] not in _ENDS_OF_A_ROW:
        return None
    return DIRECTIONS[found["first"]], _word_count(found[0])


def _word_count(text: str) -> int:
    return text.count(" ") + 1


ORDINALS = {
    word: number
    for number, words in enumerate(
        (
            *("first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th", "seventh 7th"),
            *("eighth 8th", "ninth 9th", "tenth 10th"),
        ),
        1,
    )
    for word in words.split()
}
NUMBERS = {
    **{word: number for number, word in enumerate(kinds.CARDINALS, 1)},
    **{"couple": 2, "dozen": 12, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100},
}
LINKS = words_in(
    """
    is are was were that which who there that's who's do can you see standing sitting lying placed located
    resting stands sits lies hangs hanging being currently
    """
)
ADVERBS = words_in("in just directly immediately right slightly straight somewhere far the")
VIEWERS = words_in("me us you camera viewer here")
AWAY = re.compile(r"(?:far )?(?:away )?from(?= |$)")
NO_END = words_in("of to from at than with and or the a an in on by is are")
NO_THING = frozenset().union(
    *(kinds.DETERMINERS, kinds.COUNTS, kinds.ORDINALS, kinds.SUPERLATIVES, kinds.COMPARATIVES, kinds.OTHERS),
    *(kinds.PLACED, kinds.BARE, kinds.WITH_PLACE, kinds.NEGATIONS, LINKS, NO_END, DIRECTIONS, VIEWERS),
    ["one", "ones", "it", "them", "what", "how", "side", "far", "close", "next"],
)
