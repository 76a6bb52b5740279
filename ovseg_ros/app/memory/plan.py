"""What a top view shows, in metres: which way is up, outlines of boxes seen from above, extent and grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry

Points = npt.NDArray[np.float64]

# Which axis is up -> those that point to the right and away on the paper, so that it is seen from above.
_PAPER = {
    (2, 1): ((0, 1), (1, 1)),
    (2, -1): ((0, 1), (1, -1)),
    (1, -1): ((0, 1), (2, 1)),
    (1, 1): ((0, 1), (2, -1)),
    (0, 1): ((1, 1), (2, 1)),
    (0, -1): ((1, 1), (2, -1)),
}
_STEPS_M = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_MOST_SQUARES = 12
_LEAST_SIDE_M = 0.6
_MARGIN = 0.1  # of the longer side, around all boxes
_MOST_ASPECT = 1.6
_ORIGIN_NEAR = 0.35  # of the longer side: the frame's origin is drawn where it is so near


@dataclass(frozen=True)
class Paper:
    """How a frame lies on the paper.

    Attributes:
        right: (axis 0…2, sign) of the frame that points to the right.
        away: the one that points upwards on the paper.
    """

    right: tuple[int, int]
    away: tuple[int, int]

    def flat(self, points: Points) -> Points:
        """(…, 3) metres as (…, 2) of the two axes, in the frame's own numbers."""
        flat: Points = points[..., [self.right[0], self.away[0]]]
        return flat


def paper_of(entries: Sequence[Entry]) -> Paper:
    """The frame's axis that is up by the boxes, which are upright: z of a map, -y of a camera."""
    ups = Rotation.from_quat([entry.orientation for entry in entries]).apply([0.0, 0.0, 1.0])
    up = ups.mean(axis=0)
    axis = 2 if np.abs(up).max() < 0.5 else int(np.abs(up).argmax())
    return Paper(*_PAPER[axis, -1 if up[axis] < 0 and np.abs(up).max() >= 0.5 else 1])


def outline(entry: Entry, paper: Paper) -> Points:
    """(P, 2) corners of its box seen from above, in order around it."""
    signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
    corners = entry.position + Rotation.from_quat(entry.orientation).apply(signs * entry.size)
    flat = paper.flat(corners)
    try:
        return flat[ConvexHull(flat).vertices]
    except QhullError:  # as thin as a line
        return flat[[flat[:, 0].argmin(), flat[:, 0].argmax()]]


def extent_of(outlines: Sequence[Points]) -> tuple[Points, bool]:
    """[[left, low], [right, high]] metres around all outlines, and whether the frame's origin is in it."""
    points = np.concatenate(outlines)
    low, high = points.min(axis=0), points.max(axis=0)
    side = max(float((high - low).max()), _LEAST_SIDE_M)
    with_origin = bool((np.maximum(np.maximum(low, -high), 0.0) <= _ORIGIN_NEAR * side).all())
    if with_origin:
        low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    side = max(float((high - low).max()), _LEAST_SIDE_M) * (1 + 2 * _MARGIN)
    sides = np.clip((high - low) + 2 * _MARGIN * side, side / _MOST_ASPECT, side)
    middle = (low + high) / 2
    return np.stack([middle - sides / 2, middle + sides / 2]), with_origin


def grid_step(extent: Points) -> float:
    """Metres between two lines of the grid."""
    side = float((extent[1] - extent[0]).max())
    return next((step for step in _STEPS_M if side / step <= _MOST_SQUARES), _STEPS_M[-1])
