"""The outline of a table seen from straight above, and what stands over it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_PART = 0.1  # of the largest part's pixels: smaller parts of the plane are specks and draw no outline
_FINEST_M = 0.005  # side of a cell of the map
_CELLS = 400  # of the map's longer side, at most


def over_outline(feet: FloatArray, on_plane: BoolArray, overhang_m: float) -> BoolArray:
    """Which points are over the convex outline of the table, widened by `overhang_m`.

    The outline is drawn on a map of cells of 5 mm or more, and is exact to a cell.

    Args:
        feet: (H, W, 2) metres on the plane, from `Plane.feet`.
        on_plane: (H, W), the table's own pixels.
        overhang_m: >= 0.

    Returns:
        (H, W); all of them where the table shows less than three pixels.
    """
    _, parts = cv2.connectedComponents(on_plane.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    areas = np.bincount(parts.reshape(-1))
    areas[0] = 0
    table = (areas > _PART * areas.max())[parts]
    along, across = np.ascontiguousarray(feet[..., 0]), np.ascontiguousarray(feet[..., 1])
    corners = np.stack([along[table], across[table]])  # (2, M), x before y
    if corners.shape[1] < 3:
        return np.ones(on_plane.shape, bool)
    margin = overhang_m + 0.05
    low, high = corners.min(axis=1) - margin, corners.max(axis=1) + margin
    cell = np.float32(max(_FINEST_M, float((high - low).max()) / _CELLS))
    width, height = (np.ceil((high - low) / cell).astype(int) + 1).tolist()
    columns, rows = ((corners - low[:, None]) / cell).astype(np.int32)
    occupied = np.zeros((height, width), bool)
    occupied[rows, columns] = True
    hull = cv2.convexHull(_row_ends(occupied))
    outline = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(outline, hull, 1)
    if overhang_m > 0:  # a round pen along the edge reaches half its width to either side
        cv2.polylines(outline, [hull], True, 1, thickness=2 * int(np.ceil(overhang_m / cell)))
    to_columns, to_rows = (
        (side - start) / cell - np.float32(0.5) for side, start in zip((along, across), low)
    )
    over = cv2.remap(outline, to_columns, to_rows, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT)
    return over.view(bool)


def _row_ends(occupied: BoolArray) -> npt.NDArray[np.int32]:
    """(M, 2) x, y of the first and the last cell of every row: no other can be a corner of the hull."""
    rows = np.flatnonzero(occupied.any(axis=1))
    first = occupied[rows].argmax(axis=1)
    last = occupied.shape[1] - 1 - occupied[rows, ::-1].argmax(axis=1)
    return np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.int32)
