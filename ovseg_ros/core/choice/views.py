"""Where things are to one another, as seen from the camera: in space, or in the image where depth is missing.

Axes are the viewer's: to the right, away from the viewer, up. `InSpace` has them in metres with up as it is;
left, right, behind and in front of a thing go by the line of sight to that thing, so that they agree with
the picture wherever in it the thing is. `InImage` has pixels: what reaches further down in it is taken for
nearer, which holds for things on one floor or table, and for a camera above it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.choice.items import DecidedFrom, Item
from ovseg_ros.core.words import By, Where

if TYPE_CHECKING:
    from ovseg_ros.core.space import Object3d

Vector = npt.NDArray[np.float64]

RIGHT, AWAY, UP = 0, 1, 2
BESIDE = 0.5
"""Left of a thing begins where the middles are this part of the distance apart at which both would touch."""
STRAIGHT = {RIGHT: 0.15, AWAY: 0.35}
"""Least cosine between where a thing is and the direction it should be in: to the side, and away. What is
far to the left and a little further away is not behind."""
NEARBY = 1.5
"""A gap of so many lengths of the longer of two things is near."""
LARGER = 1.05
"""From this ratio on one of two is the larger."""
_TINY = 1e-9


class View(ABC):
    """How things lie to one another. A fit is in [0, 1]: how well a relation tells it; 0: it does not hold.

    Attributes:
        decided_from: what it goes by.
        middles: (N, 3) to the right, away, up: metres, or pixels.
        halves: (N, 3) half the extent along each.
        heights: N, and so `widths`: of the things themselves.
        longest: N, the longest side.
        sizes: N, what "larger" compares.
    """

    decided_from: DecidedFrom
    middles: Vector
    halves: Vector
    heights: Vector
    widths: Vector
    longest: Vector
    sizes: Vector

    def fit(self, where: Where, thing: int, anchors: Sequence[int]) -> float:
        """How well a relation holds between a thing and one anchor, or two for BETWEEN."""
        first = anchors[0]
        if where is Where.BETWEEN:
            return self._between(thing, first, anchors[1])
        if where in _DIRECTIONS:
            axis, sign = _DIRECTIONS[where]
            return self._beside(thing, first, axis, sign)
        if where in _COMPARED:
            return self._compared(where, thing, first)
        if where is Where.NEAR:
            gap, size = self.gap(thing, first), max(self.longest[thing], self.longest[first])
            return 1 / (1 + gap / size) if gap <= NEARBY * size else 0.0
        return {
            Where.ON: self._on,
            Where.IN: self._in,
            Where.ABOVE: self._above,
            Where.BELOW: self._below,
        }[where](thing, first)

    def key(self, by: By, thing: int, anchor: int | None) -> float:
        """A number by which a row of things is ordered, the least first; `anchor` is for the distances."""
        if by in (By.NEAREST, By.FARTHEST):
            distance = self.distance(thing) if anchor is None else self.gap(thing, anchor)
            return distance if by is By.NEAREST else -distance
        if by in _ENDS:
            axis, sign = _ENDS[by]
            return sign * self.along(thing, axis)
        values, sign = {
            By.LARGEST: (self.sizes, -1),
            By.SMALLEST: (self.sizes, 1),
            By.TALLEST: (self.heights, -1),
            By.SHORTEST: (self.heights, 1),
            By.LONGEST: (self.longest, -1),
            By.WIDEST: (self.widths, -1),
            By.NARROWEST: (self.widths, 1),
        }[by]
        return float(sign * values[thing])

    def gap(self, a: int, b: int) -> float:
        """Between the boxes of two things, 0 where they meet."""
        apart = np.abs(self.middles[a] - self.middles[b]) - self.halves[a] - self.halves[b]
        return float(np.linalg.norm(np.maximum(apart, 0)))

    @abstractmethod
    def along(self, thing: int, axis: int) -> float:
        """Where it is in a row along an axis, as the viewer sees it."""

    @abstractmethod
    def distance(self, thing: int) -> float:
        """From the viewer."""

    @abstractmethod
    def _offset(self, thing: int, anchor: int, axis: int) -> tuple[float, float, float]:
        """How far the thing is from the anchor along an axis and across it, and where they would touch."""

    @abstractmethod
    def _share(self, thing: int, anchor: int) -> float:
        """Which part of the thing's ground, in [0, 1], is the anchor's too; in the image: of its width."""

    @abstractmethod
    def _on(self, thing: int, anchor: int) -> float: ...

    @abstractmethod
    def _in(self, thing: int, anchor: int) -> float: ...

    def _beside(self, thing: int, anchor: int, axis: int, sign: int) -> float:
        along, across, touching = self._offset(thing, anchor, axis)
        part = sign * along / max(touching, _TINY)
        if part < BESIDE:
            return 0.0
        straight = abs(along) / math.hypot(along, across)
        if straight < STRAIGHT[axis]:
            return 0.0
        beyond = max(abs(along) - touching, 0.0) / max(self.longest[thing], self.longest[anchor], _TINY)
        return float(min(part, 1.0) * (0.2 + 0.8 * straight) / (1 + 0.5 * beyond))

    def _between(self, thing: int, first: int, second: int) -> float:
        start, way = self.middles[first], self.middles[second] - self.middles[first]
        length = float(np.linalg.norm(way))
        if length < _TINY:
            return 0.0
        along = float((self.middles[thing] - start) @ way) / length**2
        aside = float(np.linalg.norm(self.middles[thing] - start - along * way)) / length
        if not 0.05 < along < 0.95 or aside > 0.5:
            return 0.0
        return (1 - aside) * (1 - abs(along - 0.5))

    def _compared(self, where: Where, thing: int, anchor: int) -> float:
        values = self.sizes if where in (Where.LARGER, Where.SMALLER) else self.heights
        ratio = (values[thing] + _TINY) / (values[anchor] + _TINY)
        ratio = ratio if where in (Where.LARGER, Where.TALLER) else 1 / ratio
        return float(1 - 1 / (1 + ratio)) if ratio >= LARGER else 0.0

    def _above(self, thing: int, anchor: int) -> float:
        clear = self._bottom(thing) - self._top(anchor)
        share = max(self._share(thing, anchor), self._share(anchor, thing))
        if clear < -self._slack(thing, anchor) or share < 0.25:
            return 0.0
        return float(share / (1 + max(clear, 0) / max(self.longest[thing], self.longest[anchor], _TINY)))

    def _below(self, thing: int, anchor: int) -> float:
        fit = self._above(anchor, thing)
        legs = self.heights[anchor] >= 2 * self.heights[thing]  # under a table that is seen with its legs
        if fit or not legs or self._top(thing) > self._top(anchor) - self.heights[thing]:
            return fit
        share = self._share(thing, anchor)
        return share if share >= 0.5 else 0.0

    def _slack(self, thing: int, anchor: int) -> float:
        """By how much what touches may be apart, or one in the other."""
        return float(0.15 * min(self.heights[thing], self.heights[anchor]))

    def _bottom(self, thing: int) -> float:
        return float(self.middles[thing, UP] - self.halves[thing, UP])

    def _top(self, thing: int) -> float:
        return float(self.middles[thing, UP] + self.halves[thing, UP])


class InSpace(View):
    """By depth. Metres."""

    decided_from: DecidedFrom = "depth"

    def __init__(self, solids: Sequence[Object3d]) -> None:
        """Puts things into the viewer's axes.

        Args:
            solids: at least one, in the camera's optical frame; up is where their boxes stand upright.
        """
        up = solids[0].rotation[:, 2]
        ahead = np.array([0.0, 0.0, 1.0])
        ahead = ahead - (ahead @ up) * up
        if np.linalg.norm(ahead) < 0.05:  # looking straight down or up: away is where the image's top is
            ahead = np.array([0.0, -1.0, 0.0]) + up[1] * up
        ahead /= np.linalg.norm(ahead)
        axes = np.stack([np.cross(ahead, up), ahead, up])  # (3,3) rows: right, away, up
        self.middles = np.array([axes @ solid.centre_m for solid in solids])
        self._turned = np.array([axes @ solid.rotation for solid in solids])
        sides = np.array([solid.size_m for solid in solids])
        self._half_sides = sides / 2
        self.halves = np.einsum("nij,nj->ni", np.abs(self._turned), self._half_sides)
        self.heights, self.widths = sides[:, 2], sides[:, :2].max(axis=1)
        self.longest, self.sizes = sides.max(axis=1), np.linalg.norm(sides, axis=1)
        self._distances = [solid.distance_m for solid in solids]

    def along(self, thing: int, axis: int) -> float:
        """As an angle to the right; metres away and up."""
        right, away, _ = self.middles[thing]
        return math.atan2(right, away) if axis == RIGHT else float(self.middles[thing, axis])

    def distance(self, thing: int) -> float:
        """From the camera to the middle of what is seen of it."""
        return float(self._distances[thing])

    def _offset(self, thing: int, anchor: int, axis: int) -> tuple[float, float, float]:
        sight = self.middles[anchor] * (1, 1, 0)
        length = float(np.linalg.norm(sight))
        away = sight / length if length > _TINY else np.array([0.0, 1.0, 0.0])
        right = np.array([away[AWAY], -away[RIGHT], 0.0])
        direction, other = (right, away) if axis == RIGHT else (away, right)
        apart = self.middles[thing] - self.middles[anchor]
        reach = [np.abs(direction @ self._turned[i]) @ self._half_sides[i] for i in (thing, anchor)]
        return float(apart @ direction), float(apart @ other), float(sum(reach)) + 0.01  # 1 cm: thin fronts

    def _share(self, thing: int, anchor: int) -> float:
        steps = np.linspace(-0.9, 0.9, 7)
        ground = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) * self._half_sides[thing, :2]
        points = ground @ self._turned[thing][:, :2].T + self.middles[thing] - self.middles[anchor]  # (49,3)
        inside = np.abs(points @ self._turned[anchor][:, :2]) <= self._half_sides[anchor, :2] + 0.005
        return float(inside.all(axis=1).mean())

    def _on(self, thing: int, anchor: int) -> float:
        share, slack = self._share(thing, anchor), self._slack(thing, anchor)
        rests = self._bottom(anchor) - slack <= self._bottom(thing) <= self._top(anchor) + slack
        higher = self.middles[thing, UP] > self.middles[anchor, UP]
        return share if share >= 0.5 and rests and higher else 0.0

    def _in(self, thing: int, anchor: int) -> float:
        share, slack = self._share(thing, anchor), self._slack(thing, anchor)
        within = self._bottom(anchor) - slack <= self._bottom(thing) <= self._top(anchor) + slack
        fits = self.widths[thing] <= 1.2 * self.widths[anchor]
        return share if share >= 0.6 and within and fits else 0.0

    def _slack(self, thing: int, anchor: int) -> float:
        # Depth of a few metres is good to about a centimetre per metre.
        return max(
            super()._slack(thing, anchor), 0.01, 0.01 * min(self._distances[thing], self._distances[anchor])
        )


class InImage(View):
    """By boxes in the image. Pixels; what is away is told by the lower edge."""

    decided_from: DecidedFrom = "image"

    def __init__(self, items: Sequence[Item]) -> None:
        """Takes the boxes of things."""
        boxes = np.array([item.box_xyxy for item in items], np.float64).reshape(-1, 4)
        middles, halves = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
        flat = np.zeros(len(boxes))
        self.middles = np.stack([middles[:, 0], flat, -middles[:, 1]], axis=1)
        self.halves = np.stack([halves[:, 0], flat, halves[:, 1]], axis=1)
        self.widths, self.heights = 2 * halves.T
        self.longest = np.maximum(self.widths, self.heights)
        self.sizes = np.hypot(self.widths, self.heights)

    def along(self, thing: int, axis: int) -> float:
        """In pixels, to the right and up; away from how far down the thing reaches."""
        return self._bottom(thing) if axis == AWAY else float(self.middles[thing, axis])

    def distance(self, thing: int) -> float:
        """Less for what reaches further down."""
        return self._bottom(thing)

    def _offset(self, thing: int, anchor: int, axis: int) -> tuple[float, float, float]:
        right = float(self.middles[thing, RIGHT] - self.middles[anchor, RIGHT])
        away = self._bottom(thing) - self._bottom(anchor)
        if axis == RIGHT:
            return right, away, float(self.halves[thing, RIGHT] + self.halves[anchor, RIGHT])
        return away, right, 0.2 * float(self.heights[thing] + self.heights[anchor])

    def _share(self, thing: int, anchor: int) -> float:
        apart = abs(self.middles[thing, RIGHT] - self.middles[anchor, RIGHT])
        common = min(
            self.halves[thing, RIGHT] + self.halves[anchor, RIGHT] - apart, 2 * self.halves[thing, RIGHT]
        )
        common = min(common, 2 * self.halves[anchor, RIGHT])
        return float(max(common, 0) / max(2 * self.halves[thing, RIGHT], _TINY))

    def _on(self, thing: int, anchor: int) -> float:
        share, top, height = self._share(thing, anchor), self._top(anchor), self.heights[anchor]
        deep = (top - self._bottom(thing)) / max(height, _TINY)  # 0 at the anchor's top, 1 at its lower edge
        rests = -0.1 <= deep <= 0.95 and self._top(thing) > self._bottom(anchor)
        higher = self.middles[thing, UP] > self.middles[anchor, UP]
        return share if share >= 0.5 and rests and higher else 0.0

    def _in(self, thing: int, anchor: int) -> float:
        share = self._share(thing, anchor)
        low = max(self._bottom(thing), self._bottom(anchor))
        rows = (min(self._top(thing), self._top(anchor)) - low) / max(self.heights[thing], _TINY)
        fits = self.widths[thing] <= 1.2 * self.widths[anchor]
        return share * rows if share >= 0.6 and rows >= 0.4 and fits else 0.0


_DIRECTIONS = {
    Where.LEFT: (RIGHT, -1),
    Where.RIGHT: (RIGHT, 1),
    Where.IN_FRONT: (AWAY, -1),
    Where.BEHIND: (AWAY, 1),
}
_ENDS = {
    By.LEFT: (RIGHT, 1),
    By.RIGHT: (RIGHT, -1),
    By.FRONT: (AWAY, 1),
    By.BACK: (AWAY, -1),
    By.BOTTOM: (UP, 1),
    By.TOP: (UP, -1),
}
_COMPARED = frozenset({Where.LARGER, Where.SMALLER, Where.TALLER, Where.SHORTER})
