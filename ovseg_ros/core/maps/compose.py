"""From labelled masks to maps over the image."""

from __future__ import annotations

import numpy as np
import torch

from ovseg_ros.core.maps.paint import LabelIds, LabelMap, box_slices, paint_labels
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError

_CHUNK_ELEMENTS = 1 << 23  # pixels times labels held at once, 32 MiB


def semantic_map(mask_probs: torch.Tensor, class_probs: torch.Tensor) -> torch.Tensor:
    """Σ over masks of class probability × mask probability, as evaluation does it.

    The plain way, which holds K maps; `label_map` gives its argmax at a fraction of the memory.

    Args:
        mask_probs: (N, H, W) in [0, 1], soft or binary.
        class_probs: (N, K).

    Returns:
        (K, H, W) scores, not normalised; zeros for N = 0.

    Raises:
        InvalidInputError: N differs.

    Source: MaskFormer section 3.4; facebookresearch/ov-seg.
    """
    if mask_probs.ndim != 3 or class_probs.ndim != 2 or len(mask_probs) != len(class_probs):
        raise InvalidInputError(
            f"expected masks (N,H,W) and class_probs (N,K), got {tuple(mask_probs.shape)} and "
            f"{tuple(class_probs.shape)}"
        )
    return torch.einsum("nk,nhw->khw", class_probs, mask_probs.to(class_probs.dtype))


def label_map(
    masks: torch.Tensor,
    soft: SoftMasks | None,
    boxes_xyxy: torch.Tensor,
    class_probs: torch.Tensor,
    label_index: torch.Tensor,
    label_ids: LabelIds,
    options: SegmenterOptions,
) -> LabelMap:
    """The label whose probabilities, summed over the masks at a pixel, are highest there.

    `options.semantic` "binary": the labelled masks, whole, each adding its probabilities wherever it covers;
    "soft": every mask, labelled or not, weighted by its soft mask, or by its pixels where it has none. Both
    without the masks that `options.granularity` leaves out. All tensors are on the CPU.

    Args:
        masks: (N, H, W) bool.
        soft: the same masks before the threshold, or None.
        boxes_xyxy: (N, 4) int64, nothing of a mask is outside its box; the last two exclusive.
        class_probs: (N, K) float32.
        label_index: (N,) int64, -1 for a mask without a label.
        label_ids: (K,), uint8 or int32: what is painted for each label.
        options: see above.

    Returns:
        Label ids, the first label on ties; 255, or -1 in 32 bits, where no mask is.
    """
    kept = torch.ones(len(masks), dtype=torch.bool)
    if options.granularity > 0:
        kept = select_by_granularity(class_probs, options.granularity)
    if options.semantic == "soft" and soft is not None:
        weights = soft.take(kept).probabilities((masks.shape[1], masks.shape[2]))
        return soft_label_map(weights, class_probs[kept], label_ids)
    if options.semantic != "soft":
        kept = kept & (label_index >= 0)
    chosen = kept.nonzero()[:, 0].tolist()
    return paint_labels(
        masks.numpy(), class_probs.numpy(), label_ids, box_slices(boxes_xyxy.tolist()), chosen
    )


def soft_label_map(mask_probs: torch.Tensor, class_probs: torch.Tensor, label_ids: LabelIds) -> LabelMap:
    """The argmax over `semantic_map`.

    K values are held for some pixels at a time and not for all.

    Args:
        mask_probs: (N, H, W) float in [0, 1].
        class_probs: (N, K).
        label_ids: (K,), uint8 or int32.

    Raises:
        InvalidInputError: N or K differ.

    Source: MaskFormer section 3.4; facebookresearch/ov-seg.
    """
    if mask_probs.ndim != 3 or class_probs.shape != (mask_probs.shape[0], len(label_ids)):
        raise InvalidInputError(
            f"expected masks (N,H,W) and class_probs (N,{len(label_ids)}), got {tuple(mask_probs.shape)} and "
            f"{tuple(class_probs.shape)}"
        )
    weights = mask_probs.flatten(1)  # (N,HW)
    winners = torch.full((weights.shape[1],), -1, dtype=torch.int64)
    confidence = torch.zeros(weights.shape[1])
    step = max(_CHUNK_ELEMENTS // max(*class_probs.shape, 1), 1)
    for start in range(0, len(winners) if class_probs.numel() else 0, step):
        part = weights[:, start : start + step].to(class_probs.dtype)  # (N,P)
        score, winner = (class_probs.T @ part).max(dim=0)  # (K,P) -> (P,), (P,)
        weight = part.sum(dim=0)
        some = weight > 0
        winners[start : start + step] = torch.where(some, winner, -1)
        confidence[start : start + step] = torch.where(some, score / weight.clamp(min=1e-12), 0.0)
    ids = np.append(label_ids, np.array(-1).astype(label_ids.dtype))  # the last for -1, no winner
    size_hw = mask_probs.shape[1:]
    drawn = confidence.numpy().reshape(size_hw)
    return LabelMap(ids[winners.numpy()].reshape(size_hw), lambda convert: convert(drawn))


def instance_map(masks: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """One mask per pixel, on any device; on a CPU `paint.paint_instances` does it box by box.

    Args:
        masks: (N, H, W) bool.
        scores: (N,); the higher wins where masks overlap, the earlier on ties.

    Returns:
        (H, W) int32: 0 for none, i + 1 for mask i.

    Raises:
        InvalidInputError: N differs.
    """
    if scores.shape != masks.shape[:1]:
        raise InvalidInputError(f"expected scores ({masks.shape[0]},), got {tuple(scores.shape)}")
    instances = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    best_first = scores.argsort(descending=True, stable=True).tolist()
    for i in reversed(best_first):
        instances.masked_fill_(masks[i], i + 1)
    return instances


def select_by_granularity(class_probs: torch.Tensor, granularity: float) -> torch.Tensor:
    """Masks worth painting: for some label their probability is above granularity × the label's highest.

    Low values keep large masks together with their parts, high ones only the best mask of each label.

    Args:
        class_probs: (N, K).
        granularity: g in [0, 1]. The comparison is strict; g = 1 keeps the one best mask of each label, the
            first on ties.

    Returns:
        (N,) bool; the masks that are painted.

    Raises:
        ConfigError: g outside [0, 1].

    Source: the OVSeg demo with Segment Anything (facebook/ov-seg space).

    Examples:
        >>> select_by_granularity(torch.tensor([[0.9], [0.5], [0.4]]), 0.5)
        tensor([ True,  True, False])
    """
    if not 0.0 <= granularity <= 1.0:
        raise ConfigError(f"expected granularity in [0, 1], got {granularity}")
    count, labels = class_probs.shape
    if count == 0 or labels == 0:
        return torch.zeros(count, dtype=torch.bool, device=class_probs.device)
    if granularity < 1.0:
        return (class_probs > granularity * class_probs.amax(dim=0)).any(dim=1)
    best_mask = class_probs.argmax(dim=0)  # (K,), the first of equals
    kept = torch.zeros(count, dtype=torch.bool, device=class_probs.device)
    kept[best_mask] = True
    return kept
