"""Images on their way to Segment Anything, and its masks on their way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

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
        if small.shape != size_hw:
            grey = cv2.resize(small.astype(np.uint8) * 255, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
            small = grey > 127
        mask[:] = small
    scores = np.array([record["predicted_iou"] for record in records], np.float32).clip(0, 1)
    some = np.array([mask.any() for mask in masks], bool)
    if not some.all():
        masks, scores = masks[some], scores[some]
    return Proposals(torch.from_numpy(masks), torch.from_numpy(scores))
