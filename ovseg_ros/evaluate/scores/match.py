"""Which proposal fits which true object best, and shares of trials. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Match:
    """The proposal that fits one true object best.

    Attributes:
        proposal: its index, -1 where none overlaps the object.
        iou: of the two, 0 where none does.
    """

    proposal: int
    iou: float


def best_matches(iou: npt.NDArray[np.float64]) -> list[Match]:
    """For each true object the proposal with the highest IoU; the first on ties.

    A proposal may be the best of several objects: each object asks for itself.

    Args:
        iou: (P proposals, G objects).

    Returns:
        G matches.
    """
    if iou.shape[0] == 0:
        return [Match(-1, 0.0) for _ in range(iou.shape[1])]
    best = iou.argmax(axis=0)  # (G,)
    values = iou[best, np.arange(iou.shape[1])]
    return [Match(int(p) if value > 0 else -1, float(value)) for p, value in zip(best, values, strict=True)]


def instance_masks(instances: npt.NDArray[np.uint16], ids: list[int]) -> npt.NDArray[np.bool_]:
    """(len(ids), H, W) bool, the mask of each id in an instance image (H, W)."""
    return np.equal(instances[None], np.asarray(ids, dtype=np.int64).reshape(-1, 1, 1))


def share(hits: list[bool]) -> float | None:
    """The part that is True, None where nothing was tried (which is neither 0 nor 1)."""
    return sum(hits) / len(hits) if hits else None
