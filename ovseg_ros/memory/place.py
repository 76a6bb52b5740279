"""Which places were looked at, and whether one where a thing was is free: depth sees through its surface."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from ovseg_ros.core.space import Rigid, axial_noise_m
from ovseg_ros.memory.entry import Entry, Floats
from ovseg_ros.memory.sighting import View

_NEAREST_M, _FARTHEST_M = 0.15, 5.0  # depth cameras say nothing nearer, and little that helps farther away
_LEAST_GAP_M = 0.012  # what is so little behind the surface is the surface
_NOISES = 4.0
_LEAST_POINTS = 8
_IN_VIEW = 0.5  # of the surface must be in view to tell anything
_FREE = 0.6  # of what is not hidden must be seen through
_CELL_M = 0.25
_ROWS = 32  # of depth that are looked at, so that a view costs less than a millisecond
_FARTHEST_LOOKED_M = 4.0
_ANOTHER_LOOK_S = 10.0  # a place out of view for so long is looked at anew
_MOST_CELLS = 200_000


class Place(Enum):
    """What a view says about where a thing was."""

    NOT_SEEN = "not seen"
    TAKEN = "taken"
    FREE = "free"


@dataclass(frozen=True)
class Seen:
    """Points of a surface by what depth says of them.

    Attributes:
        through: depth goes on behind them.
        there: there is something where they were.
        hidden: something is before them.
        unknown: in the image, without a depth.
    """

    through: int
    there: int
    hidden: int
    unknown: int


def look_at(entry: Entry, view: View) -> Place:
    """What a view says about the place of a thing that was not recognised in it.

    Only what would be seen if the thing were there counts: points behind something nearer say nothing.
    """
    count = len(entry.surface)
    if count < _LEAST_POINTS or entry.frame_id != view.frame_id:
        return Place.NOT_SEEN
    seen = points_seen(entry, view)
    told = seen.through + seen.there
    if told < max(_LEAST_POINTS, _IN_VIEW * count):
        return Place.NOT_SEEN
    return Place.FREE if seen.through >= _FREE * told else Place.TAKEN


def points_seen(entry: Entry, view: View) -> Seen:
    """How many points of a thing's surface a view sees through, and how many not."""
    pixels, away = view.pixels_of(entry.position + entry.surface)
    height, width = view.depth_m.shape
    inside = (away > _NEAREST_M) & (away < _FARTHEST_M)
    inside &= (pixels > -0.5).all(axis=1) & (pixels[:, 0] < width - 0.5) & (pixels[:, 1] < height - 0.5)
    columns, rows = np.rint(pixels[inside]).astype(np.intp).T
    depth, away = view.depth_m[rows, columns], away[inside]
    known = np.isfinite(depth) & (depth > 0)
    behind = depth[known] - away[known]
    limit = np.maximum(_LEAST_GAP_M, _NOISES * axial_noise_m(away[known].astype(np.float32)))
    through, hidden = int((behind > limit).sum()), int((behind < -limit).sum())
    return Seen(through, int(known.sum()) - through - hidden, hidden, int((~known).sum()))


class LookedAt:
    """Places by cubes of 25 cm, and how many looks they had. Not stored."""

    def __init__(self) -> None:
        """Nowhere."""
        self._cells: dict[tuple[str, int, int, int], tuple[float, int]] = {}  # last time, looks

    def note(self, view: View) -> None:
        """Takes what a view shows."""
        for i, j, k in self._surfaces(view):
            cell = (view.frame_id, i, j, k)
            last, looks = self._cells.pop(cell, (view.stamp, 1))
            self._cells[cell] = view.stamp, looks + (view.stamp - last > _ANOTHER_LOOK_S)
        while len(self._cells) > _MOST_CELLS:  # those not seen for longest are first
            del self._cells[next(iter(self._cells))]

    def looks(self, frame_id: str, position: Floats) -> int:
        """How many looks a place had, the one now included, by what stood there or was below it."""
        i, j, k = (int(value) for value in np.floor(position / _CELL_M))
        return max(self._cells.get((frame_id, i, j, low), (0.0, 0))[1] for low in (k, k - 1))

    def _surfaces(self, view: View) -> list[tuple[int, int, int]]:
        step = max(view.depth_m.shape[0] // _ROWS, 1)
        depth = view.depth_m[::step, ::step].astype(np.float64)
        rows, columns = np.nonzero((depth > 0) & (depth < _FARTHEST_LOOKED_M))  # NaN is neither
        away, k = depth[rows, columns], view.intrinsics
        points = np.stack(
            [(columns * step - k.cx) / k.fx * away, (rows * step - k.cy) / k.fy * away, away], axis=1
        )
        camera: Rigid = view.camera
        cells = np.unique(np.floor(camera.of_points(points) / _CELL_M).astype(np.int64), axis=0)
        return [(i, j, k) for i, j, k in cells.tolist()]
