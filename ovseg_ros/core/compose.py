"""From labelled masks to maps over the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from ovseg_ros.core.pixel_groups import pixel_groups
from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.core.vocabulary import UNLABELLED_ID
from ovseg_ros.errors import ConfigError, InvalidInputError

_CHUNK_ELEMENTS = 1 << 23  # pixels times labels held at once, 32 MiB


class LabelMap(NamedTuple):
    """One label per pixel.

    Attributes:
        labels: (H, W) uint8 label ids, 255 where no mask is.
        confidence: (H, W) float32 in [0, 1], 0 where no mask is.
    """

    labels: torch.Tensor
    confidence: torch.Tensor


def semantic_map(mask_probs: torch.Tensor, class_probs: torch.Tensor) -> torch.Tensor:
    """Σ over masks of class probability × mask probability, as evaluation does it.

    Args:
        mask_probs: (N, H, W) in [0, 1], soft or binary.
        class_probs: (N, K).

    Returns:
        (K, H, W) scores, not normalised; zeros for N = 0.

    Raises:
        InvalidInputError: N differs.

    Source: MaskFormer section 3.4; facebookresearch/ov-seg.
    """
    _check_counts(mask_probs, class_probs)
    return torch.einsum("nk,nhw->khw", class_probs, mask_probs.to(class_probs.dtype))


def label_map(masks: torch.Tensor, class_probs: torch.Tensor, label_ids: Sequence[int]) -> LabelMap:
    """The label whose probabilities, summed over the masks that cover a pixel, are highest there.

    The same as the argmax over `semantic_map`, without holding K maps: pixels under a single mask, most of
    them, take that mask's best label.

    Args:
        masks: (N, H, W) bool, the labelled masks only.
        class_probs: (N, K) on the same device.
        label_ids: K ids in 0…254.

    Returns:
        Label ids, the first label on ties, and as confidence the winner's probability averaged over the
        masks that cover the pixel.

    Raises:
        InvalidInputError: N or K differ, or masks are not bool.
    """
    _check_counts(masks, class_probs)
    if masks.dtype != torch.bool or len(label_ids) != class_probs.shape[1]:
        raise InvalidInputError(
            f"want bool masks and {class_probs.shape[1]} label ids, got {masks.dtype} and {len(label_ids)}"
        )
    size_hw, device = masks.shape[1:], class_probs.device
    labels = torch.full(size_hw, UNLABELLED_ID, dtype=torch.uint8, device=device)
    confidence = torch.zeros(size_hw, device=device)
    if masks.shape[0] == 0 or not label_ids:
        return LabelMap(labels, confidence)
    id_of = torch.tensor(label_ids, dtype=torch.uint8, device=device)
    best_score, best_label = class_probs.max(dim=1)  # (N,), (N,)
    covered = torch.zeros(size_hw, dtype=torch.int16, device=device)
    for mask, part, label_id, score in zip(masks, _parts(masks), id_of[best_label], best_score, strict=True):
        labels[part].masked_fill_(mask[part], label_id)
        confidence[part].masked_fill_(mask[part], score)
        covered[part] += mask[part]
    rows, columns = (covered > 1).nonzero(as_tuple=True)  # (P,), (P,)
    step = max(_CHUNK_ELEMENTS // len(label_ids), 1)
    for start in range(0, rows.numel(), step):
        at = rows[start : start + step], columns[start : start + step]
        over = masks[:, at[0], at[1]].T.to(class_probs.dtype)  # (P,N)
        score, winner = (over @ class_probs).max(dim=1)  # (P,K) -> (P,), (P,)
        labels[at] = id_of[winner]
        confidence[at] = score / over.sum(dim=1)
    return LabelMap(labels, confidence)


def soft_label_map(mask_probs: torch.Tensor, class_probs: torch.Tensor, label_ids: Sequence[int]) -> LabelMap:
    """The argmax over `semantic_map`, holding K values for some pixels at a time and not for all.

    Args:
        mask_probs: (N, H, W) in [0, 1], soft or bool, on the device of `class_probs`.
        class_probs: (N, K).
        label_ids: K ids in 0…254.

    Returns:
        Label ids, the first label on ties, 255 where no mask has any weight; and as confidence the winner's
        probability averaged over the masks by their weight in the pixel.

    Raises:
        InvalidInputError: N or K differ.
    """
    if len(label_ids) != class_probs.shape[-1]:
        raise InvalidInputError(f"want {class_probs.shape[-1]} label ids, got {len(label_ids)}")
    winners, confidence = class_map(mask_probs, class_probs)
    id_of = torch.tensor([*label_ids, UNLABELLED_ID], dtype=torch.uint8, device=winners.device)
    return LabelMap(id_of[winners.long()], confidence)  # -1, no winner, is the last


def class_map(mask_probs: torch.Tensor, class_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The argmax over `semantic_map` for any number of classes, K values held for some pixels at a time.

    Whole masks on a CPU are summed up once for all pixels that lie under the same of them.

    Args:
        mask_probs: (N, H, W) in [0, 1], soft or bool, on the device of `class_probs`.
        class_probs: (N, K).

    Returns:
        (H, W) int32 column of `class_probs`, the first on ties, -1 where no mask has any weight; and (H, W)
        float32 the winner's probability averaged over the masks by their weight in the pixel.

    Raises:
        InvalidInputError: N differs.
    """
    _check_counts(mask_probs, class_probs)
    size_hw = mask_probs.shape[1:]
    flat = mask_probs.flatten(1)  # (N,HW)
    if not flat.numel() or mask_probs.dtype != torch.bool or mask_probs.device.type != "cpu":
        winners, confidence = _pixel_classes(flat, class_probs)
        return winners.reshape(size_hw), confidence.reshape(size_hw)
    groups = pixel_groups(flat.numpy())
    winners, confidence = _pixel_classes(flat[:, torch.from_numpy(groups.first)], class_probs)
    group = torch.from_numpy(groups.group)
    return winners[group].reshape(size_hw), confidence[group].reshape(size_hw)


def _pixel_classes(weights: torch.Tensor, class_probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`class_map` for the weights (N, P) of the masks in P pixels: (P,) int32 and (P,) float32."""
    count, device = weights.shape[1], class_probs.device
    winners = torch.full((count,), -1, dtype=torch.int32, device=device)
    confidence = torch.zeros(count, device=device)
    step = max(_CHUNK_ELEMENTS // max(*class_probs.shape, 1), 1)
    for start in range(0, count if class_probs.numel() else 0, step):
        part = weights[:, start : start + step].to(class_probs.dtype)  # (N,P')
        score, winner = (class_probs.T @ part).max(dim=0)  # (K,P') -> (P',), (P',)
        weight = part.sum(dim=0)
        some = weight > 0
        winners[start : start + step] = torch.where(some, winner.int(), -1)
        confidence[start : start + step] = torch.where(some, score / weight.clamp(min=1e-12), 0.0)
    return winners, confidence


def instance_map(masks: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """One mask per pixel.

    Args:
        masks: (N, H, W) bool.
        scores: (N,); the higher wins where masks overlap, the earlier on ties.

    Returns:
        (H, W) int32: 0 for none, i + 1 for mask i.

    Raises:
        InvalidInputError: N differs.
    """
    if scores.shape != masks.shape[:1]:
        raise InvalidInputError(f"want scores ({masks.shape[0]},), got {tuple(scores.shape)}")
    instances = torch.zeros(masks.shape[1:], dtype=torch.int32, device=masks.device)
    best_first = scores.argsort(descending=True, stable=True).tolist()
    parts = _parts(masks)
    for i in reversed(best_first):
        instances[parts[i]].masked_fill_(masks[i][parts[i]], i + 1)
    return instances


def select_by_granularity(class_probs: torch.Tensor, granularity: float) -> torch.Tensor:
    """Masks worth painting: for some label their probability is above granularity × the label's highest.

    Low values keep large masks together with their parts, high ones only the best mask of each label.

    Args:
        class_probs: (N, K).
        granularity: g in [0, 1]. The comparison is strict; g = 1 keeps the one best mask of each label, the
            first on ties.

    Returns:
        (N,) bool; the rows to hand to `semantic_map` or `label_map`.

    Raises:
        ConfigError: g outside [0, 1].

    Source: the OVSeg demo with Segment Anything (facebook/ov-seg space).

    Example:
        >>> select_by_granularity(torch.tensor([[0.9], [0.5], [0.4]]), 0.5)
        tensor([ True,  True, False])
    """
    if not 0.0 <= granularity <= 1.0:
        raise ConfigError(f"want granularity in [0, 1], got {granularity}")
    count, labels = class_probs.shape
    if count == 0 or labels == 0:
        return torch.zeros(count, dtype=torch.bool, device=class_probs.device)
    if granularity < 1.0:
        return (class_probs > granularity * class_probs.amax(dim=0)).any(dim=1)
    best_mask = class_probs.argmax(dim=0)  # (K,), the first of equals
    kept = torch.zeros(count, dtype=torch.bool, device=class_probs.device)
    kept[best_mask] = True
    return kept


def _parts(masks: torch.Tensor) -> list[tuple[slice, slice]]:
    """The part of the image each mask's box takes: painting there is cheaper than on the whole."""
    boxes_xyxy, _ = mask_boxes(masks)
    return [(slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in boxes_xyxy.tolist()]


def _check_counts(masks: torch.Tensor, class_probs: torch.Tensor) -> None:
    if masks.ndim != 3 or class_probs.ndim != 2 or masks.shape[0] != class_probs.shape[0]:
        raise InvalidInputError(
            f"want masks (N,H,W) and class_probs (N,K), got {tuple(masks.shape)} and "
            f"{tuple(class_probs.shape)}"
        )
