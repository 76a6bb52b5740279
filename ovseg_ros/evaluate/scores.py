"""How well masks fit: intersection over union, and who is matched with whom. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError

Masks = npt.NDArray[np.bool_]


def pairwise_iou(masks_a: Masks, masks_b: Masks) -> npt.NDArray[np.float64]:
    """Intersection over union of every mask of one set with every mask of another.

    IoU = |A ∩ B| / |A ∪ B|, 0 where both are empty.

    Args:
        masks_a: (N, H, W) bool.
        masks_b: (M, H, W) bool.

    Returns:
        (N, M) in [0, 1]; without rows or columns where a set is empty.

    Raises:
        InvalidInputError: other shapes or types, or two image sizes.
    """
    for masks in (masks_a, masks_b):
        if masks.ndim != 3 or masks.dtype != np.bool_:
            raise InvalidInputError(f"want masks (N,H,W) bool, got {masks.shape} {masks.dtype}")
    if masks_a.shape[1:] != masks_b.shape[1:]:
        raise InvalidInputError(f"want masks of one size, got {masks_a.shape[1:]} and {masks_b.shape[1:]}")
    pixels = masks_a.shape[1] * masks_a.shape[2]
    flat_a = masks_a.reshape(len(masks_a), pixels).astype(np.float32)  # sums of 0 and 1 stay exact
    flat_b = masks_b.reshape(len(masks_b), pixels).astype(np.float32)
    both = (flat_a @ flat_b.T).astype(np.float64)  # (N, M)
    areas_a, areas_b = (np.count_nonzero(m, axis=(1, 2)).astype(np.float64) for m in (masks_a, masks_b))
    either = areas_a[:, None] + areas_b[None, :] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def mask_iou(mask_a: npt.NDArray[np.bool_], mask_b: npt.NDArray[np.bool_]) -> float:
    """`pairwise_iou` of two single masks (H, W)."""
    return float(pairwise_iou(mask_a[None], mask_b[None])[0, 0])


@dataclass(frozen=True)
class Match:
    """The proposal that fits one true object best.

    Attributes:
        proposal: its index, -1 where none overlaps enough.
        iou: the best IoU any proposal has, also where it is not enough; 0 without proposals.
    """

    proposal: int
    iou: float


def best_matches(iou: npt.NDArray[np.float64], minimum: float = 0.0) -> list[Match]:
    """For each true object the proposal with the highest IoU; the first on ties.

    A proposal may be the best of several objects: each object asks for itself.

    Args:
        iou: (P proposals, G objects).
        minimum: IoU from which a proposal counts as the object's; overlap is needed in any case.

    Returns:
        G matches.
    """
    if iou.shape[0] == 0:
        return [Match(-1, 0.0) for _ in range(iou.shape[1])]
    best = iou.argmax(axis=0)  # (G,)
    values = iou[best, np.arange(iou.shape[1])]
    return [
        Match(int(p) if value >= minimum and value > 0 else -1, float(value))
        for p, value in zip(best, values, strict=True)
    ]


def instance_masks(instances: npt.NDArray[np.uint16], ids: list[int]) -> Masks:
    """(len(ids), H, W) bool, the mask of each id in an instance image (H, W)."""
    return np.equal(instances[None], np.asarray(ids, dtype=np.int64).reshape(-1, 1, 1))


def share(hits: list[bool]) -> float | None:
    """The part that is True, None where nothing was tried (which is neither 0 nor 1)."""
    return sum(hits) / len(hits) if hits else None
