"""IoU of many masks with many others that may have moved, in time that follows the pixels they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix

from ovseg_ros.core.regions import mask_boxes

_SAMPLES = 300_000  # pixels of all masks together that are counted; with more, every s-th row and column is
_FEW = 64  # a mask with fewer counted pixels is compared pixel by pixel
_MOST_PAIRS = 50_000  # but no more pairs than so many
_FEW_PAIRS = 500  # so few pairs are simply compared one by one
_DENSE_CELLS = 20_000_000  # largest (N, P) matrix of counted pixels that is multiplied densely
_SPARSE_COST = 40  # what a step of the sparse product costs, in steps of the dense one

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class BoxedMask:
    """A mask cut to its box.

    Attributes:
        crop: (h, w) bool, the pixels within the box; (0, 0) for an empty mask.
        x: left column of the box in the image.
        y: top row of the box in the image.
        area: pixels of the mask.
    """

    crop: npt.NDArray[np.bool_]
    x: int
    y: int
    area: int

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 in pixels, the last two exclusive."""
        return self.x, self.y, self.x + self.crop.shape[1], self.y + self.crop.shape[0]

    @property
    def centre_xy(self) -> tuple[float, float]:
        """Middle of the box in pixels."""
        return self.x + self.crop.shape[1] / 2, self.y + self.crop.shape[0] / 2

    def shifted(self, dx: int, dy: int, height: int, width: int) -> BoxedMask:
        """Moved by whole pixels; what leaves the image of height x width is cut off."""
        x, y = self.x + dx, self.y + dy
        top, left = max(-y, 0), max(-x, 0)
        crop = self.crop[top : max(height - y, 0), left : max(width - x, 0)]
        if crop.shape == self.crop.shape:
            return BoxedMask(crop, x, y, self.area)
        if crop.size == 0:
            return BoxedMask(np.zeros((0, 0), bool), max(x, 0), max(y, 0), 0)
        return BoxedMask(crop, x + left, y + top, int(np.count_nonzero(crop)))


def boxed_masks(masks: torch.Tensor) -> list[BoxedMask]:
    """Cuts masks (N, H, W) bool on the CPU to their boxes; copies, so that the frame's may be let go."""
    boxes = mask_boxes(masks)[0].tolist()
    whole = masks.numpy()
    out = []
    for mask, (x0, y0, x1, y1) in zip(whole, boxes, strict=True):
        crop = mask[y0:y1, x0:x1].copy()
        out.append(BoxedMask(crop, x0, y0, int(np.count_nonzero(crop))))
    return out


def mask_iou(ours: Sequence[BoxedMask], theirs: Sequence[BoxedMask]) -> npt.NDArray[np.float32]:
    """IoU of every mask with every other.

    Exact while at most 500 pairs have boxes that overlap, or all masks together hold at most 300,000
    pixels. With more, every s-th row and column is looked at, s as small as may be, and masks that this
    leaves with fewer than 64 pixels are compared in full, up to 50,000 pairs of them: then it is within 0.1
    of the exact value for a hundred compact masks, and within 0.15 for thousands (tests).

    Args:
        ours: N masks; any may be empty.
        theirs: M masks, in the same image.

    Returns:
        (N, M) float32 in [0, 1]; 0 where either mask is empty.
    """
    iou = np.zeros((len(ours), len(theirs)), np.float32)
    if not ours or not theirs:
        return iou
    near = _boxes_overlap(ours, theirs)
    if int(near.sum()) <= _FEW_PAIRS:
        return _count_pairs(iou, near, ours, theirs)
    both = [*ours, *theirs]
    step = max(1, int(np.ceil(np.sqrt(sum(mask.area for mask in both) / _SAMPLES))))
    width = -(-max(mask.box_xyxy[2] for mask in both) // step)
    height = -(-max(mask.box_xyxy[3] for mask in both) // step)
    first, second = (_cells(masks, step, width, max(width * height, 1)) for masks in (ours, theirs))
    shared = _product(first, second)
    areas, other_areas = (np.diff(cells.indptr)[:, None].astype(np.float32) for cells in (first, second))
    union = areas + other_areas.T - shared
    np.divide(shared, union, out=iou, where=union > 0)
    if step > 1:
        smaller, larger = np.minimum(areas, other_areas.T), np.maximum(areas, other_areas.T)
        few = near & (smaller < _FEW) & (larger <= 8 * smaller + _FEW)  # else it is near 0 in any case
        if int(few.sum()) <= _MOST_PAIRS:
            _count_pairs(iou, few, ours, theirs)
    return iou


def _boxes_overlap(ours: Sequence[BoxedMask], theirs: Sequence[BoxedMask]) -> npt.NDArray[np.bool_]:
    """(N, M): which boxes have a pixel in common."""
    a, b = (np.array([mask.box_xyxy for mask in masks], np.int64) for masks in (ours, theirs))
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray((low < high).all(axis=2), dtype=np.bool_)


def _count_pairs(
    iou: npt.NDArray[np.float32],
    pairs: npt.NDArray[np.bool_],
    ours: Sequence[BoxedMask],
    theirs: Sequence[BoxedMask],
) -> npt.NDArray[np.float32]:
    """Sets iou (N, M) to the exact values where pairs (N, M) says so, and returns it."""
    for i, j in zip(*np.nonzero(pairs), strict=True):
        iou[i, j] = pair_iou(ours[i], theirs[j])
    return iou


def _cells(masks: Sequence[BoxedMask], step: int, width: int, cells: int) -> csr_matrix:
    """(N, P) float32 ones where a mask holds a pixel whose row and column are multiples of `step`."""
    columns: list[IntArray] = []
    for mask in masks:
        top, left = -mask.y % step, -mask.x % step
        rows, cols = np.nonzero(mask.crop[top::step, left::step])
        columns.append((rows + (mask.y + top) // step) * width + cols + (mask.x + left) // step)
    ends = np.concatenate([[0], np.cumsum([len(part) for part in columns])])
    indices = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    return csr_matrix((np.ones(len(indices), np.float32), indices, ends), shape=(len(masks), cells))


def _product(first: csr_matrix, second: csr_matrix) -> npt.NDArray[np.float32]:
    """(N, M) float32 counts of common pixels.

    By whichever product is cheaper: masks that cover everything are dense, a thousand small ones sparse.
    """
    cells = first.shape[1]
    per_cell = [np.bincount(part.indices, minlength=cells).astype(np.float64) for part in (first, second)]
    dense_cost = float(first.shape[0]) * second.shape[0] * cells
    fits = max(first.shape[0], second.shape[0]) * cells <= _DENSE_CELLS
    if fits and float(per_cell[0] @ per_cell[1]) * _SPARSE_COST > dense_cost:
        shared: npt.NDArray[np.float32] = first.toarray() @ second.toarray().T
    else:
        shared = (first @ second.T).toarray()
    return shared


def pair_iou(one: BoxedMask, other: BoxedMask) -> float:
    """IoU of two masks, pixel by pixel; 0.0 where either is empty."""
    x0, y0, x1, y1 = one.box_xyxy
    u0, v0, u1, v1 = other.box_xyxy
    left, top, right, bottom = max(x0, u0), max(y0, v0), min(x1, u1), min(y1, v1)
    if left >= right or top >= bottom:
        return 0.0
    a = one.crop[top - y0 : bottom - y0, left - x0 : right - x0]
    b = other.crop[top - v0 : bottom - v0, left - u0 : right - u0]
    shared = int(np.count_nonzero(a & b))
    return shared / (one.area + other.area - shared) if shared else 0.0
