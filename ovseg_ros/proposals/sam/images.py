"""Images on their way to Segment Anything, and its masks on their way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.frame import Proposals

_LARGEST_SIDE = 16384  # the library counts the pixels of a row in 16 bits


def working_size(size_hw: tuple[int, int], image_size: int, long_side: int | None) -> tuple[int, int]:
    """(H, W) in which an image is looked at.

    Args:
        size_hw: of the image.
        image_size: side of the network's input.
        long_side: see `SamOptions`.

    Returns:
        `size_hw` where that does; else shrunk, and a side of which the network's input would keep nothing
        stretched so that one pixel of it remains.
    """
    long = max(size_hw)
    target = min(long, _LARGEST_SIDE if long_side is None else min(long_side, _LARGEST_SIDE))
    least = -(-target // image_size)
    height, width = (max(least, math.floor(side * target / long + 0.5)) for side in size_hw)
    return height, width


def resized(image: npt.NDArray[np.uint8], size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """An image (H, W, 3) at another (H, W), by area where it shrinks; itself at its own."""
    if image.shape[:2] == size_hw:
        return np.ascontiguousarray(image)
    shrinks = size_hw[0] <= image.shape[0] and size_hw[1] <= image.shape[1]
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def unpacked(records: Sequence[dict[str, Any]], size_hw: tuple[int, int]) -> Proposals:
    """The library's records as proposals of an image of `size_hw`."""
    from segment_anything.utils.amg import rle_to_mask

    masks = np.empty((len(records), *size_hw), bool)
    for mask, record in zip(masks, records):
        small = rle_to_mask(record["segmentation"])
        mask[:] = small if small.shape == size_hw else _enlarged(small, size_hw)
    scores = np.array([record["predicted_iou"] for record in records], np.float32).clip(0, 1)
    some = np.array([mask.any() for mask in masks], bool)
    if not some.all():
        masks, scores = masks[some], scores[some]
    return Proposals(torch.from_numpy(masks), torch.from_numpy(scores))


def enlarged(masks: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """Masks (N, h, w) bool at another (H, W), on their device: bilinear, cut in the middle."""
    large = torch.empty((len(masks), *size_hw), dtype=torch.bool, device=masks.device)
    for mask, into in zip(masks, large):  # one by one: as numbers they take four bytes a pixel
        into[:] = (
            torch.from_numpy(_enlarged(mask.numpy(), size_hw))
            if mask.device.type == "cpu"
            else enlarged_on_device(mask, size_hw)
        )
    return large


def enlarged_on_device(mask: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """One mask (h, w) bool at (H, W) in torch's own operations, which run anywhere."""
    share = F.interpolate(mask[None, None].float(), size=size_hw, mode="bilinear", align_corners=False)
    return share[0, 0] >= 0.5


def _enlarged(mask: npt.NDArray[np.bool_], size_hw: tuple[int, int]) -> npt.NDArray[np.bool_]:
    grey = cv2.resize(mask.astype(np.uint8) * 255, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return grey > 127
