"""Scores of one meaning for masks of several generators, and which of two outlines lies on edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.maps import BoxedMask, mask_iou

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float32]

_MARGIN = 3  # pixels around a mask, for its outline and the slopes beside it


def calibrated(
    boxed: Sequence[BoxedMask],
    scores: FloatArray,
    rated: BoolArray,
    trust: float,
    duplicate_iou: float,
    image_rgb: npt.NDArray[np.uint8],
) -> FloatArray:
    """Scores of one meaning: predicted IoU.

    A score that is none is multiplied by `trust`, the IoU expected of the surest such mask. Where a rated
    mask agrees, two ways of looking found the same thing: both get the higher of the two scores, and the one
    whose outline lies on the stronger edges of the image a hair more, as it is the better view.

    Args:
        boxed: N masks of the image.
        scores: (N,) in [0, 1].
        rated: (N,) bool, whose scores are predicted IoU.
        trust: in [0, 1].
        duplicate_iou: from this IoU a rated mask agrees.
        image_rgb: (H, W, 3) uint8, where the masks lie.

    Returns:
        (N,) float32 in [0, 1].
    """
    out = np.where(rated, scores, trust * scores).astype(np.float32)
    theirs, ours = np.flatnonzero(rated), np.flatnonzero(~rated)
    if not len(theirs) or not len(ours):
        return out
    iou = mask_iou([boxed[i] for i in ours], [boxed[k] for k in theirs], least=duplicate_iou)
    for i, row in zip(ours.tolist(), iou, strict=True):
        agreeing = np.flatnonzero(row >= duplicate_iou)
        if not len(agreeing):
            continue
        best = int(theirs[agreeing[np.argmax(scores[theirs[agreeing]])]])
        sharper, other = (i, best) if _is_sharper(image_rgb, boxed[i], boxed[best]) else (best, i)
        out[other] = min(max(out[i], out[best]), np.nextafter(np.float32(1), np.float32(0)))
        out[sharper] = np.nextafter(out[other], np.float32(1))
    return out


def _is_sharper(image_rgb: npt.NDArray[np.uint8], one: BoxedMask, other: BoxedMask) -> bool:
    """Whether the outline of the first has the higher mean gradient under it."""
    first, second = edge_strengths(image_rgb, (one, other))
    return first > second


def edge_strengths(image_rgb: npt.NDArray[np.uint8], masks: Sequence[BoxedMask]) -> list[float]:
    """Mean over each mask's outline of the image's gradient: of the channel where it is largest, per pixel.

    Args:
        image_rgb: (H, W, 3) uint8.
        masks: near each other; none empty.

    Returns:
        One >= 0 per mask; 0 for one without an outline within the image.
    """
    boxes = np.array([mask.box_xyxy for mask in masks])
    height, width = image_rgb.shape[:2]
    left, top = np.maximum(boxes[:, :2].min(axis=0) - _MARGIN, 0).tolist()
    right, bottom = np.minimum(boxes[:, 2:].max(axis=0) + _MARGIN, (width, height)).tolist()
    part = np.ascontiguousarray(image_rgb[top:bottom, left:right])
    slopes = [cv2.Sobel(part, cv2.CV_16S, *axes) for axes in ((1, 0), (0, 1))]  # (h, w, 3) each
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    out = []
    for mask in masks:
        canvas = np.zeros(part.shape[:2], np.uint8)
        x0, y0, x1, y1 = mask.box_xyxy
        canvas[y0 - top : y1 - top, x0 - left : x1 - left] = mask.crop
        outline = np.flatnonzero(cv2.dilate(canvas, cross) != cv2.erode(canvas, cross))  # no image border
        x_and_y = [slope.reshape(-1, 3)[outline].astype(np.float32) / 8 for slope in slopes]  # (P, 3)
        out.append(float(np.hypot(*x_and_y).max(axis=1).mean()) if len(outline) else 0.0)
    return out
