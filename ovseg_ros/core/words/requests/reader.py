"""Requests: "the mug left of the teapot", "the two largest plates", "how many spoons are in the bowl".

A request is read as a query is, and by the same rules: `relations.find_part` finds the first part of a phrase
that is no name, here the part is understood and taken away, and what is left is read again until a plain name
is left. What cannot be understood is refused with the part it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from ovseg_ros.core.words import function_words as kinds
from ovseg_ros.core.words import relations as parts
from ovseg_ros.core.words.labels import Quoted, key_of, tidy_text
from ovseg_ros.core.words.query import Phrase, checked_query, phrases_in
from ovseg_ros.core.words.requests.phrasebook import (
    ADVERBS,
    AWAY,
    COMPARED,
    DIRECTIONS,
    LINKS,
    NO_END,
    NUMBERS,
    ORDINALS,
    SUPERLATIVES,
    position_at_start,
    relation_at_start,
    row_at_start,
)
from ovseg_ros.core.words.requests.wanted import By, Order, Relation, Wanted, Where, unified
from ovseg_ros.core.words.requests.word import (
    Word,
    begins_part,
    is_viewer,
    names_thing,
    text_of,
    without_determiners,
    without_links,
)
from ovseg_ros.core.words.spelling import singulars
from ovseg_ros.core.words.tokens import tokens_of
from ovseg_ros.errors import InvalidInputError

MAX_DEPTH = 2
"""A thing may be related to one that is itself related: "the mug on the plate left of the teapot"."""

MAX_PARTS = 8
"""Parts of one phrase that are followed; people say two."""

MAX_COUNT = 100


def parse_request(text: str) -> tuple[Wanted, ...]:
    """Reads what is asked for, with where it is, which of several, and how many.

    Args:
        text: at most 4096 bytes of UTF-8; commas, "and" and the like separate things as in `parse_query`. A
            phrase that begins with a relation ("… and near the bowl") goes on with the thing before it.

    Returns:
        What is wanted, in the order asked; () for a blank text. Plain names come as `parse_query` gives them.

    Raises:
        InvalidInputError: too long, words that name no thing, or a part that is not understood: the message
            says what was read, and the part.

    Examples:
        >>> (wanted,) = parse_request("find the mug left of the teapot")
        >>> wanted.name, str(wanted.relations[0]), wanted.names
        ('mug', 'left of the teapot', ('mug', 'teapot'))
        >>> [wanted.how_many for wanted in parse_request("how many plates are there?")]
        [True]
        >>> parse_request("the mug left of the")
        Traceback (most recent call last):
        ...
        ovseg_ros.errors.InvalidInputError: I read 'mug left of', and then 'the' names no thing
    """
    found: dict[object, Wanted] = {}
    last: object = None
    for phrase in phrases_in(checked_query(text)):
        read = _Reader(phrase)
        if found and read.goes_on:
            before = found.pop(last)
            wanted = unified(read.added_to(before))
        else:
            wanted = unified(read.wanted())
        last = key_of(wanted.name) if wanted.is_plain else wanted
        found.setdefault(last, wanted)
    return tuple(found.values())


@dataclass
class _Parts:
    """What was understood of one thing so far."""

    relations: list[Relation] = field(default_factory=list)
    by: tuple[By, ...] = ()
    place: int | None = None
    row: By | None = None
    anchor: Wanted | None = None
    count: int | None = None
    every: bool = False
    how_many: bool = False
    of_them: bool = False  # "the largest of the mugs" is one


class _Reader:
    """Reads one phrase."""

    def __init__(self, phrase: Phrase) -> None:
        self._phrase = phrase
        tokens = tokens_of(phrase.read) if len(phrase.read) <= parts.MAX_READ_CHARACTERS else []
        self._words = [Word(at, *token) for at, token in enumerate(tokens)]
        self._quotations = {key.strip('.,;:!?()[]{}"'): text for key, text in phrase.quotations.items()}
        self._lead = set(phrase.lead.casefold().split())

    @property
    def goes_on(self) -> bool:
        """Whether it begins with a relation, and so tells more of the thing before: "and near the bowl"."""
        found = parts.find_part([word.word for word in self._words])
        if found is None or found[:2] != (parts.RELATION, 0) or found[2] == 1:
            return False
        return (
            self._phrase.follows in ("and", ",", "&") and relation_at_start(text_of(self._words)) is not None
        )

    def wanted(self) -> Wanted:
        """What the phrase asks for.

        Raises:
            InvalidInputError: a part of it is not understood.
        """
        every = bool(self._lead & {"all", "every", "each"})
        words = without_determiners(self._words)
        plural = len(words) > 0 and bool(singulars(words[-1].word))
        if not words or parts.find_part([word.word for word in words]) is None:
            count = 2 if "both" in self._lead and plural else None
            return Wanted(self._phrase.name, every=every, count=count)
        if words[0].word in ("which", "what") and len(words) > 1:
            words = words[1:]
        return self._thing(words, 0, _Parts(every=every))

    def added_to(self, before: Wanted) -> Wanted:
        """The thing before with what this phrase tells of it."""
        said = _Parts(relations=list(before.relations))
        self._relation([], self._words, 0, said)
        return replace(before, relations=tuple(said.relations))

    def _thing(self, words: Sequence[Word], depth: int, said: _Parts) -> Wanted:
        """One thing with all that is said of it: takes part after part away until a name is left."""
        words, whole = list(words), words
        for _ in range(MAX_PARTS + 1):
            words = without_determiners(words)
            found = parts.find_part([word.word for word in words])
            if found is None:
                return self._named(words, whole, said)
            kind, start, stop = found
            adjective = stop - start == 1 and (start == 0 or words[start].word == "nearby")
            if kind == parts.RELATION and not adjective:
                words = self._relation(words[:start], words[start:], depth, said)
            elif kind == parts.RELATION:  # "nearby mug"
                self._order(words[start:stop], (By.NEAREST,), said)
                words = words[stop:]
            elif kind == parts.COMPARISON:
                words = self._comparison(words, start, stop, depth, said)
            elif kind == parts.POSITION:
                named = [word for word in words[start:stop] if word.word not in ("near", "far")]
                by = tuple(DIRECTIONS[word.word] for word in named) or (SUPERLATIVES[words[start].word],)
                self._order(words[start:stop], by, said)
                words = words[:start] + words[stop:]
            elif kind == parts.ORDER:
                self._place(words[start:stop], said)
                words = words[:start] + words[stop:]
            elif kind == parts.NUMBER:
                self._number(words, start, stop, said)
                words = words[:start] + words[stop:]
            else:
                self._stop(words[start:stop], "is not answered: say what it is instead")
            words = without_links(words)
        self._stop(words, f"is more than the {MAX_PARTS} parts that I follow")

    def _relation(self, head: list[Word], part: Sequence[Word], depth: int, said: _Parts) -> list[Word]:
        """Understands a part that goes to the end of the phrase; returns the words that are left."""
        text = text_of(part)
        if part[0].word == "of":
            if names_thing(head):
                self._stop(part, "asks for a part of a thing, which I cannot tell")
            said.of_them = True
            return head + without_determiners(part[1:])
        if row := row_at_start(text):
            said.row = row[0]
            return self._joined(head, part[row[1] :], said)
        if position := position_at_start(text):
            self._order(part[: position[1]], position[0], said)
            return self._joined(head, part[position[1] :], said)
        farthest = bool(head) and SUPERLATIVES.get(head[-1].word) is By.FARTHEST
        if (away := AWAY.match(text)) and (farthest or away[0] != "from"):
            size = away[0].count(" ") + 1
            head = head[:-1] if farthest else head
            self._order(part[:size], (By.FARTHEST,), said)
            said.anchor = self._anchor(part[:size], part[size:], depth)
            return head
        if part[0].word in LINKS:  # "that is left of the pot"
            rest = list(part)
            while rest and rest[0].word in LINKS | kinds.DETERMINERS:
                rest = rest[1:]
            if not rest or not begins_part(rest):
                self._stop(part, "is not understood: I know places, sizes and numbers")
            return head + rest
        if relation := relation_at_start(text):
            where, size = relation
            while head and head[-1].word in ADVERBS:
                head = head[:-1]
            anchors = self._anchors(where, part[:size], part[size:], depth, said)
            if anchors:
                said.relations.append(Relation(where, anchors))
            return head
        self._stop(part, "is not understood: I know places such as 'left of', 'on' and 'near'")

    def _joined(self, head: list[Word], rest: Sequence[Word], said: _Parts) -> list[Word]:
        """The words before and after a part that was understood, where together they can be read on."""
        if rest and rest[0].word == "of" and not names_thing(head):
            said.of_them, rest = True, rest[1:]
        elif rest and names_thing(head) and not begins_part(rest):
            self._stop(rest, "is not understood")
        return head + without_determiners(rest)

    def _anchors(
        self, where: Where, told: Sequence[Word], rest: Sequence[Word], depth: int, said: _Parts
    ) -> tuple[Wanted, ...]:
        """What follows a relation; () where that was the camera itself: "the mug near me"."""
        if where is Where.NEAR and is_viewer(rest):
            self._order(told, (By.NEAREST,), said)
            return ()
        split = next((i for i, word in enumerate(rest) if word.word == "and"), None)
        if where is not Where.BETWEEN:
            return (self._thing_at(told, rest, depth),)
        if split is None:
            both = self._thing_at(told, rest, depth)
            if both.count not in (None, 2) or (both.count is None and not singulars(both.name.split()[-1])):
                self._stop(rest, "is one thing, and 'between' wants two")
            return (replace(both, count=None),)
        return self._thing_at(told, rest[:split], depth), self._thing_at(told, rest[split + 1 :], depth)

    def _anchor(self, told: Sequence[Word], rest: Sequence[Word], depth: int) -> Wanted | None:
        """What a distance counts from; None for the camera."""
        if is_viewer(rest):
            return None
        return self._thing_at(told, rest, depth)

    def _thing_at(self, told: Sequence[Word], rest: Sequence[Word], depth: int) -> Wanted:
        if not rest:
            self._stop(told, "is followed by no thing")
        if depth >= MAX_DEPTH:
            self._stop(told, f"is one relation more than the {MAX_DEPTH} that I follow")
        thing = self._thing(rest, depth + 1, _Parts())
        if thing.how_many:
            self._stop(rest, "asks how many where one thing is wanted")
        return thing

    def _comparison(self, words: list[Word], start: int, stop: int, depth: int, said: _Parts) -> list[Word]:
        part, head, rest = words[start:stop], words[:start], words[stop:]
        if len(part) > 1 and part[1].word == "than":
            if part[0].word not in COMPARED:
                self._stop(part, "is not understood: I compare by larger, smaller, taller and shorter")
            anchor = self._thing_at(part[:2], part[2:], depth)
            said.relations.append(Relation(COMPARED[part[0].word], (anchor,)))
            return head
        by = SUPERLATIVES.get(part[0].word)
        if part[0].word in ("other", "another", "same", "remaining"):
            self._stop(part, "depends on what was said before, which I do not know")
        if by is None or len(part) > 1:
            self._stop(part, "is nothing that can be measured here")
        self._order(part, (by,), said)
        if by not in (By.NEAREST, By.FARTHEST) or not rest:
            return head + rest
        to = next((i for i, word in enumerate(rest) if word.word in ("to", "from")), None)
        if to is not None and (to == 0 or not names_thing(head)):
            said.anchor = self._anchor(rest[: to + 1], rest[to + 1 :], depth)
            return head + rest[:to]
        if names_thing(head):  # "the mug nearest the teapot"
            said.anchor = self._anchor(part, rest, depth)
            return head
        return head + rest

    def _order(self, part: Sequence[Word], by: tuple[By, ...], said: _Parts) -> None:
        if said.by:
            self._stop(part, f"comes on top of '{' '.join(one.value for one in said.by)}': say one of them")
        said.by = by

    def _place(self, part: Sequence[Word], said: _Parts) -> None:
        if said.place is not None:
            self._stop(part, "is a second place in a row: say one")
        first, last = part[0].word, part[-1].word
        if first == "number":
            said.place = self._count(part[-1:])
        elif first in ("last", "final"):
            said.place = -1
        elif first in ORDINALS:
            said.place = -ORDINALS[first] if last == "last" else ORDINALS[first]
        else:
            self._stop(part, "depends on what was said before, which I do not know")

    def _number(self, words: Sequence[Word], start: int, stop: int, said: _Parts) -> None:
        part, text = words[start:stop], text_of(words[start:stop])
        if said.count is not None or said.how_many:
            self._stop(part, "is a second number: say one")
        if start and stop < len(words):
            self._stop(words[start:], "is not understood: a number goes in front of what is asked for")
        if text in ("how many", "number of") or text.startswith("count "):
            said.how_many = True
        elif text in ("several", "few", "many"):
            said.every = True
        else:
            said.count = self._count(part)

    def _count(self, part: Sequence[Word]) -> int:
        """The number that the first of these words is."""
        text = part[0].word.strip("x")
        number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 3 else NUMBERS.get(text)
        if number is None:
            self._stop(part, "is no number: say for example 'two'")
        if not 1 <= number <= MAX_COUNT:
            self._stop(part, f"is no number from 1 to {MAX_COUNT}")
        return number

    def _named(self, words: list[Word], whole: Sequence[Word], said: _Parts) -> Wanted:
        """What is left of all the words is the name."""
        words = without_links(words)
        if said.row and said.place is None and len(words) > 1 and words[-1].word in ORDINALS:
            said.place, words = ORDINALS[words[-1].word], words[:-1]  # "mug second from the left"
        if not names_thing(words):
            self._stop(whole, "names no thing")
        for end in (words[0], words[-1]):
            if end.word in NO_END:
                self._stop([end], "leads to no thing")
        raw = [self._quotations.get(word.typed, word.raw) for word in words]
        name = tidy_text(" ".join(raw))
        if not name:
            self._stop(whole, "names no thing")
        quoted = any(word.typed in self._quotations for word in words)
        order = self._order_of(said)
        one = said.of_them or said.place is not None or said.count is not None
        several = order is not None and not one and bool(singulars(words[-1].word))
        return Wanted(
            Quoted(name) if quoted else name,
            tuple(said.relations),
            order,
            said.count,
            said.every or several,
            said.how_many,
        )

    def _order_of(self, said: _Parts) -> Order | None:
        if said.row is not None:
            if said.place is None or said.by:
                self._stop(
                    self._words, "counts from a side, but says no place such as 'second from the left'"
                )
            return Order((said.row,), said.place)
        if said.place is not None or said.by:
            return Order(said.by or (By.LEFT,), said.place or 1, said.anchor)
        return None

    def _stop(self, words: Sequence[Word], why: str) -> NoReturn:
        """Refuses the phrase at these words.

        Raises:
            InvalidInputError: always.
        """
        before = " ".join(word.typed for word in self._words if words and word.at < words[0].at)
        part = " ".join(word.typed for word in words)
        raise InvalidInputError(
            f"I read {before!r}, and then {part!r} {why}" if before else f"{part!r} {why}"
        )
