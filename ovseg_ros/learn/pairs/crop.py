"""The crop that is stored of a mask: its surroundings, and the mask itself."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.pairs.shards import Pair

_EXPAND_RATIO = 1.5  # a quarter of the mask's box on each side


def mask_box(mask: npt.NDArray[np.bool_], expand_ratio: float = 1.0) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1, end exclusive: the tight box, grown and clipped as `crop_regions` does it."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x0, x1, y0, y1 = int(xs[0]), int(xs[-1]) + 1, int(ys[0]), int(ys[-1]) + 1
    grow_x = round((x1 - x0) * (expand_ratio - 1.0) / 2.0)
    grow_y = round((y1 - y0) * (expand_ratio - 1.0) / 2.0)
    height, width = mask.shape
    return max(x0 - grow_x, 0), max(y0 - grow_y, 0), min(x1 + grow_x, width), min(y1 + grow_y, height)


def make_pair(frame: Frame, mask: npt.NDArray[np.bool_], meta: dict[str, Any], crop_size: int) -> Pair:
    """Cuts the mask's surroundings out of the image.

    Args:
        frame: the image.
        mask: (H, W) bool, not empty.
        meta: with "noun"; gains box_xyxy (of the mask, in the crop), image_box_xyxy (in the image) and area
            (pixels in the image).
        crop_size: longer side of the crop in pixels, at most.

    Returns:
        The box around the mask grown by a quarter of its sides on each side, clipped to the image and
        scaled down to `crop_size` where it is larger; never blanked.

    Raises:
        InvalidInputError: the mask is empty.
    """
    if not mask.any():
        raise InvalidInputError(f"expected a mask with pixels for {meta['noun']!r}, got an empty one")
    x0, y0, x1, y1 = mask_box(mask, _EXPAND_RATIO)
    crop, inside = frame.image_rgb[y0:y1, x0:x1], mask[y0:y1, x0:x1]
    scale = crop_size / max(inside.shape)
    if scale < 1:
        size_wh = max(round(inside.shape[1] * scale), 1), max(round(inside.shape[0] * scale), 1)
        crop = cv2.resize(crop, size_wh, interpolation=cv2.INTER_AREA)
        share = cv2.resize(inside.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA)
        inside = share >= min(0.5, float(share.max()))  # what is thinner than half a pixel does not vanish
    full = {
        **meta,
        "box_xyxy": list(mask_box(inside)),
        "image_box_xyxy": list(mask_box(mask)),
        "area": int(np.count_nonzero(mask)),
    }
    return Pair(str(meta["noun"]), np.ascontiguousarray(crop), np.ascontiguousarray(inside), full)
