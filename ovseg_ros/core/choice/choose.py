"""Which of the things that were found is meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from ovseg_ros.core.choice.items import Choice, DecidedFrom, Item
from ovseg_ros.core.choice.views import InImage, InSpace, View
from ovseg_ros.core.words import By, Order, Relation, Wanted, Where, is_called, is_plural

MAX_THINGS = 64
"""Things of one name that are looked at, the best; two things are compared in some ten microseconds."""

MAX_PAIRED = 8
"""Things of one name, the best, that something is looked for between."""

SAME_THING = 0.7
"""Two masks of one word that share this part of the smaller are one thing."""

_SEEN_BY_ROW = frozenset({Where.BEHIND, Where.IN_FRONT})
_ORDERED_BY_ROW = frozenset({By.NEAREST, By.FARTHEST, By.FRONT, By.BACK})
_ONE_HALF = {By.LEFT: 1, By.RIGHT: -1, By.TOP: -1, By.BOTTOM: 1}


def choose(
    wanted: Wanted | Sequence[Wanted],
    items: Sequence[Item],
    *,
    size_hw: tuple[int, int],
    allowed: Sequence[bool] | None = None,
) -> Choice:
    """Chooses what is meant among the labelled masks of one image.

    In space where all that is compared has depth, else in the image. "The" thing that another is related to
    is one: the one with which the best answer fits best. "Two mugs" where there is one is no answer.

    Args:
        wanted: what `parse_request` read; of several the best of each comes first, then the second ones.
        items: all masks labelled with any of the `names` of what is wanted.
        size_hw: of the image.
        allowed: for each item whether it may be an answer (see `Limits`); what it may not be others may still
            be related to. None: all.

    Returns:
        The items that are meant, the best first, and what it was decided from.
    """
    if isinstance(wanted, Wanted):
        return _choose_one(wanted, items, size_hw, allowed)
    choices = [_choose_one(one, items, size_hw, allowed) for one in wanted]
    if len(choices) == 1:
        return choices[0]
    ranks = max((len(choice.indices) for choice in choices), default=0)
    taken = [
        choice.indices[rank] for rank in range(ranks) for choice in choices if rank < len(choice.indices)
    ]
    sources = {choice.decided_from for choice in choices}
    source: DecidedFrom = "image" if "image" in sources else "depth" if "depth" in sources else ""
    reason = "; ".join(choice.reason for choice in choices if choice.reason)
    return Choice(tuple(dict.fromkeys(taken)), sum(choice.count for choice in choices), source, reason)


def _choose_one(
    wanted: Wanted,
    items: Sequence[Item],
    size_hw: tuple[int, int],
    allowed: Sequence[bool] | None,
) -> Choice:
    names = wanted.names
    involved = [i for i, item in enumerate(items) if any(is_called(item.label, name) for name in names)]
    things = _each_once(items, involved)
    kept = [items[i] for i in things]
    solids = [item.solid for item in kept if item.solid is not None]
    view: View = InSpace(solids) if solids and len(solids) == len(kept) else InImage(kept)
    answers = [allowed is None or allowed[i] for i in things]
    found = _Search(kept, view, size_hw).run(wanted, answers)
    if not found.ranked and (flat := _flat(wanted)) is not None:
        again = _Search(kept, view, size_hw).run(flat, answers)
        found = again if again.ranked else found
    indices = tuple(things[i] for i in found.ranked)
    if wanted.is_plain:
        return Choice(indices, len(indices), reason="" if indices else found.why)
    compares = bool(things) and any(part.relations or part.order for part in wanted.parts())
    source = view.decided_from if compares else ""
    said = f", {_source(wanted, view, len(things) - len(solids), len(things))}" if compares else ""
    if wanted.count is not None and len(indices) < wanted.count:
        why = f"{wanted}: {len(indices)} found, {wanted.count} wanted"
        return Choice((), len(indices), source, f"{found.why or why}{said}")
    if not indices:
        return Choice((), 0, source, f"{found.why}{said}")
    return Choice(indices[: wanted.count], len(indices), source, f"{wanted}: {len(indices)} found{said}")


def _source(wanted: Wanted, view: View, without: int, all_things: int) -> str:
    """What it was decided from, for people."""
    if view.decided_from == "depth":
        return "decided from depth"
    missing = "" if without == all_things else f", as {without} of {all_things} things have no depth"
    relations = {relation.where for part in wanted.parts() for relation in part.relations}
    by = {one for part in wanted.parts() if part.order and not part.order.anchor for one in part.order.by}
    rows = relations & _SEEN_BY_ROW or by & _ORDERED_BY_ROW
    guess = ": what reaches further down in it was taken for nearer" if rows else ""
    return f"decided from the image{missing}{guess}"


def _flat(wanted: Wanted) -> Wanted | None:
    """The mug "on the table left of the pot" read as one that is on the table, and left of the pot."""
    if len(wanted.relations) != 1 or len(wanted.relations[0].anchors) != 1:
        return None
    relation, (anchor,) = wanted.relations[0], wanted.relations[0].anchors
    if not anchor.relations:
        return None
    first = Relation(relation.where, (replace(anchor, relations=()),))
    return replace(wanted, relations=(first, *anchor.relations))


@dataclass(frozen=True)
class _Found:
    """Things, the best first, how well each fits, in (0, 1], and why there are none."""

    ranked: tuple[int, ...] = ()
    fits: tuple[float, ...] = ()
    why: str = ""


class _Search:
    """One request among the things of one image."""

    def __init__(self, items: Sequence[Item], view: View, size_hw: tuple[int, int]) -> None:
        self._items, self._view, self._size_hw = items, view, size_hw

    def run(self, wanted: Wanted, allowed: Sequence[bool] | None = None) -> _Found:
        """What fits, the best first: by how well it is the word times how well it is where it should be."""
        called = [i for i, item in enumerate(self._items) if is_called(item.label, wanted.name)]
        if not called:
            return _Found(why=f"no {wanted.name} was found")
        called = [i for i in called if allowed is None or allowed[i]]
        if not called:
            return _Found(why=f"no {wanted.name} was found within the limits of the request")
        called = sorted(called, key=lambda i: -self._items[i].score)[:MAX_THINGS]
        best = max(self._items[called[0]].score, 1e-6)
        fits = {i: max(self._items[i].score, 1e-6) / best for i in called}
        for relation in wanted.relations:
            anchors = self._anchors(relation)
            if isinstance(anchors, str):
                return _Found(why=f"{anchors} that the {wanted.name} could be {relation.where.value}")
            related = self._related(fits, relation, anchors)
            if not related:
                return _Found(why=f"no {wanted.name} of {len(fits)} is {relation}")
            fits = related
        ranked = sorted(fits, key=lambda i: -fits[i])
        if wanted.order is not None:
            ordered = self._ordered(ranked, wanted.order, wanted)
            if isinstance(ordered, str):
                return _Found(why=ordered)
            ranked = ordered
        return _Found(tuple(ranked), tuple(fits[i] for i in ranked))

    def _anchors(self, relation: Relation) -> list[tuple[tuple[int, ...], float]] | str:
        """What a thing may be related to: one thing or a pair, each with how well it fits; or why none is."""
        found = [self.run(anchor) for anchor in relation.anchors]
        for one in found:
            if one.why:
                return one.why
        if relation.where is not Where.BETWEEN:
            return [((i,), fit) for i, fit in zip(found[0].ranked, found[0].fits, strict=True)]
        several = [list(zip(one.ranked, one.fits, strict=True))[:MAX_PAIRED] for one in found]
        if len(several) == 1:
            pairs = list(combinations(several[0], 2))
        else:
            pairs = [(a, b) for a in several[0] for b in several[1] if a[0] != b[0]]
        if not pairs:
            return f"there are no two {relation.anchors[0].name}"
        return [((a, b), p * q) for (a, p), (b, q) in pairs]

    def _related(
        self,
        fits: dict[int, float],
        relation: Relation,
        anchors: Sequence[tuple[tuple[int, ...], float]],
    ) -> dict[int, float]:
        """Those that are where they should be; an anchor spoken of as one is one: that of the best answer."""
        table = {
            group: {
                i: fit * weight * self._view.fit(relation.where, i, group)
                for i, fit in fits.items()
                if i not in group
            }
            for group, weight in anchors
        }
        if not any(anchor.every or anchor.count or is_plural(anchor.name) for anchor in relation.anchors):
            best = max(table, key=lambda group: max(table[group].values(), default=0.0))
            table = {best: table[best]}
        together = {i: max(row.get(i, 0.0) for row in table.values()) for i in fits}
        return {i: fit for i, fit in together.items() if fit > 0}

    def _ordered(self, ranked: list[int], order: Order, wanted: Wanted) -> list[int] | str:
        """The one at its place, or so many from there; of "the left mugs" all that are in that half."""
        anchor = None
        if order.anchor is not None:
            found = self.run(order.anchor)
            others = [i for i in found.ranked if ranked != [i]]
            if not others:
                return f"{found.why or f'no other {order.anchor.name} was found'} to measure from"
            anchor = others[0]
            ranked = [i for i in ranked if i != anchor]
        row = self._row(ranked, order, anchor)
        if wanted.every or wanted.how_many:
            return [
                i for i in row if all(self._in_half(i, by) for by in order.by)
            ] or f"no {wanted} was found"
        if abs(order.place) > len(row):
            return f"there are {len(row)} {wanted.name}, too few for the {' '.join(order.words())}"
        start = order.place - 1 if order.place > 0 else len(row) + order.place
        return row[start : start + (wanted.count or 1)]

    def _row(self, ranked: Sequence[int], order: Order, anchor: int | None) -> list[int]:
        if order.by == (By.MIDDLE,):
            across = {i: self._view.key(By.LEFT, i, None) for i in ranked}
            centre = (min(across.values()) + max(across.values())) / 2 if across else 0.0
            return sorted(ranked, key=lambda i: abs(across[i] - centre))
        keys = np.array([[self._view.key(by, i, anchor) for by in order.by] for i in ranked])
        keys = keys.reshape(len(ranked), -1)
        if keys.shape[1] > 1:  # a corner: each direction counts alike
            keys = (keys - keys.min(axis=0)) / np.maximum(np.ptp(keys, axis=0), 1e-9)
        return [ranked[i] for i in keys.sum(axis=1).argsort(kind="stable")]

    def _in_half(self, thing: int, by: By) -> bool:
        """Whether it is in that half of the image; of what has no half, always."""
        if by not in _ONE_HALF:
            return True
        left, top, right, bottom = self._items[thing].box_xyxy
        height, width = self._size_hw
        sideways = by in (By.LEFT, By.RIGHT)
        beyond = (left + right) / 2 - width / 2 if sideways else height / 2 - (top + bottom) / 2
        return _ONE_HALF[by] * beyond <= 0


def _each_once(items: Sequence[Item], involved: Sequence[int]) -> list[int]:
    """Without masks that mostly are a better one's of the same word; in the order of the items."""
    kept: list[int] = []
    for i in sorted(involved, key=lambda i: -items[i].score):
        if not any(
            items[i].label == items[k].label and _overlap(items[i], items[k]) > SAME_THING for k in kept
        ):
            kept.append(i)
    return sorted(kept)


def _overlap(a: Item, b: Item) -> float:
    """What two masks share, as a part of the smaller; 0 without masks."""
    if a.mask is None or b.mask is None:
        return 0.0
    left, top = max(a.box_xyxy[0], b.box_xyxy[0]), max(a.box_xyxy[1], b.box_xyxy[1])
    right, bottom = min(a.box_xyxy[2], b.box_xyxy[2]), min(a.box_xyxy[3], b.box_xyxy[3])
    if right <= left or bottom <= top:
        return 0.0
    where = slice(top, bottom), slice(left, right)
    shared = np.count_nonzero(a.mask[where] & b.mask[where])
    smaller = min(np.count_nonzero(one.mask) for one in (a, b) if one.mask is not None)
    return shared / max(smaller, 1)
