"""A whole thing wins over its fragments: one thing, one answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.maps import boxed_masks, shared_pixels

WITHIN = 0.8
"""Of a fragment's pixels lie in its whole; or of its box in the whole's, where it is only beside it."""

SMALL = 0.25
"""Of its whole's pixels, at most, has a fragment that only lies beside it: a handle, a spout, a lid."""

GROWN = 0.1
"""Of the sides of the whole's box it is grown by, on each side, before what lies beside is looked for."""

FRAGMENT_KEEPS = 0.1
"""Of the lowest threshold of any label has a fragment's best word left."""

BETTER = 1.1
"""So many times the whole's ranking does a fragment need to win: then the whole is a heap of things."""


def fragments(
    masks: torch.Tensor, boxes_xyxy: torch.Tensor, label: torch.Tensor, ranking: torch.Tensor
) -> torch.Tensor:
    """Which masks give their label up, because another mask with the same one is the thing.

    Within one label, from the best ranked down: a mask goes if it is a fragment of one that stays, or holds a
    fragment that stays and is `BETTER`; otherwise it stays, and its fragments go. So one always stays.

    Args:
        masks: (N, H, W) bool on the CPU.
        boxes_xyxy: (N, 4) int64, see `EmbeddedFrame`.
        label: (N,) int64, -1 for a mask without one, which neither goes nor makes another go.
        ranking: (N,) float, the better of two answers has more.

    Returns:
        (N,) bool.
    """
    gone = torch.zeros(len(label), dtype=torch.bool)
    for name in label.unique().tolist():
        members = (label == name).nonzero()[:, 0]
        if name < 0 or len(members) < 2:
            continue
        of = _is_fragment_of(masks[members].numpy(), boxes_xyxy[members].numpy())
        stays = _stays(of, ranking[members].tolist())
        gone[members[[not stay for stay in stays]]] = True
    return gone


def _is_fragment_of(masks: npt.NDArray[np.bool_], boxes_xyxy: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """(M, M): whether the first mask is a fragment of the second, which is larger."""
    shared = shared_pixels(boxed_masks(masks), least=WITHIN)
    area = np.diag(shared)
    larger = area[:, None] < area[None, :]
    within = shared >= WITHIN * area[:, None]
    x0, y0, x1, y1 = boxes_xyxy.T.astype(np.float64)
    x_margin, y_margin = GROWN * (x1 - x0), GROWN * (y1 - y0)
    width = np.minimum(x1[:, None], x1 + x_margin) - np.maximum(x0[:, None], x0 - x_margin)
    height = np.minimum(y1[:, None], y1 + y_margin) - np.maximum(y0[:, None], y0 - y_margin)
    meeting = width.clip(min=0) * height.clip(min=0)  # (M,M)
    beside = meeting >= WITHIN * ((x1 - x0) * (y1 - y0))[:, None]
    small = area[:, None] <= SMALL * area[None, :]
    is_fragment: npt.NDArray[np.bool_] = larger & (area[:, None] > 0) & (within | (beside & small))
    return is_fragment


def _stays(of: npt.NDArray[np.bool_], ranking: Sequence[float]) -> list[bool]:
    """See `fragments`."""
    kept: list[int] = []
    for mask in sorted(range(len(ranking)), key=lambda i: -ranking[i]):
        if any(of[mask, other] for other in kept):
            continue
        if any(of[other, mask] and ranking[other] > BETTER * ranking[mask] for other in kept):
            continue
        kept = [other for other in kept if not of[other, mask]] + [mask]
    return [i in kept for i in range(len(ranking))]
