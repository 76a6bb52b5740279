"""Mask logits on the network's coarse grid: how sure, how alike, and at full size. Stays on the device."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

_PIXELS_AT_ONCE = 1 << 26  # of float32 at full size: 256 MiB


def stability(logits: torch.Tensor, cut: float, offset: float) -> torch.Tensor:
    """How little masks change when the cut moves.

    Args:
        logits: (N, h, w).
        cut: logit above which a pixel is in.
        offset: how far the cut is moved either way, > 0.

    Returns:
        (N,) IoU of each mask cut higher with itself cut lower, in [0, 1]; 0 where neither holds a pixel.
    """
    high, low = ((logits > cut + shift).flatten(1).sum(dim=1) for shift in (offset, -offset))
    return high / low.clamp(min=1)


def full_stability(
    logits: torch.Tensor, size_hw: tuple[int, int], cut: float, offset: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`stability` of (N, h, w) logits at full size, and (N, 4) float32 boxes of the masks there.

    Boxes are left, top, right, bottom of the outermost pixels, all 0 of an empty mask, as transformers and
    segment-anything have them.
    """
    parts = [
        (stability(full, cut, offset), inner_boxes(full > cut)) for full in _enlarged_parts(logits, size_hw)
    ]
    if not parts:
        return logits.new_zeros(0), logits.new_zeros(0, 4)
    stable, boxes = (torch.cat(column) for column in zip(*parts, strict=True))
    return stable, boxes


def enlarged(logits: torch.Tensor, size_hw: tuple[int, int], cut: float) -> torch.Tensor:
    """(N, H, W) bool masks of (N, h, w) logits, bilinear, as transformers' processor enlarges them."""
    masks = torch.empty((len(logits), *size_hw), dtype=torch.bool, device=logits.device)
    start = 0
    for full in _enlarged_parts(logits, size_hw):
        torch.gt(full, cut, out=masks[start : start + len(full)])
        start += len(full)
    return masks


def shrunk(masks: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """(N, h, w) bool: cells that (N, H, W) bool masks cover for the most part, and at least one of each."""
    step = max(1, _PIXELS_AT_ONCE // (masks.shape[1] * masks.shape[2]))
    parts = [
        F.adaptive_avg_pool2d(part.float()[:, None], size_hw)[:, 0]  # (n,h,w)
        for part in masks.split(step)
    ]
    if not parts:
        return masks.new_zeros((0, *size_hw))
    share = torch.cat(parts)
    most = share.flatten(1).amax(dim=1).clamp(max=0.5)[:, None, None]
    return (share >= most) & (share > 0)


def mask_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(N, M) IoU of (N, h, w) with (M, h, w) bool masks; 0 where both are empty."""
    left, right = a.flatten(1).float(), b.flatten(1).float()
    both = left @ right.T  # (N,M); sums of ones are exact in float32
    return both / (left.sum(dim=1)[:, None] + right.sum(dim=1) - both).clamp(min=1)


def distinct(masks: torch.Tensor, scores: torch.Tensor, duplicate_iou: float) -> torch.Tensor:
    """Which masks stay when of two of one thing the better-scored does, of equal ones the earlier.

    Args:
        masks: (N, h, w) bool.
        scores: (N,).
        duplicate_iou: from which two masks are one thing.

    Returns:
        (M,) int64, ascending, on the device.
    """
    alike = (mask_iou(masks, masks) >= duplicate_iou).cpu()  # (N,N), small
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not alike[i, kept].any():
            kept.append(i)
    return torch.tensor(sorted(kept), dtype=torch.int64, device=masks.device)


def inner_boxes(masks: torch.Tensor) -> torch.Tensor:
    """(N, 4) float32 left, top, right, bottom of the outermost pixels of (N, H, W) bool; 0 of empty ones."""
    sides = []
    for axis in (1, 2):  # columns, rows
        lines = masks.any(dim=axis)  # (N,W) or (N,H)
        first = lines.byte().argmax(dim=1)
        last = lines.shape[1] - 1 - lines.flip(1).byte().argmax(dim=1)
        sides.append((first, last * lines.any(dim=1)))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1).float()


def outer_boxes(masks: torch.Tensor) -> torch.Tensor:
    """(N, 4) float64 left, top, right, bottom in pixels on the CPU, around whole pixels; no mask is empty."""
    boxes = inner_boxes(masks).cpu().double()
    boxes[:, 2:] += 1
    return boxes


def nearest_box_iou(boxes_xyxy: torch.Tensor, others_xyxy: torch.Tensor) -> torch.Tensor:
    """(M,) the largest IoU of each of (M, 4) boxes with any of (N >= 1, 4) others."""
    from torchvision.ops import box_iou

    return box_iou(boxes_xyxy, others_xyxy).amax(dim=1)


def _enlarged_parts(logits: torch.Tensor, size_hw: tuple[int, int]) -> Iterator[torch.Tensor]:
    """(n, H, W) logits at full size, a few masks at a time: all of them would fill a memory."""
    step = max(1, _PIXELS_AT_ONCE // (size_hw[0] * size_hw[1]))
    for start in range(0, len(logits), step):
        part = logits[start : start + step, None]
        yield F.interpolate(part, size_hw, mode="bilinear", align_corners=False)[:, 0]
