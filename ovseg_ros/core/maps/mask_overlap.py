"""How much many masks share with many others, counted where their boxes meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.errors import InvalidInputError

_COUNTED_PER_CODED = 4  # a pixel is counted for so many pairs before run lengths are cheaper


DenseMasks = torch.Tensor | npt.NDArray[np.bool_]
"""(N, H, W) bool, on the CPU."""


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


def boxed_masks(masks: DenseMasks) -> list[BoxedMask]:
    """Cuts masks to their boxes; copies, so that the frame's may be let go.

    Args:
        masks: (N, H, W) bool, on the CPU.

    Raises:
        InvalidInputError: another shape or type.
    """
    whole = masks.numpy() if isinstance(masks, torch.Tensor) else masks
    if whole.ndim != 3 or whole.dtype != np.bool_:
        raise InvalidInputError(f"expected masks (N,H,W) bool, got {whole.shape} {whole.dtype}")
    boxes = mask_boxes(torch.from_numpy(whole))[0].tolist()
    crops = [mask[y0:y1, x0:x1].copy() for mask, (x0, y0, x1, y1) in zip(whole, boxes, strict=True)]
    return [
        BoxedMask(crop, box[0], box[1], int(np.count_nonzero(crop)))
        for crop, box in zip(crops, boxes, strict=True)
    ]


def mask_iou(
    ours: Sequence[BoxedMask] | DenseMasks, theirs: Sequence[BoxedMask] | DenseMasks, *, least: float = 0.0
) -> npt.NDArray[np.float64]:
    """IoU = |A ∩ B| / |A ∪ B| of every mask with every other, exact.

    Pairs whose boxes meet are counted there, or, where those are so many that it is cheaper, in run lengths.

    Args:
        ours: N masks, cut to their boxes or (N, H, W) bool; any may be empty.
        theirs: M masks, in the same image.
        least: below it an IoU may be given as 0: pairs that cannot reach it are not looked at.

    Returns:
        (N, M) in [0, 1]; 0 where either mask is empty.

    Raises:
        InvalidInputError: arrays of another shape or type, or of two image sizes.
    """
    sizes = {masks.shape[1:] for masks in (ours, theirs) if isinstance(masks, torch.Tensor | np.ndarray)}
    if len(sizes) > 1:
        raise InvalidInputError(f"expected masks of one size, got {sorted(map(tuple, sizes))}")
    ours, theirs = (
        boxed_masks(masks) if isinstance(masks, torch.Tensor | np.ndarray) else masks
        for masks in (ours, theirs)
    )
    iou = np.zeros((len(ours), len(theirs)))
    rows, columns, meeting = _meeting_boxes(ours, theirs)
    areas, other_areas = (np.array([mask.area for mask in masks], np.int64) for masks in (ours, theirs))
    total = areas[rows] + other_areas[columns]  # (P,)
    most = np.minimum(meeting, np.minimum(areas[rows], other_areas[columns]))  # (P,) pixels they may share
    near = most >= least * (total - most) * (1 - 1e-12)  # the margin is for rounding
    rows, columns, meeting, total = rows[near], columns[near], meeting[near], total[near]
    if len(rows):
        height, width = (max(mask.box_xyxy[side] for mask in (*ours, *theirs)) for side in (3, 2))
        coded = (len(ours) + len(theirs)) * height * width
        if int(meeting.sum()) > _COUNTED_PER_CODED * coded:
            return _run_length_iou(ours, theirs, height, width)
        pairs = zip(rows.tolist(), columns.tolist(), strict=True)
        shared = np.array([_shared(ours[i], theirs[j]) for i, j in pairs])
        iou[rows, columns] = shared / (total - shared)
    return iou


def shared_pixels(masks: Sequence[BoxedMask], *, least: float = 0.0) -> npt.NDArray[np.int64]:
    """|A ∩ B| of every two masks of one set, exact.

    Args:
        masks: N of them, in the same image; any may be empty.
        least: a pair that cannot share this part of its smaller mask may be given as 0; not looked at then.

    Returns:
        (N, N) pixels, symmetric, with the areas along the diagonal.
    """
    areas = np.array([mask.area for mask in masks], np.int64)
    shared = np.diag(areas)
    rows, columns, meeting = _meeting_boxes(masks, masks)
    smaller = np.minimum(areas[rows], areas[columns])
    near = (rows < columns) & (np.minimum(meeting, smaller) >= least * smaller * (1 - 1e-12))
    rows, columns, meeting = rows[near], columns[near], meeting[near]
    if not len(rows):
        return shared
    height, width = (max(mask.box_xyxy[side] for mask in masks) for side in (3, 2))
    if int(meeting.sum()) > _COUNTED_PER_CODED * len(masks) * height * width:
        share = _run_length_iou(masks, masks, height, width, of_first=True)
        return np.rint(share * areas[:, None]).astype(np.int64)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    counts = np.array([_shared(masks[i], masks[j]) for i, j in pairs], np.int64)
    shared[rows, columns] = shared[columns, rows] = counts
    return shared


def _meeting_boxes(
    ours: Sequence[BoxedMask], theirs: Sequence[BoxedMask]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The P pairs whose boxes have a pixel in common: (P,) index in each set, and (P,) how many pixels."""
    a, b = (
        np.array([mask.box_xyxy for mask in masks], np.int32).reshape(-1, 4).T for masks in (ours, theirs)
    )
    widths, heights = (
        np.minimum(a[side + 2][:, None], b[side + 2]) - np.maximum(a[side][:, None], b[side])
        for side in (0, 1)
    )  # (N,M)
    rows, columns = np.nonzero((widths > 0) & (heights > 0))
    return rows, columns, widths[rows, columns].astype(np.int64) * heights[rows, columns]


def _shared(one: BoxedMask, other: BoxedMask) -> int:
    """Pixels that two masks whose boxes meet have in common."""
    left, top = max(one.x, other.x), max(one.y, other.y)
    right = min(one.x + one.crop.shape[1], other.x + other.crop.shape[1])
    bottom = min(one.y + one.crop.shape[0], other.y + other.crop.shape[0])
    a = one.crop[top - one.y : bottom - one.y, left - one.x : right - one.x]
    b = other.crop[top - other.y : bottom - other.y, left - other.x : right - other.x]
    return cv2.countNonZero(cv2.bitwise_and(a.view(np.uint8), b.view(np.uint8)))


def _run_length_iou(
    ours: Sequence[BoxedMask],
    theirs: Sequence[BoxedMask],
    height: int,
    width: int,
    *,
    of_first: bool = False,
) -> npt.NDArray[np.float64]:
    """`mask_iou` by COCO's run lengths, whose price does not follow the size of the boxes.

    With `of_first` (N, M) |A ∩ B| / |A| instead, what COCO does for a crowd.
    """
    from pycocotools import mask as coco

    canvas = np.zeros((height, width), np.uint8, order="F")

    def encoded(masks: Sequence[BoxedMask]) -> list[object]:
        runs = []
        for mask in masks:
            x0, y0, x1, y1 = mask.box_xyxy
            canvas[y0:y1, x0:x1] = mask.crop
            runs.append(coco.encode(canvas))
            canvas[y0:y1, x0:x1] = 0
        return runs

    return np.asarray(coco.iou(encoded(ours), encoded(theirs), [of_first] * len(theirs)), np.float64)
