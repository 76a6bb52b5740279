"""Mask edges where depth cannot tell: the contact zone at the plane, and pixels without depth."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.proposals.depth.clusters import spread, window_around

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_WINDOW = (9, 9)  # in which the colours of both sides are averaged, on every second pixel
_LARGEST_HOLE = 0.2  # of the image
_MOUTH = 0.25  # of the closed part of its edge is the widest mouth of a bay
_NOTABLE = (
    0.01  # of the thing's pixels, from which a hole or bay is asked for its colour: less is its outline
)
_UNLIKE = 40.0  # in 8-bit RGB: a hole nearer to the plane's mean colour may be the plane in the shade
_RING_PX = 15  # pixels across: what lies around a hole and beside a thing
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
    margin = band_px + 2 * _WINDOW[0]
    doubt = _in_doubt(things, heights, limits, known, band_px, margin)
    out = labels.copy()
    where = np.flatnonzero(doubt)
    if not len(where):
        return out
    inside, sure = things.reshape(-1)[where], known.reshape(-1)[where]
    ours, theirs = _colour_distances(image_rgb, things, ~doubt, where, window_around(things, margin))
    factor = np.where(sure, np.float32(_CLEARER), np.float32(1.0))
    leaves = inside & (theirs < factor * ours)
    like = ~inside & (ours < _LIKE)
    joins = like & (ours < factor * theirs)
    maybe = np.flatnonzero(like & sure & ~joins & (ours < 2 * theirs))
    raised = _mean_heights(heights, limits, ~things & known, where[maybe]) > _HOLE_HEIGHT
    joins[maybe[raised]] = True
    out.reshape(-1)[where[leaves]] = 0
    spread(out, where[joins], steps=2 * band_px + 3)
    return out


def _in_doubt(
    things: BoolArray, heights: FloatArray, limits: FloatArray, known: BoolArray, band_px: int, margin: int
) -> BoolArray:
    """(H, W): pixels that colour may move in or out; those of unknown depth up to `margin` pixels away."""
    doubt = things & (heights < np.float32(1.5) * limits)
    near = _widened(things, band_px) & ~things
    doubt |= near & (heights > np.float32(0.3) * limits) & (heights <= limits)
    blind = ~known
    if blind.any():
        blind &= _widened(things, min(2 * band_px + 2, margin))
        doubt |= blind
    return doubt


def fill_holes(
    image_rgb: npt.NDArray[np.uint8],
    labels: IntArray,
    heights: FloatArray,
    limits: FloatArray,
    known: BoolArray,
) -> IntArray:
    """Fills holes of a mask that are not the plane seen through it: bottoms of pans, gaps in the depth.

    The mean over a hole tells a height far below the noise of one pixel. Where gloss spoils even that, as in
    a bowl, colour decides, also of a bay that the thing's convex hull closes: it is filled if its mean colour
    is that of the thing around rather than that of the plane beside.

    Args:
        image_rgb: (H, W, 3) uint8.
        labels: (H, W) int32, 0 = none.
        heights: (H, W) metres above the plane.
        limits: (H, W) metres, heights below which one pixel may be the plane's.
        known: (H, W): depth is known.

    Returns:
        (H, W) int32, a new array.
    """
    out = labels.copy()
    window = window_around(labels > 0, _RING_PX)  # with a margin that is no hole, unless the image ends
    size = labels.size
    image_rgb, labels, heights, limits, known = (
        a[window].copy() for a in (image_rgb, labels, heights, limits, known)
    )
    _, apart, sizes, _ = cv2.connectedComponentsWithStats(
        (labels == 0).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    count, holes, stats, _ = cv2.connectedComponentsWithStats(
        ((labels == 0) & _closed(labels)).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    where = np.flatnonzero(holes)  # few of the image
    if not len(where):
        return out
    area = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    around = np.zeros(count, np.int64)
    around[holes.reshape(-1)[where]] = sizes[apart.reshape(-1)[where], cv2.CC_STAT_AREA]
    inner = area == around
    for border in (holes[0], holes[-1], holes[:, 0], holes[:, -1]):
        inner[border] = False
    which = holes.reshape(-1)[where]
    certain = known.reshape(-1)[where]
    relative = heights.reshape(-1)[where] / limits.reshape(-1)[where]
    relative[~certain] = 0
    seen = np.bincount(which[certain], minlength=count)
    mean = np.bincount(which, relative, minlength=count) / np.maximum(seen, 1)
    raised = inner & (seen > 0.3 * area) & (mean > _HOLE_HEIGHT)
    raised |= _enclosed(labels, holes, count) & _like_around(image_rgb, labels, holes, count)
    raised &= mean < _HOLE_TOP
    raised |= inner & (seen <= 0.3 * area) & (area < _BLIND_HOLE * size)
    raised &= area < _LARGEST_HOLE * size
    spread(labels, where[raised[which]], steps=max(labels.shape))
    out[window] = labels
    return out


def _closed(labels: IntArray) -> BoolArray:
    """(H, W): within the convex hull, in the image, of some label, or within the outline of several."""
    inside = (labels > 0).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(inside, outlines, -1, 1, cv2.FILLED)
    where = np.flatnonzero(labels)
    which = labels.reshape(-1)[where]
    order = np.argsort(which.astype(np.uint16) if labels.max() < 1 << 16 else which, kind="stable")
    ends = np.flatnonzero(np.diff(which[order])) + 1
    for part in np.split(where[order], ends) if len(where) else ():
        rows, columns = np.divmod(part, labels.shape[1])
        cv2.fillConvexPoly(inside, cv2.convexHull(np.stack([columns, rows], axis=1).astype(np.int32)), 1)
    return inside.view(bool)


def _enclosed(labels: IntArray, holes: IntArray, count: int) -> BoolArray:
    """(count,) whether holes (H, W) are open along a small part of their edge only."""
    cells = np.ones((3, 3), np.uint8)
    edges = []
    for beyond in (labels > 0, (labels == 0) & (holes == 0)):
        edge = cv2.dilate(beyond.view(np.uint8), cells).view(bool) & (holes > 0)
        edges.append(np.bincount(holes[edge], minlength=count))
    closed, mouth = edges
    return mouth < _MOUTH * closed


def _like_around(
    image_rgb: npt.NDArray[np.uint8], labels: IntArray, holes: IntArray, count: int
) -> BoolArray:
    """(count,) whether holes (H, W) have the colour of the thing around, not of the plane beside."""
    pen = np.ones((_RING_PX, _RING_PX), np.uint8)
    around = cv2.dilate(holes.astype(np.float32), pen).astype(np.int32)  # of 16 bits it is not faster
    beside = cv2.dilate(labels.astype(np.float32), pen).astype(np.int32)
    ring = (labels > 0) & (around > 0)
    owner = np.zeros(count, np.int64)
    owner[around[ring]] = labels[ring]
    own = _mean_colours(image_rgb, holes, holes > 0, count)
    ours = _mean_colours(image_rgb, around, ring, count)
    plane = (labels == 0) & (holes == 0) & (beside > 0)
    theirs = _mean_colours(image_rgb, beside, plane, int(labels.max()) + 1)[owner]
    away = np.linalg.norm(own - theirs, axis=1)
    notable = np.bincount(holes.reshape(-1)) >= _NOTABLE * np.bincount(labels.reshape(-1))[owner]
    return notable & (away > _UNLIKE) & (np.linalg.norm(own - ours, axis=1) < _CLEARER * away)


def _mean_colours(
    image_rgb: npt.NDArray[np.uint8], names: IntArray, among: BoolArray, count: int
) -> npt.NDArray[np.float64]:
    """(count, 3) mean RGB of the pixels `among` (H, W) that have each name (H, W), NaN where none has."""
    which = names[among]
    sums = [np.bincount(which, image_rgb[..., c][among], minlength=count) for c in range(3)]
    with np.errstate(invalid="ignore"):
        return (np.array(sums) / np.bincount(which, minlength=count)).T


def _widened(things: BoolArray, by_px: int) -> BoolArray:
    """(H, W): within `by_px` rows and columns of a thing."""
    side = 2 * by_px + 1
    return cv2.dilate(things.view(np.uint8), np.ones((side, side), np.uint8)).view(bool)


def _colour_distances(
    image_rgb: npt.NDArray[np.uint8],
    things: BoolArray,
    certain: BoolArray,
    where: npt.NDArray[np.int64],
    window: tuple[slice, slice],
) -> tuple[FloatArray, FloatArray]:
    """(M,) distances of pixels' colours from the mean of things, and of the rest, in a small window around.

    Of the pixels at flat indices `where` (M,); only `certain` ones (H, W) count, and where a side has less
    than two of them it is infinitely far. `window` holds the pixels and all that is around them.
    """
    rows, columns = np.divmod(where, image_rgb.shape[1])
    colours = image_rgb[rows, columns].astype(np.float32)
    rgba = _every_second_pixel(image_rgb[window])  # (h, w, 4); means need no more
    cells = (rows - window[0].start) // 2 * rgba.shape[1] + (columns - window[1].start) // 2
    side, certain = (np.ascontiguousarray(a[window][::2, ::2]) for a in (things, certain))
    distances = []
    for among in (certain & side, certain & ~side):
        masked = np.zeros_like(rgba)
        cv2.copyTo(rgba, among.view(np.uint8), masked)
        sums = cv2.boxFilter(masked, cv2.CV_32F, _WINDOW, normalize=False, borderType=cv2.BORDER_CONSTANT)
        sums = sums.reshape(-1, 4).take(cells, axis=0)  # (M, 4)
        counts = sums[:, 3] / np.float32(255)
        away = colours - sums[:, :3] / np.maximum(counts, 1)[:, None]
        distance = np.sqrt(np.einsum("mc,mc->m", away, away))
        distance[counts < 2] = np.inf
        distances.append(distance)
    return distances[0], distances[1]


def _every_second_pixel(image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(ceil(H/2), ceil(W/2), 4): colours, and 255, which will count the pixels."""
    rows = image_rgb[::2]
    rgba = np.full((*rows.shape[:2], 4), 255, np.uint8)
    cv2.mixChannels([rows], [rgba], [0, 0, 1, 1, 2, 2])  # cvtColor would wake threads for so little
    pixels = np.ascontiguousarray(rgba.view(np.uint32)[:, ::2])  # (h, w, 1)
    return pixels.view(np.uint8)


def _mean_heights(
    heights: FloatArray, limits: FloatArray, among: BoolArray, where: npt.NDArray[np.int64]
) -> FloatArray:
    """(M,) mean of heights/limits over the pixels `among` around each flat index; 0 where none is."""
    offsets = np.arange(_MEAN_SIDE) - _MEAN_SIDE // 2
    height, width = among.shape
    rows, columns = np.divmod(where, width)
    rows = np.clip(rows[:, None] + offsets, 0, height - 1)  # (M, S)
    columns = np.clip(columns[:, None] + offsets, 0, width - 1)
    around = rows[:, :, None] * width + columns[:, None, :]  # (M, S, S)
    counted = among.reshape(-1)[around]
    values = np.where(counted, heights.reshape(-1)[around] / limits.reshape(-1)[around], np.float32(0))
    return values.sum(axis=(1, 2)) / np.maximum(np.count_nonzero(counted, axis=(1, 2)), 1)
