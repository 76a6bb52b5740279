"""How right a memory is at one moment of a walk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.walk.truth import Place, Walk

MIN_PIXELS = 400
"""A thing is seen in a frame that shows so many pixels of it …"""

MAX_HIDDEN = 0.5
"""… and no less than half of its surface."""

MIN_FRAMES = 2
"""A thing that fewer frames show need not be remembered."""

MATCH_M = 0.15
"""An entry further than this from where anything stands or stood is of nothing."""

GOOD_M = 0.03
"""A position that is no further from the true one is right."""


class Remembered(Protocol):
    """What is scored of a `memory.Entry`."""

    @property
    def frame_id(self) -> str:
        """The fixed frame of `position`."""

    @property
    def position(self) -> npt.NDArray[np.float64]:
        """(3,) the middle of its visible surface, metres."""

    @property
    def words(self) -> Mapping[str, Any]:
        """What it was called; each value has `times` and `score`."""

    @property
    def gone_since(self) -> float | None:
        """From when it is known to be gone; None: it is not."""


@dataclass(frozen=True)
class Score:
    """What a memory knows at one moment, beside what it can know by then.

    Attributes:
        things: that were seen where they stand.
        found: of those with an entry that is not gone.
        error_m: thing -> how far the nearest of its entries is from the middle of its box.
        duplicates: thing -> further entries of it that are not gone.
        missing: things without an entry.
        wrong: thing -> what its entry is called most, where that is not its word nor a synonym.
        moved: thing that was seen at another place than before -> whether there is an entry at the new one.
        old: thing whose former place was looked at again -> whether no entry stands there any more.
        strays: words of the entries that are of nothing.
    """

    things: tuple[int, ...]
    found: tuple[int, ...]
    error_m: Mapping[int, float]
    duplicates: Mapping[int, int]
    missing: tuple[int, ...]
    wrong: Mapping[int, str]
    moved: Mapping[int, bool]
    old: Mapping[int, bool]
    strays: tuple[str, ...]

    @property
    def duplicate_share(self) -> float:
        """Further entries per thing found; 0 where nothing is found."""
        return sum(self.duplicates.values()) / len(self.found) if self.found else 0.0

    @property
    def well_placed(self) -> tuple[int, ...]:
        """Things with a position within `GOOD_M`."""
        return tuple(thing for thing in self.found if self.error_m[thing] <= GOOD_M)

    def lines(self, names: Mapping[int, str]) -> list[str]:
        """For people."""

        def listed(things: Any) -> str:
            return ", ".join(f"{names[i]} ({i})" for i in things) or "none"

        errors = sorted(self.error_m.values())
        middle = f", median {errors[len(errors) // 2] * 1e3:.0f} mm" if errors else ""
        return [
            f"things with an entry: {len(self.found)} of {len(self.things)}; without: {listed(self.missing)}",
            f"duplicates: {sum(self.duplicates.values())} ({self.duplicate_share:.1%}): "
            f"{listed(i for i, more in self.duplicates.items() if more)}",
            f"positions within {GOOD_M * 1e3:.0f} mm: {len(self.well_placed)} of {len(self.found)}{middle}",
            f"moved, found at the new place: {sum(self.moved.values())} of {len(self.moved)}; not: "
            f"{listed(i for i, well in self.moved.items() if not well)}",
            f"old places without an entry: {sum(self.old.values())} of {len(self.old)}; not: "
            f"{listed(i for i, well in self.old.items() if not well)}",
            "wrong names: " + (", ".join(f"{names[i]} called {w}" for i, w in self.wrong.items()) or "none"),
            f"entries of nothing: {', '.join(self.strays) or 'none'}",
        ]


def score(entries: Sequence[Remembered], walk: Walk, at_ns: int, *, frame_id: str = "map") -> Score:
    """Compares a memory with the truth.

    A thing counts from when `MIN_FRAMES` frames showed it where it stands. Its true position is what an
    entry's is by definition, the middle of the upright box around it (`Place.middle_m`). Each entry that
    is not gone belongs to the nearest place where something was seen, within `MATCH_M`, whatever it is
    called; `wrong` says what that is. An entry at a former place is no fault until the camera looked there
    again after the thing had left. Before TF's jump positions are compared in the map that TF told of then.

    Args:
        entries: of the memory at that time; positions in metres in the map.
        walk: the truth.
        at_ns: the time.
        frame_id: the map's.

    Raises:
        InvalidInputError: an entry is in another frame.
    """
    for entry in entries:
        if entry.frame_id != frame_id:
            raise InvalidInputError(f"expected entries in {frame_id!r}, got one in {entry.frame_id!r}")
    to_map = walk.before_jump if at_ns < walk.jump_ns else Rigid(np.eye(3), np.zeros(3))
    spots = [_Spot.of(place, walk, at_ns, to_map) for place in walk.places if place.from_ns <= at_ns]
    seen = [spot for spot in spots if spot.frames]
    entries_of: dict[int, list[tuple[float, Remembered]]] = {i: [] for i in range(len(seen))}
    strays = []
    for entry in entries:
        if entry.gone_since is not None:
            continue
        apart = [float(np.linalg.norm(entry.position - spot.middle)) for spot in seen]
        nearest = int(np.argmin(apart)) if apart else -1
        if nearest < 0 or apart[nearest] > MATCH_M:
            strays.append(_called(entry))
        else:
            entries_of[nearest].append((apart[nearest], entry))
    there = {i: spot for i, spot in enumerate(seen) if spot.stands and spot.frames >= MIN_FRAMES}
    of_thing = {spot.thing: sorted(entries_of[i], key=lambda pair: pair[0]) for i, spot in there.items()}
    found = {thing: pairs for thing, pairs in of_thing.items() if pairs}
    called = {thing: _called(pairs[0][1]) for thing, pairs in found.items()}
    before = {spot.thing for spot in seen if not spot.stands and spot.frames >= MIN_FRAMES}
    return Score(
        things=tuple(of_thing),
        found=tuple(found),
        error_m={thing: pairs[0][0] for thing, pairs in found.items()},
        duplicates={thing: len(pairs) - 1 for thing, pairs in found.items()},
        missing=tuple(thing for thing, pairs in of_thing.items() if not pairs),
        wrong={
            thing: word
            for thing, word in called.items()
            if word not in (walk.names[thing], *walk.synonyms.get(thing, ()))
        },
        moved={thing: bool(pairs) for thing, pairs in of_thing.items() if thing in before},
        old={spot.thing: not entries_of[i] for i, spot in enumerate(seen) if spot.looked_at_again},
        strays=tuple(strays),
    )


@dataclass(frozen=True)
class _Spot:
    """One place as it was seen until a time.

    Attributes:
        thing: its id.
        middle: (3,) of its upright box, in TF's map of that time.
        frames: that showed it.
        stands: whether the thing is there still.
        looked_at_again: whether it is not, and the camera looked there since.
    """

    thing: int
    middle: npt.NDArray[np.float64]
    frames: int
    stands: bool
    looked_at_again: bool

    @classmethod
    def of(cls, place: Place, walk: Walk, at_ns: int, to_map: Rigid) -> _Spot:
        until = min(at_ns + 1, place.until_ns)
        sights = [
            view.sights[place.thing]
            for view in walk.views
            if place.from_ns <= view.stamp_ns < until and place.thing in view.sights
        ]
        good = sum(s.pixels >= MIN_PIXELS and s.hidden <= MAX_HIDDEN for s in sights)
        stands = at_ns < place.until_ns
        again = any(
            look.at == place.on and place.until_ns <= look.from_ns and look.until_ns <= at_ns
            for look in walk.looks
        )
        middle = to_map.of_points(place.middle_m[None])[0]
        return cls(place.thing, middle, good, stands, again)


def _called(entry: Remembered) -> str:
    """The word it was called most often, and of those the surest; "" where none."""
    words = entry.words
    return max(words, key=lambda word: (words[word].times, words[word].score), default="")
