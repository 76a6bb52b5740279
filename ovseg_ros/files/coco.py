"""Masks as COCO writes them: run lengths, with the box and the area that belong to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask


def coco_mask_fields(mask: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """The part of a COCO annotation that a mask decides.

    Args:
        mask: (H, W) bool.

    Returns:
        "segmentation" {"size": [H, W], "counts": text}, "bbox" [x, y, width, height] and "area", in pixels.
    """
    rle = coco_mask.encode(np.asfortranarray(mask.view(np.uint8)))
    return {
        "segmentation": {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")},
        "bbox": coco_mask.toBbox(rle).tolist(),
        "area": int(coco_mask.area(rle)),
    }
