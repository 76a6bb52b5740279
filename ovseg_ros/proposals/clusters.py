"""From a mask of what stands out to labelled pieces: cut at depth jumps, then connect."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_STEEPEST = 15.0  # slope (depth over width, 86 degrees) beyond which neighbours are not one surface
_SHARE_OF_DEPTH = 0.006  # jumps are also at least this part of the distance


def pixel_noise(depth_m: FloatArray) -> float:
    """How far single pixels scatter around their own surface: standard deviation at 1 m, metres.

    From second differences of inverse depth along every eighth row, zero on any plane; robust against edges.

    Args:
        depth_m: (H, W) metres, 0 where unknown.
    """
    rows = depth_m[4::8]
    inverse = np.divide(np.float32(1), rows, out=np.zeros_like(rows), where=rows > 0)
    bend = inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2]
    known = (inverse[:, 2:] > 0) & (inverse[:, 1:-1] > 0) & (inverse[:, :-2] > 0)
    return float(1.4826 * np.median(np.abs(bend[known])) / np.sqrt(6.0)) if known.any() else 0.0


def close_gaps(depth_m: FloatArray) -> FloatArray:
    """Unknown pixels beside known ones get the nearest depth around them, one pixel deep.

    Thin rims and edges, where sensors leave pixels out, so stay connected; colour is asked later.

    Args:
        depth_m: (H, W) metres, 0 where unknown.

    Returns:
        (H, W) float32, a new array.
    """
    far = np.float32(1e6)
    filled = np.where(depth_m > 0, depth_m, far)
    around = cv2.erode(filled, np.ones((3, 3), np.uint8))
    return np.where((filled == far) & (around < far), around, depth_m)


def depth_jumps(
    depth_m: FloatArray, inside: BoolArray, *, jump_m: float, noise_m: float, focal_px: float
) -> BoolArray:
    """The far side of every place where neighbouring pixels lie on different surfaces.

    In inverse depth a plane is linear, so a step that the slope on either side explains is no jump, however
    slanted the surface.

    Args:
        depth_m: (H, W) metres, 0 where unknown.
        inside: (H, W); only pairs with both pixels inside are looked at.
        jump_m: smallest jump in metres.
        noise_m: depth noise at 1 m, metres.
        focal_px: focal length in pixels.

    Returns:
        (H, W): the farther pixel of every such pair; taking these away closes the cut for 4-connectivity.
    """
    inverse = np.divide(np.float32(1), depth_m, out=np.zeros_like(depth_m), where=inside & (depth_m > 0))
    least = np.maximum(np.float32(jump_m) * inverse, np.float32(_SHARE_OF_DEPTH))
    least *= inverse  # a jump in depth as a jump in inverse depth
    least += np.float32(4 * noise_m)
    barrier = np.zeros(depth_m.size, bool)
    flat, flat_least, width = inverse.ravel(), least.ravel(), depth_m.shape[1]
    for step, stride in ((inverse[:, 1:] - inverse[:, :-1], 1), (inverse[1:] - inverse[:-1], width)):
        rows, columns = np.nonzero(np.abs(step) > least[: step.shape[0], : step.shape[1]])
        first = rows * width + columns
        barrier[_far_sides(flat, flat_least, first, stride, _STEEPEST / focal_px)] = True
    return barrier.reshape(depth_m.shape)


def _far_sides(
    inverse: FloatArray, least: FloatArray, first: npt.NDArray[np.int64], stride: int, steepest: float
) -> npt.NDArray[np.int64]:
    """Of candidate pairs (first, first + stride), flat indices: the farther pixels of the true jumps."""
    second = first + stride
    both = (inverse[first] > 0) & (inverse[second] > 0)
    first, second = first[both], second[both]
    step = inverse[second] - inverse[first]
    last = len(inverse) - 1
    before, after = inverse[np.maximum(first - stride, 0)], inverse[np.minimum(second + stride, last)]
    bend = np.minimum(
        np.where(before > 0, np.abs(step - (inverse[first] - before)), np.inf),
        np.where(after > 0, np.abs(step - (after - inverse[second])), np.inf),
    )
    limit = np.maximum(least[first], least[second])
    nearer = np.maximum(inverse[first], inverse[second])
    jump = (bend > limit) | (np.abs(step) > np.maximum(limit, np.float32(steepest) * nearer))
    return np.where(step < 0, second, first)[jump]


def connect(open_pixels: BoolArray, min_pixels: int) -> tuple[IntArray, int]:
    """4-connected components.

    Args:
        open_pixels: (H, W).
        min_pixels: smaller components stay unlabelled.

    Returns:
        (H, W) int32 labels, 0 = none, and how many.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        open_pixels.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    keep = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= min_pixels)
    keep = keep[keep > 0]
    renumber = np.zeros(count, np.int32)
    renumber[keep] = np.arange(1, len(keep) + 1)
    return renumber[labels], len(keep)


def absorb(
    labels: IntArray, inside: BoolArray, depth_m: FloatArray, reach_m: float, steps: int = 3
) -> IntArray:
    """Gives unlabelled pixels inside to the neighbouring label nearest in depth, ring by ring.

    Args:
        labels: (H, W) int32, 0 = none.
        inside: (H, W); only these pixels may be labelled.
        depth_m: (H, W) metres.
        reach_m: largest step in depth to a label, metres at 1 m (grows with the distance).
        steps: rings.

    Returns:
        (H, W) int32, a new array.
    """
    height, width = labels.shape
    flat = np.pad(labels, 1)
    depth = np.pad(depth_m, 1)
    todo = np.flatnonzero(np.pad(inside, 1).ravel() & (flat.ravel() == 0))
    out, z = flat.ravel(), depth.ravel()
    offsets = np.array([-1, 1, -(width + 2), width + 2])
    for _ in range(steps):
        if not len(todo):
            break
        near = todo[:, None] + offsets  # (M, 4)
        gap = np.abs(z[near] - z[todo, None])
        gap[out[near] == 0] = np.inf
        pick = gap.argmin(axis=1)
        rows = np.arange(len(todo))
        good = gap[rows, pick] < reach_m * np.maximum(z[todo], 0.5)
        out[todo[good]] = out[near[rows[good], pick[good]]]
        if not good.any():
            break
        todo = todo[~good]
    return out.reshape(height + 2, width + 2)[1:-1, 1:-1].copy()
