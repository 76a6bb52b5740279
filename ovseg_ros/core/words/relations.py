"""Words that tell where a thing is, how many or which of several, told apart from names that look so.

Each mask is compared with a word for itself, so in a vocabulary "the left teapot" would find every teapot,
and "two teapots" one: there such a name is refused with what to ask instead. A request understands them:
`requests` reads the parts that are found here. The rules read English: words in fixed places, and lists of
names that are spelled alike (`compounds`). What they take wrongly can be had in quotation marks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ovseg_ros.core.words import compounds as names
from ovseg_ros.core.words import function_words as kinds
from ovseg_ros.core.words.tokens import tokens_of, without_determiners

NUMBER, ORDER, POSITION, RELATION, COMPARISON, NEGATION, REFERENCE = (
    "numbers",
    "places in a row",
    "positions",
    "relations",
    "comparisons",
    "negations",
    "references to what was said before",
)

ANSWERED = frozenset({NUMBER, ORDER, POSITION, RELATION, COMPARISON})
"""Kinds that a request may hold; the rest is answered nowhere."""

DOORS = "~/query, ~/find_object, ~/segment or Python"
"""Where requests are answered, for messages."""

MAX_READ_CHARACTERS = 512
"""A longer text is no label and is refused as such; reading it would cost time for nothing."""


@dataclass(frozen=True)
class Unread:
    """A part of a name that is understood and cannot be answered.

    Attributes:
        kind: what it is, in the plural.
        words: the part, as it was typed.
        instead: what may be asked for, "" where nothing is left.
    """

    kind: str
    words: str
    instead: str

    @property
    def sentence(self) -> str:
        """For people: what no list of words can say, and what to do."""
        cure = f"ask for {self.instead!r}" if self.instead else "name the thing itself"
        quote = "a name with such words in it goes into quotation marks"
        if self.kind not in ANSWERED:
            return f"{self.kind} are not answered ({self.words!r}): {cure}; {quote}"
        return (
            f"{self.kind} tell which one is meant, and a list of words cannot ({self.words!r}): {cure} here, "
            f"or for all of it through {DOORS}; {quote}"
        )


def unread_part(name: str) -> Unread | None:
    """The relation, position, number, comparison or negation in a name; None where it is a plain name.

    Args:
        name: one name, not a whole query; underscores count as spaces, hyphens keep words together, and
            brackets behind an underscore, as data sets name their classes, only say which kind is meant.

    Examples:
        >>> unread_part("mug near the teapot")
        Unread(kind='relations', words='near the teapot', instead='mug')
        >>> unread_part("the left teapot").instead, unread_part("two teapots").instead
        ('teapot', 'teapots')
        >>> unread_part("knocker_(on_a_door)")
        >>> unread_part("top hat"), unread_part("seven up"), unread_part("frying pan with lid")
        (None, None, None)
    """
    if len(name) > MAX_READ_CHARACTERS:
        return None
    tokens = without_determiners(tokens_of(name))
    found = find_part([token.word for token in tokens])
    if found is None:
        return None
    kind, start, stop = found
    typed = [token.typed for token in tokens]
    denied = kind == NEGATION and start == 0  # what it is not does not say what it is
    return Unread(kind, " ".join(typed[start:stop]), "" if denied else _rest(typed, start, stop))


def find_part(words: Sequence[str]) -> tuple[str, int, int] | None:
    """The first part that is no name: its kind, and where it begins and ends; None in a plain name.

    Args:
        words: in lower case, without articles in front.
    """
    if len(words) < 2:
        return None
    return next((found for rule in _RULES if (found := rule(words)) is not None), None)


_Found = tuple[str, int, int] | None
"""What kind of part, and where it begins and ends, in words."""


def _rest(typed: Sequence[str], start: int, stop: int) -> str:
    """What is left without words start to stop; only what stands before where the part is in the middle."""
    left = list(typed[:start]) if start else list(typed[stop:])
    while left and left[0].casefold() in kinds.DETERMINERS:
        left = left[1:]
    while left and left[-1].casefold() in kinds.NO_END:
        left = left[:-1]
    rest = " ".join(left)
    if not rest or left[-1].casefold() in ("one", "ones") or left[0].casefold() in kinds.ORDINALS:
        return ""
    more = unread_part(rest)
    return rest if more is None else more.instead


def _number(words: Sequence[str]) -> _Found:
    for phrase in kinds.PHRASAL_COUNTS:
        at = _find(words, phrase)
        if at is not None and at + len(phrase) < len(words):
            return NUMBER, at, at + len(phrase)
    if re.fullmatch(r"\d{1,3}x|x\d{1,3}", words[0]):
        return NUMBER, 0, 1
    if re.fullmatch(r"x\d{1,3}", words[-1]):
        return NUMBER, len(words) - 1, len(words)
    if _counts(words):
        return NUMBER, 0, 1
    for at in range(1, len(words) - 1):  # "table with two chairs"
        spelled = words[at] in kinds.COUNTS and words[at] not in ("one", "hundred", "many")
        if spelled and words[at + 1] not in names.UNITS and any(map(_is_plural, words[at + 1 :])):
            return NUMBER, at, at + 1
    if len(words) > 2 and words[-2] == "number" and (words[-1] in kinds.COUNTS or words[-1].isdigit()):
        return ORDER, len(words) - 2, len(words)
    return None


def _counts(words: Sequence[str]) -> bool:
    """Whether the first word says how many: before a plural, or before a single word."""
    first, following = words[0], words[1]
    digits = first.isdecimal() and first.isascii() and len(first) <= 3
    if not digits and first not in kinds.COUNTS:
        return False
    if digits and 1 <= int(first) <= len(kinds.CARDINALS):
        first = kinds.CARDINALS[int(first) - 1]
    if following in names.UNITS or f"{first} {following}" in names.NUMBER_NAMES:
        return False
    if first in ("one", "several", "few", "many", "dozen"):
        return True
    return _is_plural(words[-1]) or (len(words) == 2 and first in kinds.COUNTS)


def _order(words: Sequence[str]) -> _Found:
    first, following = words[0], words[1]
    known = names.AFTER_ORDINAL.get(first, frozenset()) | names.AFTER_EVERY_ORDINAL
    if first not in kinds.ORDINALS or following in known:
        return None
    if following == "to":
        return (ORDER, 0, 3) if words[2:3] == ["last"] else None
    return ORDER, 0, 1


def _negation(words: Sequence[str]) -> _Found:
    on_a_sign = words[-1] in names.SIGNS
    for at, word in enumerate(words):
        if word in ("not", "no") and (on_a_sign or words[max(at - 1, 0)] == "do"):
            continue
        following = words[at + 1] if at + 1 < len(words) else ""
        names_none = word == "no" and following and not following.isdigit()
        excepts = word == "but" and (following == "not" or words[max(at - 1, 0)] in ("all", "anything"))
        if word in kinds.NEGATIONS or names_none or excepts:
            return NEGATION, at, len(words) if at else 1
    return None


def _comparison(words: Sequence[str]) -> _Found:
    last = len(words) - 1
    for at, word in enumerate(words):
        if word == "than":
            start = max(at - 1, 0)
            return COMPARISON, start, len(words) if start else at + 1
        if word in kinds.SUPERLATIVES:
            return COMPARISON, at, len(words) if at == last else at + 1
        if word in kinds.COMPARATIVES and at < last and words[at + 1] != "than":
            return COMPARISON, at, at + 1
    return (COMPARISON, 0, 1) if words[0] in kinds.OTHERS else None


def _position(words: Sequence[str]) -> _Found:
    last = len(words) - 1
    for at, word in enumerate(words):
        following = words[at + 1] if at < last else ""
        of = following == "of" or (at >= 1 and words[at - 1] in ("the", "to"))  # the next rule's
        if word in ("left", "right") and not of and following not in names.AFTER_POSITION[word]:
            if at and words[at - 1] in ("turn", "keep", "go"):
                continue
            stacked = at > 0 and words[at - 1] in names.AFTER_POSITION  # "top left mug"
            return POSITION, at - stacked, at + 1
    known = names.AFTER_POSITION.get(words[0])
    if known is None or words[1] in known or words[1] in kinds.DETERMINERS | {"of", "to", "left", "right"}:
        return None
    return POSITION, 0, 1


def _relation(words: Sequence[str]) -> _Found:
    places = (_find(words, phrase) for phrase in kinds.PHRASES)
    first = min((at for at in places if at is not None), default=len(words))
    for at, word in enumerate(words[:first]):
        following = list(words[at + 1 :])
        noun = next((w for w in following if w not in kinds.DETERMINERS), "")
        article = following[0] if following and following[0] in kinds.DETERMINERS else ""
        if word == "in" and _is_worn(following):  # "woman in a red dress"
            continue
        if _relates(word, words[at - 1] if at else "", noun, article, at, len(following)):
            alone = at == 0 and word in ("near", "nearby") and not article  # "nearby mug"
            return RELATION, at, 1 if alone else len(words)
    return (RELATION, first, len(words)) if first < len(words) else None


def _is_worn(following: Sequence[str]) -> bool:
    """Whether a garment ends the words, or what is said of it."""
    worn = next((at for at, word in enumerate(following) if word in names.GARMENTS), None)
    if worn is None:
        return False
    ends = kinds.PLACED | kinds.WITH_PLACE | names.GARMENTS | {"left", "right", "next", "close", "to"}
    return following[-1] in names.GARMENTS or following[worn + 1] in ends


def _relates(word: str, before: str, noun: str, article: str, at: int, after: int) -> bool:
    """Whether one word puts what stands before it in relation to what follows.

    Args:
        word: the word.
        before: the one before it, "" for none.
        noun: the first one after it that is no article.
        article: the article or the like that follows at once, "" for none.
        at: its place.
        after: how many words follow.
    """
    told = bool(article)
    if word == "of":
        if article in ("a", "an"):
            return before in names.PARTS
        return at > 0 and told and before not in names.DEPICTIONS
    if word == "near" and noun in names.AFTER_POSITION["near"]:
        return False
    if at == 0:
        if not told:
            return word in kinds.PLACED_FIRST
        named = noun in names.WORN_OVER and after > 2
        return word in kinds.PLACED | kinds.WITH_PLACE and not named
    if word in kinds.PLACED:
        return word != "opposite" or after > 0
    if word in kinds.BARE and after and not told:
        named = before in names.PARTICLE_VERBS or before.isdigit() or before in kinds.COUNTS
        return not named and not (word == "on" and noun in names.AFTER_ON)
    if word in kinds.WITH_PLACE and after:
        named = before in names.PARTICLE_VERBS or (word == "on" and noun in names.AFTER_ON)
        return not named and (told or noun in names.PLACES)
    if word in kinds.TRANSITIVE:
        return after > 0
    return word in ("that's", "who's", "whose") or (
        word in ("that", "which", "who") and noun in kinds.AFTER_THAT
    )


def _reference(words: Sequence[str]) -> _Found:
    if words[-1] in ("one", "ones") and words[-2] not in names.ONES:
        return REFERENCE, len(words) - 1, len(words)
    return None


def _find(words: Sequence[str], phrase: Sequence[str]) -> int | None:
    """Where a phrase stands, its first place; None where it does not."""
    size = len(phrase)
    return next((at for at in range(len(words) - size + 1) if list(words[at : at + size]) == phrase), None)


def _is_plural(word: str) -> bool:
    if word in kinds.PLURALS:
        return True
    return (
        len(word) > 3
        and word.endswith("s")
        and not word.endswith(("ss", "us", "is"))
        and word not in kinds.SINGULARS
    )


_RULES: tuple[Callable[[Sequence[str]], _Found], ...] = (
    _negation,
    _relation,
    _comparison,
    _position,
    _order,
    _number,
    _reference,
)
