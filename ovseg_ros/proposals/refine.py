"""Mask edges where depth cannot tell: the contact zone at the plane, and pixels without depth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]


def height_limit(depth_m: FloatArray, min_height_m: float, noise_m: float) -> FloatArray:
    """(H, W) metres: the height above the plane that noise does not reach."""
    return np.maximum(np.float32(min_height_m), np.float32(3.0 * noise_m) * depth_m * depth_m)


def refine_edges(
    image_rgb: npt.NDArray[np.uint8], labels: IntArray, heights: FloatArray, depth_m: FloatArray, *, band_px: int
) -> IntArray:
    """x"""
    return labels
