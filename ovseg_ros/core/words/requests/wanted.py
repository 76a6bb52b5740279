"""What a request wants, once it is read: a thing, where it is, which of several, and how many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from ovseg_ros.core.words.labels import key_of
from ovseg_ros.core.words.spelling import singulars

_PLACES = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


class Where(Enum):
    """Where a thing is as seen from the camera, beside another; the value is how people say it."""

    LEFT = "left of"
    RIGHT = "right of"
    BEHIND = "behind"
    IN_FRONT = "in front of"
    ON = "on"
    IN = "in"
    ABOVE = "above"
    BELOW = "below"
    NEAR = "near"
    BETWEEN = "between"
    LARGER = "larger than"
    SMALLER = "smaller than"
    TALLER = "taller than"
    SHORTER = "shorter than"


class By(Enum):
    """What a row of things is ordered by, the first end of it; the value is the word for that end."""

    LEFT = "leftmost"
    RIGHT = "rightmost"
    TOP = "topmost"
    BOTTOM = "lowest"
    FRONT = "frontmost"
    BACK = "rearmost"
    MIDDLE = "middle"
    NEAREST = "nearest"
    FARTHEST = "farthest"
    LARGEST = "largest"
    SMALLEST = "smallest"
    TALLEST = "tallest"
    SHORTEST = "shortest"
    LONGEST = "longest"
    WIDEST = "widest"
    NARROWEST = "narrowest"


@dataclass(frozen=True)
class Relation:
    """A condition: the thing is there, seen from `anchors`: two for BETWEEN (or one of several), else one."""

    where: Where
    anchors: tuple[Wanted, ...]

    def __str__(self) -> str:
        return f"{self.where.value} {' and '.join(f'the {anchor}' for anchor in self.anchors)}"


@dataclass(frozen=True)
class Order:
    """Which one of a row.

    Attributes:
        by: what the row goes by; two for a corner ("top left").
        place: 1 is the first, 2 the second; -1 the last, -2 the last but one.
        anchor: what NEAREST and FARTHEST count from; None: the camera.
    """

    by: tuple[By, ...]
    place: int = 1
    anchor: Wanted | None = None

    def words(self) -> Iterator[str]:
        """For people: "second leftmost"."""
        if self.place < 0:
            yield "last" if self.place == -1 else f"{_PLACES[-self.place - 1]} to last"
        elif self.place > 1:
            yield _PLACES[self.place - 1] if self.place <= len(_PLACES) else f"number {self.place} of the"
        if self.place > 0 or self.by != (By.LEFT,):  # "the last mug" counts from the left
            yield " ".join(by.value for by in self.by)


@dataclass(frozen=True)
class Wanted:
    """One thing that is asked for.

    Attributes:
        name: the noun with what describes it, for a vocabulary; a `Quoted` where it was in quotation marks.
        relations: conditions, all of which have to hold.
        order: which one of those that are left; None: all of them, the likeliest first.
        count: "two teapots": so many of them; None where no number was said.
        every: "all mugs": not only the one that fits best.
        how_many: the number of them is what is asked.
    """

    name: str
    relations: tuple[Relation, ...] = ()
    order: Order | None = None
    count: int | None = None
    every: bool = False
    how_many: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether the name is all there is: what a vocabulary may hold."""
        return not (self.relations or self.order or self.count or self.how_many)

    @property
    def names(self) -> tuple[str, ...]:
        """All that has to be looked for: the name, and those of what it is related to, each once."""
        names: dict[str, str] = {}
        for wanted in self.parts():
            names.setdefault(key_of(wanted.name), wanted.name)
        return tuple(names.values())

    def parts(self) -> Iterator[Wanted]:
        """This and all that it is related to."""
        yield self
        for relation in self.relations:
            for anchor in relation.anchors:
                yield from anchor.parts()
        if self.order is not None and self.order.anchor is not None:
            yield from self.order.anchor.parts()

    def __str__(self) -> str:
        order = self.order
        said = [*(() if order is None else order.words()), self.name]
        if order is not None and order.anchor is not None:
            said.append(f"{'from' if By.FARTHEST in order.by else 'to'} the {order.anchor}")
        return " ".join([*said, *map(str, self.relations)])


def unified(wanted: Wanted) -> Wanted:
    """One spelling for a name that is there in singular and plural, which are the same thing to look for."""
    if wanted.is_plain:
        return wanted
    spelled = {key_of(name): name for name in wanted.names}

    def one(part: Wanted) -> Wanted:
        words = part.name.split()
        names = [" ".join([*words[:-1], last]) for last in singulars(words[-1].casefold())]
        name = next((spelled[key_of(name)] for name in names if key_of(name) in spelled), part.name)
        order = part.order
        if order is not None and order.anchor is not None:
            order = replace(order, anchor=one(order.anchor))
        relations = tuple(
            Relation(relation.where, tuple(map(one, relation.anchors))) for relation in part.relations
        )
        return replace(part, name=spelled.get(key_of(name), name), relations=relations, order=order)

    return one(wanted)
