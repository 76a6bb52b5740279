"""How a training crop is stored: (S, S, 4) uint8, RGB and mask {0, 255}.

The crop holds the object's tight box grown by `GROWTH` and squashed to S x S, so that training can still move
the box and grow or shrink the mask.
"""

from __future__ import annotations

import cv2
import numpy as np

STORED_SIZE = 132
GROWTH = 1.18  # stored box / tight box
BACKGROUND = -1  # label of a crop that shows no object


def crop_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 (end exclusive) of a mask's tight box grown by GROWTH; may leave the image."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    cx, cy = (xs[0] + xs[-1] + 1) / 2, (ys[0] + ys[-1] + 1) / 2
    hw, hh = (xs[-1] + 1 - xs[0]) * GROWTH / 2, (ys[-1] + 1 - ys[0]) * GROWTH / 2
    return round(cx - hw), round(cy - hh), round(cx + hw), round(cy + hh)


def cut(image_rgb: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(S, S, 4) uint8 crop of one mask: grown box, squashed; outside the image grey and mask 0."""
    x0, y0, x1, y1 = crop_box(mask)
    h, w = mask.shape
    rgba = np.dstack([image_rgb, mask.astype(np.uint8) * 255])
    pad = max(0, -x0, -y0, x1 - w, y1 - h)
    if pad:
        rgba = cv2.copyMakeBorder(rgba, pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=(122, 116, 104, 0))
    box = rgba[y0 + pad : y1 + pad, x0 + pad : x1 + pad]
    shrink = max(box.shape[:2]) > 1.5 * STORED_SIZE
    out = cv2.resize(
        box, (STORED_SIZE, STORED_SIZE), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    )
    out[..., 3] = np.where(out[..., 3] > 127, 255, 0)
    return out
