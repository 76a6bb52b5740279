"""Mask edges where depth cannot tell: the contact zone at the plane, and pixels without depth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.proposals.clusters import absorb

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_WINDOW = (9, 9)  # in which the colours of both sides are averaged, on every second pixel
_LARGEST_HOLE = 0.2  # of the image
_BLIND_HOLE = 0.001  # of the image: a hole of unknown depth up to this size is filled
_HOLE_HEIGHT = 0.35  # mean height of a hole, in limits, from which it is not the plane
_HOLE_TOP = 1.5  # and up to which it is not something else, farther back
_MEAN_SIDE = 5  # pixels averaged for a height below the noise of one
_LIKE = 60.0  # farther than this from a thing's mean colour, in 8-bit RGB, nothing joins it
_CLEARER = 0.5  # a pixel of known low height changes sides if the other side's colour is so much nearer


def refine_edges(
    image_rgb: npt.NDArray[np.uint8],
    labels: IntArray,
    heights: FloatArray,
    limits: FloatArray,
    known: BoolArray,
    *,
    band_px: int,
) -> IntArray:
    """Lets colour decide in the band along the outlines where height is unknown or within the noise.

    A pixel goes to the side whose mean colour, in a small window around it, is nearer to its own.

    Args:
        image_rgb: (H, W, 3) uint8.
        labels: (H, W) int32, 0 = none.
        heights: (H, W) metres above the plane.
        limits: (H, W) metres, heights below which a pixel may be the plane's.
        known: (H, W): depth is known.
        band_px: width of the band in pixels, >= 1.

    Returns:
        (H, W) int32, a new array.
    """
    things = labels > 0
    window = _window_around(things, band_px + 2 * _WINDOW[0])
    if window is None:
        return labels.copy()
    out = labels.copy()
    image, part, height, limit, sure = (a[window] for a in (image_rgb, labels, heights, limits, known))
    shape = (part > 0).view(np.uint8)
    near = cv2.dilate(shape, np.ones((2 * band_px + 1,) * 2, np.uint8)).view(bool)
    blind = ~sure
    if blind.any():
        blind &= cv2.dilate(shape, np.ones((4 * band_px + 5,) * 2, np.uint8)).view(bool)
    doubt_outside = (part == 0) & (blind | (near & (height > 0.3 * limit) & (height <= limit)))
    doubt_inside = (part > 0) & ((height < 1.5 * limit) | ~sure)
    doubt = doubt_outside | doubt_inside
    if not doubt.any():
        return out
    rows, columns = np.nonzero(doubt)
    ours, theirs = _colour_distances(image, (part > 0) & ~doubt, (part == 0) & ~doubt, rows, columns)
    factor = np.where(sure[rows, columns], np.float32(_CLEARER), np.float32(1.0))
    inside = part[rows, columns] > 0
    raised = _mean_heights(height / limit, (part == 0) & sure, rows, columns) > _HOLE_HEIGHT
    joins = (
        ~inside
        & (ours < _LIKE)
        & ((ours < factor * theirs) | (raised & sure[rows, columns] & (ours < 2 * theirs)))
    )
    leaves = inside & (theirs < factor * ours)
    result = np.where(part > 0, part, 0)
    result[rows[leaves], columns[leaves]] = 0
    wanted = np.zeros(part.shape, bool)
    wanted[rows[joins], columns[joins]] = True
    flat = np.ones(part.shape, np.float32)  # no depth to compare: the nearest label takes the pixel
    out[window] = absorb(result, wanted, flat, reach_m=1.0, steps=2 * band_px + 3)
    return out


def fill_holes(labels: IntArray, heights: FloatArray, limits: FloatArray, known: BoolArray) -> IntArray:
    """Fills holes of a mask that are not the plane seen through it: bottoms of pans, gaps in the depth.

    The mean over a hole tells a height far below the noise of one pixel.

    Args:
        labels: (H, W) int32, 0 = none.
        heights: (H, W) metres above the plane.
        limits: (H, W) metres, heights below which one pixel may be the plane's.
        known: (H, W): depth is known.

    Returns:
        (H, W) int32, a new array.
    """
    out = labels.copy()
    window = _window_around(labels > 0, 2)
    if window is None:
        return out
    part, sure = out[window], known[window]
    count, holes = cv2.connectedComponents((part == 0).view(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    area = np.bincount(holes.ravel(), minlength=count)
    seen = np.bincount(holes[sure], minlength=count)
    small = (area < _LARGEST_HOLE * labels.size) & (np.arange(count) > 0)
    border = np.concatenate([holes[0], holes[-1], holes[:, 0], holes[:, -1]])
    small[border] = False
    if not small.any():
        return out
    where = np.flatnonzero(small[holes].ravel())
    which = holes.ravel()[where]
    certain = sure.ravel()[where]
    relative = np.where(certain, heights[window].ravel()[where] / limits[window].ravel()[where], 0)
    mean = np.bincount(which, relative, minlength=count) / np.maximum(seen, 1)
    raised = (seen > 0.3 * area) & (mean > _HOLE_HEIGHT) & (mean < _HOLE_TOP)
    raised |= (seen <= 0.3 * area) & (area < _BLIND_HOLE * labels.size)
    wanted = raised[holes] & small[holes]
    flat = np.ones(part.shape, np.float32)
    out[window] = absorb(part, wanted, flat, reach_m=1.0, steps=max(part.shape))
    return out


def _window_around(things: BoolArray, margin: int) -> tuple[slice, slice] | None:
    """The box of all things with a margin, clipped to the image; None without things."""
    rows, columns = np.flatnonzero(things.any(axis=1)), np.flatnonzero(things.any(axis=0))
    if not len(rows):
        return None
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )


def _colour_distances(
    image: npt.NDArray[np.uint8],
    ours: BoolArray,
    theirs: BoolArray,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> tuple[FloatArray, FloatArray]:
    """(M,) distances of pixels' colours from the mean colour of each side in the window around them.

    Infinite where a side has no pixel in the window.
    """
    colours = image[rows, columns].astype(np.float32)
    coarse = image[::2, ::2]  # means need no more
    distances = []
    for side in (ours, theirs):
        masked = np.empty((*coarse.shape[:2], 4), np.uint8)
        masked[..., :3], masked[..., 3] = coarse, 1
        masked *= side[::2, ::2, None]
        sums = cv2.boxFilter(masked, cv2.CV_32F, _WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
        sums = sums[rows // 2, columns // 2]  # (M, 4)
        counts = sums[:, 3:]
        means = sums[:, :3] / np.maximum(counts, 1)
        distance = np.linalg.norm(colours - means, axis=1)
        distance[counts[:, 0] < 2] = np.inf
        distances.append(distance)
    return distances[0], distances[1]


def _mean_heights(
    values: FloatArray, among: BoolArray, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> FloatArray:
    """(M,) mean of values over the pixels `among` around each (row, column); 0 where none is."""
    side = (_MEAN_SIDE, _MEAN_SIDE)
    total = cv2.boxFilter(np.where(among, values, np.float32(0)), cv2.CV_32F, side, normalize=False)
    count = cv2.boxFilter(among.view(np.uint8), cv2.CV_32F, side, normalize=False)
    return total[rows, columns] / np.maximum(count[rows, columns], 1)
