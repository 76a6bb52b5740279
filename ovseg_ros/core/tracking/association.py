"""Which mask is which track: scores of pairs, and the assignment that makes the most of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from ovseg_ros.core.maps import BoxedMask, mask_iou
from ovseg_ros.core.tracking.appearance import ChangeLimits, Thumbnails, changes

_LEAST_IOU = 0.1  # of a mask and where a track is expected; below it only embeddings can join them
_COMPARED = 4  # tracks per mask, those of the highest IoU, whose thumbnails are compared

FloatArray = npt.NDArray[np.float32]
Pairs = list[tuple[int, int]]


def assign(scores: FloatArray, least: float) -> Pairs:
    """The one-to-one assignment of the largest sum of scores, among pairs that reach `least`.

    Args:
        scores: (T, N) float32; -inf forbids a pair.
        least: pairs below it are not made.

    Returns:
        (row, column) pairs, by row; at most min(T, N).

    Examples:
        >>> assign(np.array([[0.9, 0.8], [0.7, 0.1]], np.float32), 0.3)
        [(0, 1), (1, 0)]
    """
    if not scores.size:
        return []
    allowed = scores >= least
    worth = np.where(allowed, scores - least + 1e-6, 0.0)  # what is not allowed adds nothing, and is dropped
    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(t), int(n)) for t, n in zip(rows, columns, strict=True) if allowed[t, n]]


def overlap_scores(
    expected: Sequence[BoxedMask],
    thumbnails: Thumbnails,
    masks: Sequence[BoxedMask],
    mask_thumbnails: Thumbnails,
    *,
    weights: tuple[float, float, float],
    limits: ChangeLimits,
) -> FloatArray:
    """How well T tracks fit N masks, before any mask is encoded.

    score = (w_iou · IoU + w_embedding · likeness + w_motion · nearness) / (w_iou + w_embedding + w_motion).
    The likeness of thumbnails, 1 − change / 2, stands in for the cosine of embeddings, which would have to be
    computed first.

    Args:
        expected: T masks of the tracks, moved to where they should be now.
        thumbnails: T thumbnails, as the tracks were last found.
        masks: N masks.
        mask_thumbnails: N thumbnails.
        weights: of IoU, embedding and motion, not all 0.
        limits: what a change is.

    Returns:
        (T, N) float32 in [0, 1]; -inf where the IoU is below 0.1.
    """
    iou = mask_iou(expected, masks, least=_LEAST_IOU).astype(np.float32)
    near = iou >= _LEAST_IOU
    if iou.shape[0] > _COMPARED:
        near &= iou >= -np.partition(-iou, _COMPARED - 1, axis=0)[_COMPARED - 1]
    scores = np.full(iou.shape, -np.inf, np.float32)
    tracks, found = np.nonzero(near)
    if len(tracks):
        likeness = (
            1 - np.minimum(changes(thumbnails.take(tracks), mask_thumbnails.take(found), limits), 2) / 2
        )
        nearness = centre_nearness(expected, masks)[tracks, found]
        parts = weights[0] * iou[tracks, found] + weights[1] * likeness + weights[2] * nearness
        scores[tracks, found] = parts / sum(weights)
    return scores


def embedding_scores(
    expected: Sequence[BoxedMask],
    rows: FloatArray,
    masks: Sequence[BoxedMask],
    mask_rows: FloatArray,
    *,
    weights: tuple[float, float],
    least_cosine: float,
    reach: float,
) -> FloatArray:
    """How well T tracks fit N masks that do not overlap them, by what the encoder says.

    Args:
        expected: T masks of the tracks, moved to where they should be now.
        rows: (T, D) float32 unit rows.
        masks: N masks.
        mask_rows: (N, D) float32 unit rows.
        weights: of embedding and motion, not both 0.
        least_cosine: pairs less alike are not made.
        reach: farthest that a thing may have gone, in diagonals of its box.

    Returns:
        (T, N) float32 in [0, 1]; -inf for pairs that are not made.
    """
    if not expected or not masks:
        return np.full((len(expected), len(masks)), -np.inf, np.float32)
    cosine = rows @ mask_rows.T
    nearness = centre_nearness(expected, masks, reach)
    scores = (weights[0] * cosine.clip(0, 1) + weights[1] * nearness) / sum(weights)
    return np.where((cosine >= least_cosine) & (nearness > 0), scores, -np.inf).astype(np.float32)


def centre_nearness(
    first: Sequence[BoxedMask], second: Sequence[BoxedMask], reach: float = 1.0
) -> FloatArray:
    """(T, N) float32: 1 for boxes about one centre, falling to 0 at `reach` diagonals of the larger box."""
    a, b = (np.array([mask.centre_xy for mask in masks], np.float32) for masks in (first, second))
    size_a, size_b = (
        np.array([math.hypot(*mask.crop.shape) for mask in masks], np.float32) for masks in (first, second)
    )
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    gone = apart / np.maximum(reach * np.maximum(size_a[:, None], size_b[None]), 1)
    return np.asarray(np.maximum(0, 1 - gone), dtype=np.float32)
