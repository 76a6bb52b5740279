"""What Segment Anything is asked on a frame of a video: the boxes of what is followed, and a sparse grid."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import InvalidInputError

PHASES = ((0, 0), (1, 1), (1, 0), (0, 1))
"""Where in each square of four points the frames' grids lie, (x, y), frame after frame."""


def interleaved_grid(points_per_side: int, phase: int) -> npt.NDArray[np.float64]:
    """One of four grids that together are a grid of twice as many points per side.

    Args:
        points_per_side: n >= 1.
        phase: which; counts on, frame by frame.

    Returns:
        (n², 2) x, y in (0, 1), row by row.
    """
    shift = PHASES[phase % len(PHASES)]
    x, y = ((2 * np.arange(points_per_side) + s + 0.5) / (2 * points_per_side) for s in shift)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def boxes_on_image(boxes_xyxy: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """What of the boxes lies on the image; those of which less than a pixel does are left out.

    Args:
        boxes_xyxy: (M, 4) left, top, right, bottom in pixels; of tracks, so they may lie anywhere.
        size_hw: of the image.

    Returns:
        (K, 4) float64 on the CPU, K <= M, in their order.

    Raises:
        InvalidInputError: another shape.
    """
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise InvalidInputError(f"expected boxes_xyxy (M,4), got {tuple(boxes_xyxy.shape)}")
    boxes = boxes_xyxy.detach().cpu().double()
    boxes = boxes[torch.isfinite(boxes).all(dim=1)]
    height, width = size_hw
    cut = torch.minimum(boxes.clamp(min=0), torch.tensor([width, height] * 2, dtype=torch.float64))
    return cut[((cut[:, 2] - cut[:, 0] >= 1) & (cut[:, 3] - cut[:, 1] >= 1))]


def stability(soft: SoftMasks, cut: float, offset: float) -> torch.Tensor:
    """How little masks change when the cut moves, counted on the network's own coarse grid.

    Args:
        soft: N masks.
        cut: logit from which a pixel is in.
        offset: how far the cut is moved either way, > 0.

    Returns:
        (N,) IoU of each mask cut higher with itself cut lower, in [0, 1]; 0 where neither holds a pixel.
    """
    cells = soft.logits.shape[-1] / soft.padded_hw[1]
    height, width = (math.ceil(side * cells) for side in soft.valid_hw)  # the rest is padding
    logits = soft.logits[:, :height, :width].flatten(1)
    high, low = ((logits > cut + shift).sum(dim=1) for shift in (offset, -offset))
    return high / low.clamp(min=1)
