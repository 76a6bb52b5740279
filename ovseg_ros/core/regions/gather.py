"""Crops of many masks at once by gathering: no loop over masks, nothing waits for the device.

For output pixel (i, j) of mask n with box (x0, y0, x1, y1), the four cubic taps along each axis are

    value = sum over k, l of wy[n, i, k] * wx[n, j, l] * image[y[n, i, k], x[n, j, l]],

where y and x stop at the *box's* border, exactly as if the box had been cut out first. Blanking the
background is one more factor in that sum: with v the picture and f the fill, both normalised, a blanked pixel
is f + mask * (v - f), and because cubic weights sum to 1, f may be added at the end.
"""

from __future__ import annotations

import torch

CUBIC_A = -0.75
"""The cubic kernel's one parameter, as OpenCV and `F.interpolate` have it."""

_BYTES_PER_PIXEL = 72  # of temporaries: an int64 index, its parts, a mask, a weight, and three times 3 floats


def gather_crops(
    picture: torch.Tensor,
    masks: torch.Tensor | None,
    boxes_xyxy: torch.Tensor,
    *,
    size: int,
    memory_budget: int,
) -> torch.Tensor:
    """Squashes one box per mask out of a picture, bicubic without antialias or clamping.

    Args:
        picture: (C, H, W) float32.
        masks: (N, H, W) bool: the picture counts as 0 off the mask; None blanks nothing.
        boxes_xyxy: (N, 4) int64 inside the picture, pixels, the last two exclusive; a box without pixels
            is read as one of a single pixel.
        size: S, pixels.
        memory_budget: bytes that temporaries may take; at least one mask is always done.

    Returns:
        (N, C, S, S) float32 on the picture's device.
    """
    channels, _, width = picture.shape
    count = boxes_xyxy.shape[0]
    crops = torch.empty((count, channels, size, size), device=picture.device)
    columns, column_weights = cubic_taps(boxes_xyxy[:, 0], boxes_xyxy[:, 2], size)  # (N,S,4) each
    rows, row_weights = cubic_taps(boxes_xyxy[:, 1], boxes_xyxy[:, 3], size)
    rows = rows * width
    flat = picture.flatten(1)  # (C,H·W)
    step = masks_at_once(size, memory_budget)
    for start in range(0, count, step):
        part = slice(start, start + step)
        inside = None if masks is None else masks[part].flatten(1)  # (n,H·W)
        total = crops[part].zero_().transpose(0, 1)  # (C,n,S,S), a view
        for k in range(4):
            line = torch.zeros_like(total)
            for m in range(4):
                at = rows[part, :, None, k] + columns[part, None, :, m]  # (n,S,S)
                weight = column_weights[part, None, :, m]  # (n,1,S)
                if inside is not None:
                    weight = weight * inside.gather(1, at.flatten(1)).view(at.shape)  # (n,S,S)
                line.addcmul_(flat[:, at], weight)
            total.addcmul_(line, row_weights[part, :, None, k])
    return crops


def gather_masks(
    masks: torch.Tensor, boxes_xyxy: torch.Tensor, *, size: int, memory_budget: int
) -> torch.Tensor:
    """The nearest pixels of one box per mask.

    Args:
        masks: (N, H, W) bool.
        boxes_xyxy: as in `gather_crops`.
        size: S, pixels.
        memory_budget: bytes that temporaries may take; at least one mask is always done.

    Returns:
        (N, 1, S, S) float32 in {0, 1}, as `F.interpolate(..., mode="nearest")` of each box gives it.
    """
    count, _, width = masks.shape
    columns = nearest(boxes_xyxy[:, 0], boxes_xyxy[:, 2], size)  # (N,S)
    rows = nearest(boxes_xyxy[:, 1], boxes_xyxy[:, 3], size) * width
    small = torch.empty((count, 1, size, size), device=masks.device)
    step = masks_at_once(size, memory_budget)
    for start in range(0, count, step):
        part = slice(start, start + step)
        at = rows[part, :, None] + columns[part, None, :]  # (n,S,S)
        small[part, 0] = masks[part].flatten(1).gather(1, at.flatten(1)).view(at.shape).float()
    return small


def masks_at_once(size: int, memory_budget: int) -> int:
    """How many masks fit into the budget, at least 1."""
    return max(memory_budget // crop_bytes(1, size), 1)


def crop_bytes(count: int, size: int) -> int:
    """Temporaries of so many masks done at once, in bytes."""
    return count * _BYTES_PER_PIXEL * size * size


def cubic_taps(low: torch.Tensor, high: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each output pixel of N intervals reads along one axis, and with which weights.

    Args:
        low: (N,) int64, first pixel of the interval.
        high: (N,) int64, one past the last.
        size: S.

    Returns:
        (N, S, 4) int64 pixels, none outside the interval; (N, S, 4) float32 weights that sum to 1.
    """
    side = (high - low).clamp(min=1)[:, None]  # (N,1)
    step = torch.arange(size, device=low.device)
    # (i + 0.5) * side / size - 0.5 in whole numbers of 1/(2 size): exact, however long the interval.
    at = (2 * step + 1) * side - size  # (N,S)
    base = torch.div(at, 2 * size, rounding_mode="floor")
    part = (at - base * (2 * size)).float() / (2 * size)  # (N,S) in [0, 1)
    taps = base[:, :, None] + torch.arange(-1, 3, device=low.device)  # (N,S,4)
    taps = torch.minimum(taps.clamp(min=0), side[:, :, None] - 1) + low[:, None, None]
    return taps, torch.stack((_far(part + 1), _near(part), _near(1 - part), _far(2 - part)), dim=-1)


def nearest(low: torch.Tensor, high: torch.Tensor, size: int) -> torch.Tensor:
    """(N, S) int64: the pixel each output pixel shows, rounded in float32 as `F.interpolate` does it."""
    side = (high - low).clamp(min=1)[:, None]  # (N,1)
    scale = side.float() / size
    at = (torch.arange(size, device=low.device) * scale).long()
    return torch.minimum(at, side - 1) + low[:, None]


def _near(t: torch.Tensor) -> torch.Tensor:
    """The cubic kernel for distances up to 1."""
    return ((CUBIC_A + 2) * t - (CUBIC_A + 3)) * t * t + 1


def _far(t: torch.Tensor) -> torch.Tensor:
    """The cubic kernel for distances from 1 to 2."""
    return ((CUBIC_A * t - 5 * CUBIC_A) * t + 8 * CUBIC_A) * t - 4 * CUBIC_A
