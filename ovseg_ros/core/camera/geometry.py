"""From registered depth to points and boxes in the camera's optical frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics

_TAIL_PERCENT = 2.0  # so many points on either side may be flying pixels
_ROWS_AT_ONCE = 90
_INFINITY, _NAN = np.array([np.inf, np.nan], np.float32).view(np.uint32)
_MAX_POINTS = 2048  # of one mask: a box does not get better by more
_MARGIN = 0.1  # of the span between the tails; an evenly filled box keeps its full size


@lru_cache(maxsize=8)
def pixel_rays(
    intrinsics: CameraIntrinsics, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pinhole rays: (u − cx) / fx of each column (W,), x/z, and (v − cy) / fy of each row (H,), y/z, float32.

    u and v count pixel centres from 0. Kept, so they cannot be written to.
    """
    u = (np.arange(size_hw[1], dtype=np.float32) - np.float32(intrinsics.cx)) / np.float32(intrinsics.fx)
    v = (np.arange(size_hw[0], dtype=np.float32) - np.float32(intrinsics.cy)) / np.float32(intrinsics.fy)
    u.flags.writeable = v.flags.writeable = False
    return u, v


Box3d = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def mask_boxes_3d(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    masks: Sequence[npt.NDArray[np.bool_]],
    parts: Sequence[tuple[slice, slice]],
) -> list[Box3d | None]:
    """Axis-aligned boxes around the points behind masks, deaf to the few that fly off at depth edges.

    Per axis, points beyond the 2nd and 98th percentile by more than a tenth of the distance between the two
    are left out; the box is tight around the rest. Of a large mask every s-th row and column is looked at: s
    is the smallest step that leaves at most 2048 pixels of its box, so a side comes out short by at most
    s - 1 pixels, 2 % of a square mask. Where the sample meets no known depth, all pixels are looked at.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        masks: N of (H, W).
        parts: rows and columns of each mask's tight box.

    Returns:
        N times: centre (3,) and size (3,), float64 metres in the camera's optical frame (x right, y down, z
        forward); None where no point of the mask has a known depth.
    """
    pairs = zip(masks, parts, strict=True)
    found = (_sampled_points(depth_m, intrinsics, mask, part) for mask, part in pairs)
    return [None if points is None else _box_3d(points) for points in found]


def _sampled_points(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: npt.NDArray[np.bool_],
    part: tuple[slice, slice],
) -> npt.NDArray[np.float32] | None:
    """(3, M) points of a mask in metres, None where no depth is known."""
    rows, columns = part
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    u, v = pixel_rays(intrinsics, depth_m.shape)
    for step in sorted({max(math.ceil(math.sqrt(area / _MAX_POINTS)), 1), 1}, reverse=True):
        where = slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step)
        z = depth_m[where].copy()
        known = z.view(np.uint32) - np.uint32(1) < _INFINITY - np.uint32(1)  # as in `_known_or_nan`
        known &= mask[where]
        at = np.flatnonzero(known)
        if len(at):
            points = np.empty((3, *z.shape), np.float32)
            points[2] = z
            with np.errstate(invalid="ignore"):  # of inf times 0, which is left out
                np.multiply(u[where[1]], z, out=points[0])
                np.multiply(v[where[0]][:, None], z, out=points[1])
            return points.reshape(3, -1).take(at, axis=1)
    return None


def _box_3d(points: npt.NDArray[np.float32]) -> Box3d:
    """Centre and size of the box around points (3, M), M >= 1; see `mask_boxes_3d`."""
    ordered, last = np.sort(points, axis=1), points.shape[1] - 1
    tails = []  # as of np.percentile, which takes several times as long
    for percent in (_TAIL_PERCENT, 100.0 - _TAIL_PERCENT):
        below, above = int(percent / 100.0 * last), min(int(percent / 100.0 * last) + 1, last)
        weight = percent / 100.0 * last - below
        tails.append(ordered[:, below] * (1 - weight) + ordered[:, above] * weight)  # (3,)
    margin = _MARGIN * (tails[1] - tails[0])
    low, high = tails[0] - margin, tails[1] + margin
    least, most = ordered[:, 0], ordered[:, -1]
    if (least < low).any() or (most > high).any():  # something flies off
        inside = ((points >= low[:, None]) & (points <= high[:, None])).all(axis=0)
        kept = points.compress(inside, axis=1) if inside.any() else points
        least, most = kept.min(axis=1), kept.max(axis=1)
    first, end = least.astype(np.float64), most.astype(np.float64)
    return (first + end) / 2.0, end - first


def write_cloud(
    cloud: npt.NDArray[np.float32],
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    image_rgb: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint16],
) -> None:
    """Fills an organised point cloud of five 32-bit fields per pixel, rows by rows to stay in the cache.

    Args:
        cloud: (H, W, 5), written: x right, y down, z forward in metres, NaN where depth is unknown; the bits
            of 0x00RRGGBB; the bits of label + (instance << 16).
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        image_rgb: (H, W, 3).
        labels: (H, W).
        instances: (H, W).
    """
    u, v = pixel_rays(intrinsics, depth_m.shape)
    for start in range(0, len(cloud), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        z = _known_or_nan(depth_m[rows])
        colour = cv2.cvtColor(image_rgb[rows], cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]
        colour &= np.uint32(0xFFFFFF)
        number = cv2.merge((labels[rows].astype(np.uint16), instances[rows])).view(np.float32)[..., 0]
        planes = (z * u, z * v[rows, None], z, colour.view(np.float32), number)
        cv2.merge(planes, dst=cloud[rows])


def _known_or_nan(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Depth where it is known, else NaN, in new memory; by bits: to choose is slow where depth has holes.

    The bits of floats from 0 to under inf are in the order of the floats; all others are beyond them.
    """
    bits = depth_m.view(np.uint32)
    below = bits - np.uint32(1)  # the float before; before 0 comes the last number there is, which is a NaN
    if bits.size == 0 or bits.max() < _INFINITY:
        depth: npt.NDArray[np.float32] = below.view(np.float32)
        return np.maximum(depth, depth_m, out=depth)  # the greater of two, or the one that is NaN
    known = below < _INFINITY - np.uint32(1)
    keep = np.negative(known.view(np.int8)).astype(np.int32).view(np.uint32)  # all bits, or none
    z = bits ^ _NAN
    z &= keep
    z ^= _NAN
    depth = z.view(np.float32)
    return depth
