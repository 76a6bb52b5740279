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
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = np.reciprocal(depth_m[4::8])  # infinite where unknown, and so is whatever it takes part in
        bend = inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2]
    bend = bend[np.isfinite(bend)]
    return 1.4826 * float(np.median(np.abs(bend, out=bend))) / float(np.sqrt(6.0)) if len(bend) else 0.0


def close_gaps(depth_m: FloatArray) -> FloatArray:
    """Unknown pixels beside known ones get the nearest depth around them, one pixel deep.

    Thin rims and edges, where sensors leave pixels out, so stay connected; colour is asked later.

    Args:
        depth_m: (H, W) metres, 0 where unknown.

    Returns:
        (H, W) float32, a new array.
    """
    closed = depth_m.copy()
    gaps = np.flatnonzero(depth_m <= 0)
    if not len(gaps):
        return closed
    flat, far = closed.reshape(-1), np.float32(1e6)
    flat[gaps] = far
    nearest = cv2.erode(closed, np.ones((3, 3), np.uint8)).reshape(-1)[gaps]
    flat[gaps] = np.where(nearest < far, nearest, depth_m.reshape(-1)[gaps])
    return closed


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
    where = np.flatnonzero(inside & (depth_m > 0))
    here = np.reciprocal(depth_m.reshape(-1)[where])  # (M,)
    inverse = np.full(depth_m.size, np.nan, np.float32)  # no comparison with it is true
    inverse[where] = here
    least = least_step(here, jump_m, noise_m)
    barrier = np.zeros(depth_m.size, bool)
    height, width = depth_m.shape
    for stride, length in ((1, width), (width, height)):
        step = inverse.take(where + stride, mode="clip")  # beyond the end of a line is another; see `place`
        step -= here
        high = np.flatnonzero(np.abs(step, out=step) > least)
        place = where[high] % width if stride == 1 else where[high] // width  # in its row or column
        high, place = high[place < length - 1], place[place < length - 1]
        first = where[high]
        limit = np.maximum(least[high], least_step(inverse[first + stride], jump_m, noise_m))
        before = np.where(place > 0, inverse.take(first - stride, mode="clip"), np.nan)
        after = np.where(place < length - 2, inverse.take(first + 2 * stride, mode="clip"), np.nan)
        steepest = np.float32(_STEEPEST / focal_px)
        jump = _is_jump(before, inverse[first], inverse[first + stride], after, limit, steepest)
        first = first[jump]
        barrier[np.where(inverse[first + stride] < inverse[first], first + stride, first)] = True
    return barrier.reshape(depth_m.shape)


def least_step(inverse: FloatArray, jump_m: float, noise_m: float) -> FloatArray:
    """(M,) the smallest jump at inverse depths (M,): a jump in depth as one in inverse depth, and noise."""
    least = np.maximum(np.float32(jump_m) * inverse, np.float32(_SHARE_OF_DEPTH))
    least *= inverse
    least += np.float32(4 * noise_m)
    return least


def _is_jump(
    before: FloatArray,
    here: FloatArray,
    there: FloatArray,
    after: FloatArray,
    limit: FloatArray,
    steepest: float,
) -> BoolArray:
    """(M,) which steps from `here` to `there` no slope explains: of inverse depths, NaN where unknown."""
    step = there - here
    bend = np.fmin(np.abs(step - (here - before)), np.abs(step - (after - there)))  # leaves NaN out
    bend[np.isnan(bend)] = np.inf
    return (bend > limit) | (np.abs(step) > np.maximum(limit, steepest * np.maximum(here, there)))


def connect(open_pixels: BoolArray, min_pixels: int) -> tuple[IntArray, int]:
    """4-connected components.

    Args:
        open_pixels: (H, W).
        min_pixels: smaller components stay unlabelled.

    Returns:
        (H, W) int32 labels, 0 = none, and how many.
    """
    count, labels = cv2.connectedComponents(open_pixels.view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    where = np.flatnonzero(open_pixels)
    flat = labels.reshape(-1)
    which = flat[where]
    keep = np.flatnonzero(np.bincount(which, minlength=count) >= max(1, min_pixels))
    renumber = np.zeros(count, np.int32)
    renumber[keep] = np.arange(1, len(keep) + 1)
    flat[where] = renumber[which]  # the background is 0 already
    return labels, len(keep)


def seam_lengths(labels: IntArray) -> dict[tuple[int, int], int]:
    """Along how many pixels labels (H, W), 0 = none, meet, by pairs of them, the lower one first."""
    pairs = []
    for a, b in ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])):
        meet = (a != b) & (a > 0) & (b > 0)
        pairs.append(np.stack([np.minimum(a[meet], b[meet]), np.maximum(a[meet], b[meet])], axis=1))
    found, lengths = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    return {(low, high): length for (low, high), length in zip(found.tolist(), lengths.tolist())}


def window_around(things: BoolArray, margin: int = 0) -> tuple[slice, slice]:
    """The box of all things (H, W) with a margin, clipped to the image; nearly nothing without things."""
    left, top, width, height = cv2.boundingRect(things.view(np.uint8))
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )


def relabel(labels: IntArray, table: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Replaces every label by table[label], in place, and counts.

    Args:
        labels: (H, W) int32, contiguous, 0..K.
        table: (K + 1,), its first entry 0.

    Returns:
        Pixels of each label 0..highest; none of label 0.
    """
    flat = labels.reshape(-1)
    where = np.flatnonzero(flat > 0)  # the background is most of the image
    which = table[flat[where]]
    flat[where] = which
    areas = np.bincount(which, minlength=1)
    areas[0] = 0
    return areas


def spread(
    labels: IntArray,
    todo: npt.NDArray[np.int64],
    depth_m: FloatArray | None = None,
    *,
    reach_m: float = 1.0,
    steps: int = 3,
) -> None:
    """Gives unlabelled pixels to the neighbouring label nearest in depth, ring by ring, in place.

    Args:
        labels: (H, W) int32, contiguous, 0 = none.
        todo: (M,) flat indices of unlabelled pixels; no other is labelled.
        depth_m: (H, W) metres; without it every neighbour is as near.
        reach_m: largest step in depth to a label, metres at 1 m (grows with the distance).
        steps: rings.
    """
    flat = labels.reshape(-1)
    near = _neighbours(todo, labels.shape)  # (4, M)
    gaps = np.zeros(near.shape, np.float32)
    if depth_m is not None:
        z = depth_m.reshape(-1)
        here = z[todo]
        gaps = np.abs(z[near] - here)
        gaps[gaps >= reach_m * np.maximum(here, 0.5)] = np.inf
    for _ in range(steps):
        if not len(todo):
            break
        found = flat[near]  # (4, M)
        gap = np.where(found > 0, gaps, np.float32(np.inf))
        pick = gap.argmin(axis=0)
        rows = np.arange(len(todo))
        good = gap[pick, rows] < np.inf
        if not good.any():
            break
        flat[todo[good]] = found[pick[good], rows[good]]
        left = np.flatnonzero(~good)
        todo, near, gaps = todo[left], near[:, left], gaps[:, left]


def _neighbours(where: npt.NDArray[np.int64], size_hw: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """(4, M) flat indices of the pixels left, right, above and below; the pixel's own beyond the image."""
    height, width = size_hw
    column = where % width
    return np.stack(
        [
            where - (column > 0),
            where + (column < width - 1),
            np.where(where >= width, where - width, where),
            np.where(where < (height - 1) * width, where + width, where),
        ]
    )
