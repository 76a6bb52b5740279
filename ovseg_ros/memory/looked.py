"""Which places were looked at before: what stands where an earlier look saw nothing has come there."""

from __future__ import annotations

import numpy as np

from ovseg_ros.core.space import Rigid
from ovseg_ros.memory.entry import Floats
from ovseg_ros.memory.sighting import View

_CELL_M = 0.25
_ROWS = 32  # of depth that are looked at, so that a view costs less than a millisecond
_FARTHEST_M = 4.0
_ANOTHER_LOOK_S = 10.0  # a place out of view for so long is looked at anew
_MOST_CELLS = 200_000


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
        rows, columns = np.nonzero((depth > 0) & (depth < _FARTHEST_M))  # NaN is neither
        away, k = depth[rows, columns], view.intrinsics
        points = np.stack(
            [(columns * step - k.cx) / k.fx * away, (rows * step - k.cy) / k.fy * away, away], axis=1
        )
        camera: Rigid = view.camera
        cells = np.unique(np.floor(camera.of_points(points) / _CELL_M).astype(np.int64), axis=0)
        return [(i, j, k) for i, j, k in cells.tolist()]
