"""Which of many overlapping masks are things: no copies, no merged ones, no table, no parts of a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.maps import BoxedMask, boxed_masks, shared_pixels
from ovseg_ros.proposals.union.relief import Relief

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

WITHIN = 0.9  # of a part's pixels lie in its whole
SAME_THING = 0.6  # of its whole's pixels: a part so large, at the same depth, is the thing once more
MERGED = 0.8  # of a mask's pixels are covered by better ones that share nothing: they are the things
OWN = 0.9  # of such a mask's pixels are its own
APART = 0.3  # share of steps along the border from which a part stands apart
WORSE = 0.6  # at its whole's depth a part goes if its score is at most this much of its whole's
FRAGMENT = 0.5  # where depth says nothing, a part goes if its score is at most this much of its whole's


@dataclass(frozen=True)
class Rules:
    """Which of the rules of `things` apply.

    Attributes:
        duplicate_iou: two masks of this IoU or more are one thing, in (0, 1].
        keep_parts: parts of wholes and merged masks stay.
        keep_support: the table or floor stays.
    """

    duplicate_iou: float
    keep_parts: bool = False
    keep_support: bool = False


def things(boxed: Sequence[BoxedMask], scores: FloatArray, rules: Rules, relief: Relief | None) -> IntArray:
    """Which masks stay. Four rules, one after another, each among those that the ones before left.

    1. Of two masks whose IoU reaches `duplicate_iou` the better stays.
    2. A mask that depth shows to be the supporting plane goes.
    3. A mask goes that two or more better ones, each within it and none sharing much with another, cover.
    4. A part, nearly all of which lies within another mask, goes where depth shows it at its whole's own
       depth and its score is lower; if it is so large that both are views of one thing, the better of the two
       stays. Where depth does not tell, only a part with a far lower score goes; a part that stands apart in
       depth stays.

    Args:
        boxed: N masks of one image.
        scores: (N,) of one meaning, see `scores.calibrated`; of equal ones the earlier mask is the better.
        rules: see there.
        relief: the frame's depth; None without.

    Returns:
        (M,) int64 indices, ascending. An empty mask is no one's copy and no part.
    """
    shared = shared_pixels(boxed, least=min(WITHIN, rules.duplicate_iou))
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))  # 0 is the best
    stays = _first_of_copies(shared, rank, rules.duplicate_iou)
    if relief is not None and not rules.keep_support:
        for i in np.flatnonzero(stays).tolist():
            stays[i] = not relief.is_support(boxed[i])
    if not rules.keep_parts:
        within = _within(shared)
        _drop_merged(boxed, within, rank, stays)
        _drop_parts(boxed, within, shared, scores, rank, stays, relief)
    return np.flatnonzero(stays)


def distinct(masks: BoolArray, scores: FloatArray, duplicate_iou: float) -> IntArray:
    """The first rule of `things` alone, where what a mask is part of does not matter.

    Args:
        masks: (N, H, W).
        scores: (N,); of equal ones the earlier is the better.
        duplicate_iou: a mask goes when its IoU with one that stayed reaches this, in (0, 1].

    Returns:
        (M,) int64 indices, ascending. An empty mask is no one's duplicate.
    """
    return things(boxed_masks(masks), scores, Rules(duplicate_iou, keep_parts=True), None)


def _first_of_copies(shared: IntArray, rank: IntArray, duplicate_iou: float) -> BoolArray:
    """(N,) False where a better one that stayed has this IoU with it; of pixels shared (N, N)."""
    areas = shared.diagonal()
    union = areas[:, None] + areas - shared
    copies = (shared >= duplicate_iou * union) & (shared > 0)
    stays = np.zeros(len(areas), bool)
    for i in np.argsort(rank).tolist():
        stays[i] = not (copies[i] & stays).any()
    return stays


def _within(shared: IntArray) -> BoolArray:
    """(N, N) whether i is nearly all within j, the larger of the two."""
    areas = shared.diagonal()
    larger = areas[:, None] < areas
    return larger & (shared >= WITHIN * areas[:, None]) & (areas[:, None] > 0)


def _drop_merged(boxed: Sequence[BoxedMask], within: BoolArray, rank: IntArray, stays: BoolArray) -> None:
    """Rule 3, in place; the worst first, so that what is dropped is no part of a better one's cover."""
    for whole in np.argsort(-rank).tolist():
        if not stays[whole]:
            continue
        parts = np.flatnonzero(within[:, whole] & stays & (rank < rank[whole]))
        if len(parts) >= 2 and _is_covered(boxed, whole, parts[np.argsort(rank[parts])].tolist()):
            stays[whole] = False


def _is_covered(boxed: Sequence[BoxedMask], whole: int, parts: Sequence[int]) -> bool:
    """Whether two or more of the parts, the best first, share little and together cover the whole."""
    mask = boxed[whole]
    left = mask.crop.copy()
    count = 0
    for part in parts:
        mine, its = _meeting(mask, boxed[part])
        own = left[mine] & boxed[part].crop[its]
        if np.count_nonzero(own) >= OWN * WITHIN * boxed[part].area:
            left[mine] &= ~own
            count += 1
    return count >= 2 and np.count_nonzero(left) <= (1 - MERGED) * mask.area


def _meeting(one: BoxedMask, other: BoxedMask) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Where the boxes of two masks meet, in the crop of each."""
    x0, y0 = max(one.x, other.x), max(one.y, other.y)
    x1, y1 = min(one.box_xyxy[2], other.box_xyxy[2]), min(one.box_xyxy[3], other.box_xyxy[3])
    first, second = (
        (slice(y0 - m.y, max(y0, y1) - m.y), slice(x0 - m.x, max(x0, x1) - m.x)) for m in (one, other)
    )
    return first, second


def _drop_parts(
    boxed: Sequence[BoxedMask],
    within: BoolArray,
    shared: IntArray,
    scores: FloatArray,
    rank: IntArray,
    stays: BoolArray,
    relief: Relief | None,
) -> None:
    """Rule 4, in place; the largest first, so that a whole that goes takes no part with it."""
    areas = shared.diagonal()
    for part in np.argsort(-areas, kind="stable").tolist():
        if not stays[part]:
            continue
        wholes = np.flatnonzero(within[part] & stays)
        for whole in wholes[np.argsort(rank[wholes])].tolist():
            steps = None if relief is None else relief.step_share(boxed[part], boxed[whole])
            if steps is None:
                goes = scores[part] <= FRAGMENT * scores[whole]
            elif steps >= APART:
                goes = False
            else:
                same = areas[part] >= SAME_THING * areas[whole]
                goes = rank[whole] < rank[part] if same else scores[part] <= WORSE * scores[whole]
                if same and not goes:
                    stays[whole] = False
            if goes:
                stays[part] = False
                break
