"""What to give up, frame by frame, so that a rate is held; and what was given up, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.errors import ConfigError

GRID_PARTS = (1.0, 0.75, 0.5, 0.375, 0.25)  # of the full grid's points per side, the levels of giving up
LEAST_POINTS = 4
SPARE = 0.1  # of the period: what stays free for the unforeseen
ROOM_TO_RETURN = 0.25  # of the period must be free before something is given back: no to and fro
PATIENCE = 5  # frames in a row that must say the same before the grid changes
WEIGHT = 0.3  # of the newest measurement


@dataclass(frozen=True)
class FrameCost:
    """What one frame took.

    Attributes:
        propose_s: seconds of proposing masks.
        encode_s: seconds of cropping and encoding.
        other_s: seconds of all the rest: decoding, labelling, messages.
        encoded: masks that were encoded.
        waiting: masks that have no embedding yet because the budget left them out.
    """

    propose_s: float
    encode_s: float
    other_s: float
    encoded: int
    waiting: int = 0


class Deadline:
    """Holds a period by limiting new embeddings first and the grid of prompts second.

    New embeddings per frame follow at once from their price and the time there is; at least one is granted.
    Only where that is not enough, five frames in a row, does the grid go down a step, and it comes back
    first. What the step up would cost is known from the step down: how many times less a frame took after it.
    No clock and no thread: feed it with `observe` after each frame and ask for the next frame's `budget`.
    """

    def __init__(self, period_s: float, points_per_side: int | None = None) -> None:
        """Nothing is given up yet.

        Args:
            period_s: seconds one frame may take.
            points_per_side: of the full grid; None where proposals have no grid to lower.

        Raises:
            ConfigError: a period that is not above 0, or a grid without points.
        """
        if not 0 < period_s < math.inf:
            raise ConfigError(f"expected a period above 0 s, got {period_s}")
        if points_per_side is not None and points_per_side < 1:
            raise ConfigError(f"expected points_per_side at least 1, got {points_per_side}")
        self.period_s = period_s
        self._levels = _levels(points_per_side)
        self._level = 0
        self._propose_s: float | None = None  # at this level
        self._left_s: float | None = None  # at the level that was just left
        self._savings: list[float] = []  # by level: how many times less the next one costs
        self._each_s: float | None = None  # price of one embedding
        self._other_s: float | None = None
        self._limit: int | None = None  # of new embeddings
        self._pressed, self._relaxed = 0, 0  # frames in a row
        self._last: FrameCost | None = None

    def budget(self) -> Budget:
        """The limits for the next frame."""
        return Budget(new_embeddings=self._limit, points_per_side=self._points if self._level else None)

    def observe(self, cost: FrameCost) -> None:
        """Takes what the last frame cost under the last `budget`."""
        self._last = cost
        if self._left_s is None:
            self._propose_s = _mixed(self._propose_s, cost.propose_s)
        else:  # the first frame at another level
            if len(self._savings) < self._level:
                self._savings.append(self._saving(self._left_s / max(cost.propose_s, 1e-9)))
            self._propose_s, self._left_s = cost.propose_s, None
        if cost.encoded:
            self._each_s = _mixed(self._each_s, cost.encode_s / cost.encoded)
        self._other_s = _mixed(self._other_s, cost.other_s)
        self._choose_level()
        self._choose_limit()

    @property
    def gave_up(self) -> list[str]:
        """What the last frame went without, one sentence each; empty: nothing."""
        said = []
        last = self._last
        if last is not None and self._limit is not None and (last.waiting or last.encoded >= self._limit):
            waiting = f", {last.waiting} masks wait for theirs" if last.waiting else ""
            said.append(f"at most {self._limit} new embeddings per frame{waiting}")
        if self._level:
            said.append(f"{self._points} instead of {self._levels[0]} points per side")
        if not self.holds:
            least_s = self._expected_s(1)
            said.append(f"{1 / self.period_s:.1f} Hz itself: a frame takes at least {least_s:.3f} s")
        return said

    @property
    def holds(self) -> bool:
        """False where all that can be given up is, and a frame takes longer than the period all the same."""
        at_the_end = self._level == len(self._levels) - 1
        return not (at_the_end and self._expected_s(1) > self.period_s)

    @property
    def _points(self) -> int | None:
        return self._levels[self._level]

    def _expected_s(self, embeddings: int, dearer: float = 1.0) -> float:
        """Seconds a frame would take, at a level of the grid that is so many times dearer than this one."""
        return (self._propose_s or 0) * dearer + (self._other_s or 0) + embeddings * (self._each_s or 0)

    def _saving(self, measured: float) -> float:
        """How many times less this level costs than the one above: no more than it has fewer points."""
        above, here = self._levels[self._level - 1], self._points
        return min(max(measured, 1.0), (above / here) ** 2) if above and here else 1.0

    def _choose_level(self) -> None:
        """One level down where not even one embedding fits, one up where there is ample room."""
        pressed = self._expected_s(1) > (1 - SPARE) * self.period_s
        relaxed = self._level > 0 and (
            self._expected_s(1, self._savings[-1]) < (1 - ROOM_TO_RETURN) * self.period_s
        )
        self._pressed = self._pressed + 1 if pressed else 0
        self._relaxed = self._relaxed + 1 if relaxed else 0
        if self._pressed >= PATIENCE and self._level + 1 < len(self._levels):
            self._change_level(self._level + 1)
        elif self._relaxed >= PATIENCE:
            self._change_level(self._level - 1, self._savings.pop())

    def _change_level(self, level: int, dearer: float = 1.0) -> None:
        self._left_s = self._propose_s or 0.0
        self._level, self._propose_s = level, self._left_s * dearer
        self._pressed = self._relaxed = 0

    def _choose_limit(self) -> None:
        """As many embeddings as fit: fewer at once, more bit by bit."""
        if not self._each_s:
            return
        room_s = (1 - SPARE) * self.period_s - self._expected_s(0)
        fitting = max(int(room_s / self._each_s), 1)
        if self._limit is not None and fitting > self._limit:
            fitting = self._limit + max((fitting - self._limit) // 4, 1)
        self._limit = fitting


def _levels(points_per_side: int | None) -> list[int | None]:
    """The grids from full to coarsest, each one smaller than the one before."""
    if points_per_side is None:
        return [None]
    levels: list[int | None] = [points_per_side]
    for part in GRID_PARTS[1:]:
        points = max(round(part * points_per_side), min(LEAST_POINTS, points_per_side))
        if points < (levels[-1] or 0):
            levels.append(points)
    return levels


def _mixed(old: float | None, new: float) -> float:
    return new if old is None else (1 - WEIGHT) * old + WEIGHT * new
