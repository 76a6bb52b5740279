"""From registered depth to points and boxes in the camera's optical frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

_TAIL_PERCENT = 2.0  # so many points on either side may be flying pixels
_ROWS_AT_ONCE = 90
_INFINITY, _NAN = np.array([np.inf, np.nan], np.float32).view(np.uint32)
_MAX_POINTS = 2048  # of one mask: a box does not get better by more
_MARGIN = 0.1  # of the span between the tails; an evenly filled box keeps its full size


def back_project(depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics) -> npt.NDArray[np.float32]:
    """Pinhole back-projection: x = (u − cx)·z / fx, y = (v − cy)·z / fy, z = depth.

    Args:
        depth_m: (H, W) float32 metres along the optical axis; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image; u and v count pixel centres from 0.

    Returns:
        (H, W, 3) float32 metres, x right, y down, z forward; NaN where depth is unknown.

    Raises:
        InvalidInputError: depth and intrinsics differ in size.

    Example:
        >>> camera = CameraIntrinsics(fx=1.0, fy=1.0, cx=0.0, cy=0.0, width=2, height=1)
        >>> back_project(np.array([[2.0, 0.0]], dtype=np.float32), camera).tolist()
        [[[0.0, 0.0, 2.0], [nan, nan, nan]]]
    """
    if depth_m.shape != (intrinsics.height, intrinsics.width):
        raise InvalidInputError(
            f"want depth ({intrinsics.height},{intrinsics.width}) as in camera_info, got {depth_m.shape}"
        )
    z = np.where(np.isfinite(depth_m) & (depth_m > 0), depth_m, np.nan).astype(np.float32)
    u, v = pixel_rays(intrinsics, depth_m.shape)
    points = np.empty((*z.shape, 3), dtype=np.float32)
    points[..., 0] = z * u
    points[..., 1] = z * v[:, None]
    points[..., 2] = z
    return points


@lru_cache(maxsize=8)
def pixel_rays(
    intrinsics: CameraIntrinsics, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """x/z of each column (W,) and y/z of each row (H,), float32; kept, so they cannot be written to."""
    u = (np.arange(size_hw[1], dtype=np.float32) - np.float32(intrinsics.cx)) / np.float32(intrinsics.fx)
    v = (np.arange(size_hw[0], dtype=np.float32) - np.float32(intrinsics.cy)) / np.float32(intrinsics.fy)
    u.flags.writeable = v.flags.writeable = False
    return u, v


def box_3d(points: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Axis-aligned box around points, deaf to the few that fly off at depth edges.

    Per axis, points beyond the 2nd and 98th percentile by more than a tenth of the distance between the two
    are left out; the box is tight around the rest.

    Args:
        points: (M, 3) metres in one frame; rows with NaN or inf are ignored.

    Returns:
        centre (3,) and size (3,), float64 metres, in the frame of the points.

    Raises:
        InvalidInputError: no finite point.
    """
    if points.ndim != 2 or points.shape[1] != 3:
        raise InvalidInputError(f"want points (M,3), got {points.shape}")
    finite = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    if len(finite) == 0:
        raise InvalidInputError("want at least one point with known depth, got none")
    tails = np.percentile(finite, (_TAIL_PERCENT, 100.0 - _TAIL_PERCENT), axis=0)  # (2,3)
    margin = _MARGIN * (tails[1] - tails[0])
    inside = ((finite >= tails[0] - margin) & (finite <= tails[1] + margin)).all(axis=1)
    kept = finite[inside] if inside.any() else finite
    low, high = kept.min(axis=0), kept.max(axis=0)
    return (low + high) / 2.0, high - low


Box3d = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def mask_boxes_3d(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    masks: Sequence[npt.NDArray[np.bool_]],
    parts: Sequence[tuple[slice, slice]],
) -> list[Box3d | None]:
    """`box_3d` of the points behind each mask, from every s-th row and column of a large one.

    s is the smallest step that leaves at most 2048 pixels of the mask's box, so a side comes out short by at
    most s - 1 pixels: 2 % of a square mask. Where the sample meets no known depth, all pixels are looked at.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        masks: N of (H, W).
        parts: rows and columns of each mask's tight box.

    Returns:
        N times: centre (3,) and size (3,), float64 metres; None where no point of the mask has a known depth.
    """
    boxes: list[Box3d | None] = [None] * len(masks)
    found = []
    for i, (mask, part) in enumerate(zip(masks, parts, strict=True)):
        points = _sampled_points(depth_m, intrinsics, mask, part)
        if points is not None:
            found.append((i, points, np.sort(points, axis=1)))  # quicker than to select six places of it
    if not found:
        return boxes
    places, weights = zip(*(_tail_places(points.shape[1]) for _, points, _ in found), strict=True)
    picked = np.stack([ordered[:, at] for (_, _, ordered), at in zip(found, places, strict=True)])  # (N',3,6)
    first, last = picked[..., 0].astype(np.float64), picked[..., 5].astype(np.float64)  # (N',3)
    weight = np.array(weights)[:, None, :]  # (N',1,2)
    tails = picked[..., 1:4:2] * (1 - weight) + picked[..., 2:5:2] * weight  # (N',3,2)
    margin = _MARGIN * (tails[..., 1] - tails[..., 0])
    low, high = tails[..., 0] - margin, tails[..., 1] + margin
    whole = ((first >= low) & (last <= high)).all(axis=1).tolist()  # nothing flies off: most masks
    for n, (i, points, _) in enumerate(found):
        least, most = (first[n], last[n]) if whole[n] else _extent_within(points, low[n], high[n])
        boxes[i] = (least + most) / 2.0, most - least
    return boxes


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


@lru_cache(maxsize=4096)
def _tail_places(count: int) -> tuple[npt.NDArray[np.int64], tuple[float, float]]:
    """Of so many ordered numbers: the first, the two around each tail, and the last; and the tails between.

    Six indices, and for each tail how far it is from the lower of its two to the upper.
    """
    last, places, weights = count - 1, [0], []
    for percent in (_TAIL_PERCENT, 100.0 - _TAIL_PERCENT):
        below = int(percent / 100.0 * last)
        weights.append(percent / 100.0 * last - below)
        places += [below, min(below + 1, last)]
    return np.array([*places, last]), (weights[0], weights[1])


def _extent_within(
    points: npt.NDArray[np.float32], low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]
) -> Box3d:
    """Least and most (3,) of the points (3, M) between two corners; of all where none is."""
    inside = ((points >= low[:, None]) & (points <= high[:, None])).all(axis=0)
    kept = points.compress(inside, axis=1) if inside.any() else points
    return kept.min(axis=1).astype(np.float64), kept.max(axis=1).astype(np.float64)


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
        cloud: (H, W, 5), written: x, y, z in metres as in `back_project`; the bits of 0x00RRGGBB; the bits of
            label + (instance << 16).
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
