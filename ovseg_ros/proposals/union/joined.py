"""Proposals of one image one after another, with what else masks carry."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import Proposals
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.proposals.union.things import distinct

IntArray = npt.NDArray[np.int64]


def without_duplicates(parts: Sequence[Proposals], duplicate_iou: float) -> Proposals:
    """Proposals one after another, on the CPU; of two masks of one thing the better-scored stays.

    Args:
        parts: of one image; at least one.
        duplicate_iou: see `distinct`.

    Returns:
        With soft masks and class embeddings as `concatenated` says; without the former no empty masks.
    """
    joined = concatenated(parts)
    return taken(joined, distinct(joined.masks.numpy(), joined.scores.numpy(), duplicate_iou))


def taken(proposals: Proposals, keep: IntArray) -> Proposals:
    """Those of `keep` (M,), ascending; empty masks only beside soft ones."""
    if proposals.soft is None:
        masks = proposals.masks.numpy()
        keep = keep[[bool(masks[i].any()) for i in keep]]
    return proposals.take(torch.from_numpy(keep))


def concatenated(parts: Sequence[Proposals]) -> Proposals:
    """All masks on the CPU.

    Soft masks are kept where every part has them on one grid, and class embeddings where each has them with
    as many columns and the same non-object rows: for some of the masks alone they would be of no use. Numbers
    of objects are kept where one part alone has them: those of two would be mixed up.

    Args:
        parts: of one image; at least one.
    """
    masks = [part.masks.cpu() for part in parts]
    joined = masks[0] if len(masks) == 1 else torch.cat(masks)  # (N,H,W); one part is not copied: 8k is large
    scores = torch.cat([part.scores.cpu().float() for part in parts])  # (N,)
    embeddings = _joined_embeddings(parts)
    rivals = parts[0].non_object if embeddings is not None else None
    odds = [part.scale_shift for part in parts if part.scale_shift is not None and embeddings is not None]
    return Proposals(
        joined,
        scores,
        _joined_soft(parts),
        embeddings,
        None if rivals is None else rivals.cpu(),
        torch.cat([some.cpu() for some in odds]) if odds else None,
        object_ids=_joined_ids(parts),
    )


def _joined_ids(parts: Sequence[Proposals]) -> torch.Tensor | None:
    if sum(part.object_ids is not None for part in parts) != 1:
        return None
    unknown = (torch.zeros(len(part), dtype=torch.int64) for part in parts)
    return torch.cat(
        [
            zeros if part.object_ids is None else part.object_ids.cpu()
            for part, zeros in zip(parts, unknown, strict=True)
        ]
    )


def _joined_soft(parts: Sequence[Proposals]) -> SoftMasks | None:
    soft = [part.soft for part in parts if part.soft is not None]
    grids = {(tuple(s.logits.shape[1:]), tuple(s.padded_hw), tuple(s.valid_hw)) for s in soft}
    if len(soft) < len(parts) or len(grids) != 1:
        return None
    return SoftMasks(torch.cat([s.logits.cpu().float() for s in soft]), soft[0].padded_hw, soft[0].valid_hw)


def _joined_embeddings(parts: Sequence[Proposals]) -> torch.Tensor | None:
    """(N, C), or None where they are not of one space: other columns, other rivals or another scale."""
    rows = [part.class_embeddings for part in parts if part.class_embeddings is not None]
    if len(rows) < len(parts) or len({row.shape[1] for row in rows}) != 1:
        return None
    if len({part.scale_shift is None for part in parts}) != 1:
        return None
    rivals = [part.non_object for part in parts]
    if any(_differ(rivals[0], other) for other in rivals[1:]):
        return None
    return torch.cat([row.cpu().float() for row in rows])


def _differ(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is not b
    return not torch.equal(a.cpu(), b.cpu())
