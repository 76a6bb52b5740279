"""How well masks without names fit true things: found, merged, split, extra. Numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError

DECENT_IOU = 0.7
"""From this IoU on a mask is good enough to name and to grasp by."""

_MERGED_SHARE = 0.5
_INSIDE_SHARE, _PART_SHARE = 0.7, 0.1
_EXTRA_SHARE = 0.5


@dataclass(frozen=True)
class MaskCounts:
    """What was counted on one frame, or on several.

    Attributes:
        best_iou: (G,) per true thing the best IoU of any mask with it.
        masks: how many were proposed.
        merged: masks that cover at least half of each of two things or more.
        split: things in which two masks or more lie, each with 70 % of itself and over 10 % of the thing.
        extra: masks of which less than half is on things.
    """

    best_iou: npt.NDArray[np.float64]
    masks: int
    merged: int
    split: int
    extra: int

    @property
    def mean_iou(self) -> float:
        """Of the best IoUs; NaN without things."""
        return float(self.best_iou.mean()) if len(self.best_iou) else float("nan")

    @property
    def decent(self) -> int:
        """Things with a mask of `DECENT_IOU` or better."""
        return int((self.best_iou >= DECENT_IOU).sum())


def count_masks(
    masks: npt.NDArray[np.bool_],
    things: npt.NDArray[np.bool_],
    ignored: npt.NDArray[np.bool_] | None = None,
) -> MaskCounts:
    """Compares the masks of one frame with its true things.

    Args:
        masks: (N, H, W) proposed, N >= 0.
        things: (G, H, W) true, G >= 0, none empty; they may overlap.
        ignored: (H, W) where nobody says what is there: a mask mostly on it counts as no extra. None:
            nowhere.

    Returns:
        The counts; without masks every best IoU is 0.

    Raises:
        InvalidInputError: masks and things are of two image sizes, or a thing is empty.
    """
    if masks.shape[1:] != things.shape[1:]:
        raise InvalidInputError(
            f"expected masks of the truth's size {things.shape[1:]}, got {masks.shape[1:]}"
        )
    pixels = masks.shape[1] * masks.shape[2]
    ours = masks.reshape(len(masks), pixels).astype(np.float32)
    theirs = things.reshape(len(things), pixels).astype(np.float32)
    shared = (ours @ theirs.T).astype(np.float64)  # (N, G) pixels
    areas, sizes = ours.sum(axis=1, dtype=np.float64), theirs.sum(axis=1, dtype=np.float64)
    if not sizes.all():
        raise InvalidInputError("expected true things of one pixel or more, got an empty one; leave it out")
    iou = shared / (areas[:, None] + sizes - shared)
    claimed = things.any(axis=0) if ignored is None else things.any(axis=0) | ignored
    on_things = ours @ claimed.reshape(-1).astype(np.float32)
    part = (shared >= _INSIDE_SHARE * areas[:, None]) & (shared > _PART_SHARE * sizes)
    return MaskCounts(
        best_iou=iou.max(axis=0, initial=0.0),
        masks=len(masks),
        merged=int(((shared >= _MERGED_SHARE * sizes).sum(axis=1) >= 2).sum()),
        split=int((part.sum(axis=0) >= 2).sum()),
        extra=int((on_things < _EXTRA_SHARE * areas).sum()),
    )


def together(counts: Sequence[MaskCounts]) -> MaskCounts:
    """The counts of several frames as one; of none: zeros."""
    return MaskCounts(
        best_iou=np.concatenate([np.zeros(0), *(c.best_iou for c in counts)]),
        masks=sum(c.masks for c in counts),
        merged=sum(c.merged for c in counts),
        split=sum(c.split for c in counts),
        extra=sum(c.extra for c in counts),
    )
