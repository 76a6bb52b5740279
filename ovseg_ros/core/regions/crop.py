"""Stage two's input: one normalised square per mask, its background blanked (OVSeg section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ovseg_ros.core.options import FILLS, Fill
from ovseg_ros.core.regions.gather import gather_crops, gather_masks, nearest
from ovseg_ros.errors import ConfigError, InvalidInputError

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

_FILL_RGB: dict[Fill, tuple[float, float, float] | None] = {
    "mean": (255.0 * CLIP_MEAN[0], 255.0 * CLIP_MEAN[1], 255.0 * CLIP_MEAN[2]),
    "none": None,
    "black": (0.0, 0.0, 0.0),
    "grey": (127.5, 127.5, 127.5),
}

MEMORY_BUDGET = 1 << 28
"""Bytes of temporaries that cropping on a device may take."""


@dataclass(frozen=True)
class Regions:
    """What an encoder sees of N masks.

    Attributes:
        pixels: (N, 3, S, S) float32, normalised with CLIP's mean and standard deviation; zeros for an
            empty mask.
        masks: (N, 1, S, S) float32 in {0, 1}: which of those pixels belong to the mask.
        keep: (N,) bool, False where a mask is empty.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    keep: torch.Tensor

    def __len__(self) -> int:
        return self.pixels.shape[0]


def crop_regions(
    image: torch.Tensor,
    masks: torch.Tensor,
    *,
    size: int,
    fill: Fill = "mean",
    expand_ratio: float = 1.0,
    memory_budget: int = MEMORY_BUDGET,
) -> Regions:
    """Cuts every mask out of the image and squashes it to a square.

    The tight box around the mask, grown by `expand_ratio` about its centre and clipped to the image; pixels
    off the mask replaced by `fill`; then bicubic without antialias or clamping, the aspect not kept (mask:
    nearest). Normalising comes first: cubic weights sum to 1, so it may be done once on the picture instead
    of on every crop. On a CPU OpenCV takes one mask after the other, which is faster there
    (`benchmark/encoders.py`); elsewhere all masks are gathered at once and nothing waits for the device.

    Args:
        image: (3, H, W) RGB in [0, 255], float or uint8.
        masks: (N, H, W) bool on the image's device.
        size: S, the encoder's input side in pixels.
        fill: "mean" (CLIP's mean colour, 0 after normalisation), "black", "grey" (127.5), or "none" to keep
            the background.
        expand_ratio: sides of the box over those of the tight box, at least 1.
        memory_budget: bytes that temporaries beside the normalised picture may take on a device; masks are
            done in so many goes, one at a time where it is small.

    Returns:
        N regions; an empty mask gives a blank one with keep False.

    Raises:
        InvalidInputError: shapes or dtypes are not as above.
        ConfigError: an unknown fill, a size or an expand_ratio below 1.

    Source: facebookresearch/ov-seg, facts of its clip adapter; agrees to 1e-3 with a naive loop (tests).
    """
    _check(image, masks, size, fill, expand_ratio)
    boxes_xyxy, keep = mask_boxes(masks)
    if masks.numel() == 0:
        count, device = masks.shape[0], masks.device
        blank = torch.zeros((count, 3, size, size), device=device)
        return Regions(blank, torch.zeros((count, 1, size, size), device=device), keep)
    boxes_xyxy = grow_boxes(boxes_xyxy, expand_ratio, size_hw=(masks.shape[1], masks.shape[2]))
    if image.device.type == "cpu":
        return _crop_one_by_one(image, masks, boxes_xyxy, keep, size, fill)
    return _crop_together(image, masks, boxes_xyxy, keep, size, fill, memory_budget)


def _crop_together(
    image: torch.Tensor,
    masks: torch.Tensor,
    boxes_xyxy: torch.Tensor,
    keep: torch.Tensor,
    size: int,
    fill: Fill,
    memory_budget: int,
) -> Regions:
    """All masks at once, on any device."""
    picture, shift = _normalised(image, fill)
    shown = None if fill == "none" else masks
    pixels = gather_crops(picture, shown, boxes_xyxy, size=size, memory_budget=memory_budget)
    for channel, offset in enumerate(shift):
        if offset:
            pixels[:, channel] += offset
    pixels *= keep[:, None, None, None]
    small = gather_masks(masks, boxes_xyxy, size=size, memory_budget=memory_budget)
    return Regions(pixels, small, keep)


def _crop_one_by_one(
    image: torch.Tensor,
    masks: torch.Tensor,
    boxes_xyxy: torch.Tensor,
    keep: torch.Tensor,
    size: int,
    fill: Fill,
) -> Regions:
    """One mask after the other with OpenCV, which touches only the box of a mask."""
    pixels = torch.zeros((masks.shape[0], 3, size, size))
    small = torch.zeros((masks.shape[0], 1, size, size))
    if not keep.any():
        return Regions(pixels, small, keep)
    left, top = boxes_xyxy[keep, :2].amin(dim=0).tolist()  # of all boxes together
    right, bottom = boxes_xyxy[keep, 2:].amax(dim=0).tolist()
    picture, shift = _normalised(image[:, top:bottom, left:right], fill)
    planes = picture.numpy()
    columns = (nearest(boxes_xyxy[:, 0], boxes_xyxy[:, 2], size) - boxes_xyxy[:, :1]).numpy()  # (N,S)
    rows = (nearest(boxes_xyxy[:, 1], boxes_xyxy[:, 3], size) - boxes_xyxy[:, 1:2]).numpy()
    for i in keep.nonzero()[:, 0].tolist():
        x0, y0, x1, y1 = boxes_xyxy[i].tolist()
        inside = masks[i, y0:y1, x0:x1].numpy().view(np.uint8)  # (h,w)
        for plane, offset, square in zip(planes, shift, pixels[i].numpy(), strict=True):
            crop = plane[y0 - top : y1 - top, x0 - left : x1 - left]
            if fill != "none":
                crop = cv2.copyTo(crop, inside, np.zeros(inside.shape, np.float32))
            cv2.resize(crop, (size, size), dst=square, interpolation=cv2.INTER_CUBIC)
            if offset:
                square += offset
        small[i, 0].numpy()[:] = inside[rows[i]].take(columns[i], axis=1)
    return Regions(pixels, small, keep)


def _normalised(image: torch.Tensor, fill: Fill) -> tuple[torch.Tensor, tuple[float, ...]]:
    """(3,h,w) float32: the normalised picture less the normalised fill; and that fill, 0 for "none"."""
    picture = torch.empty(image.shape, device=image.device)
    shift = []
    # Channel by channel with plain numbers: a tensor of three would have to be sent and waited for.
    for channel, (mean, std) in enumerate(zip(CLIP_MEAN, CLIP_STD, strict=True)):
        colour = _FILL_RGB[fill]
        zero = 255.0 * mean if colour is None else colour[channel]  # the value that shall become 0
        torch.sub(image[channel], zero, out=picture[channel]).div_(255.0 * std)
        shift.append((zero / 255.0 - mean) / std)
    return picture, tuple(shift)


def mask_boxes(masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tight boxes around masks.

    Args:
        masks: (N, H, W) bool.

    Returns:
        (N, 4) int64 x0, y0, x1, y1 in pixels, the last two exclusive, zeros for an empty mask; and (N,)
        bool, False for an empty mask.
    """
    count, height, width = masks.shape
    if masks.numel() == 0:
        empty = torch.zeros((count, 4), dtype=torch.int64, device=masks.device)
        return empty, torch.zeros(count, dtype=torch.bool, device=masks.device)
    # As bytes: on a CPU `amax` over bytes is some thirty times faster than `any` over bool.
    as_bytes = masks.contiguous().view(torch.uint8)
    columns, rows = as_bytes.amax(dim=1), as_bytes.amax(dim=2)  # (N,W), (N,H)
    found = rows.amax(dim=1) > 0
    # argmax of 0/1 is not sure to give the first 1; counting down makes that place the only maximum.
    x0 = (columns * torch.arange(width, 0, -1, device=masks.device)).argmax(dim=1)
    y0 = (rows * torch.arange(height, 0, -1, device=masks.device)).argmax(dim=1)
    x1 = (columns * torch.arange(1, width + 1, device=masks.device)).argmax(dim=1) + 1
    y1 = (rows * torch.arange(1, height + 1, device=masks.device)).argmax(dim=1) + 1
    return torch.stack((x0, y0, x1, y1), dim=1) * found[:, None], found


def grow_boxes(boxes_xyxy: torch.Tensor, ratio: float, *, size_hw: tuple[int, int]) -> torch.Tensor:
    """Grows boxes about their centres by whole pixels, outwards, and clips them to the image.

    Args:
        boxes_xyxy: (N, 4) int64, pixels, the last two exclusive.
        ratio: sides of the result over those of the box, at least 1.
        size_hw: of the image, pixels.

    Returns:
        (N, 4) int64 on the same device.
    """
    if ratio == 1.0:
        return boxes_xyxy
    height, width = size_hw
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]  # (N,2)
    grow = (sides.double() * (ratio - 1.0) / 2.0).round().long()
    low, high = boxes_xyxy[:, :2] - grow, boxes_xyxy[:, 2:] + grow
    x1, y1 = high[:, 0].clamp(max=width), high[:, 1].clamp(max=height)
    return torch.cat((low.clamp(min=0), torch.stack((x1, y1), dim=1)), dim=1)


def _check(image: torch.Tensor, masks: torch.Tensor, size: int, fill: str, expand_ratio: float) -> None:
    if (
        image.ndim != 3
        or image.shape[0] != 3
        or not (image.is_floating_point() or image.dtype == torch.uint8)
    ):
        raise InvalidInputError(
            f"expected image (3,H,W) float or uint8 in [0,255], got {tuple(image.shape)} {image.dtype}"
        )
    if masks.ndim != 3 or masks.dtype != torch.bool or masks.shape[1:] != image.shape[1:]:
        raise InvalidInputError(
            f"expected masks (N,{image.shape[1]},{image.shape[2]}) bool, got {tuple(masks.shape)} "
            f"{masks.dtype}"
        )
    if fill not in FILLS:
        raise ConfigError(f"expected fill one of {', '.join(FILLS)}, got {fill!r}")
    if size < 1 or not expand_ratio >= 1.0:
        raise ConfigError(f"expected size >= 1 and expand_ratio >= 1, got {size} and {expand_ratio}")
