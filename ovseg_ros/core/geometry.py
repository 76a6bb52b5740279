"""From registered depth to points and boxes in the camera's optical frame."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import CameraIntrinsics
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


def mask_box_3d(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: npt.NDArray[np.bool_],
    part: tuple[slice, slice],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """`box_3d` of the points behind a mask, from every s-th row and column of a large one.

    s is the smallest step that leaves at most 2048 pixels of the mask's box, so a side comes out short by at
    most s - 1 pixels: 2 % of a square mask. Where the sample meets no known depth, all pixels are looked at.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        mask: (H, W).
        part: rows and columns of the mask's tight box.

    Returns:
        centre (3,) and size (3,), float64 metres; None where no point of the mask has a known depth.
    """
    rows, columns = part
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    for step in sorted({max(math.ceil(math.sqrt(area / _MAX_POINTS)), 1), 1}, reverse=True):
        where = slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step)
        z = depth_m[where]
        known = (z > 0) & (z < np.inf)
        known &= mask[where]
        row, column = known.nonzero()
        if len(row):
            break
    else:
        return None
    points = np.empty((3, len(row)), np.float32)
    points[2] = z[row, column]
    u, v = pixel_rays(intrinsics, depth_m.shape)
    np.multiply(u[where[1]][column], points[2], out=points[0])
    np.multiply(v[where[0]][row], points[2], out=points[1])
    return _box_of_tails(points)


def _box_of_tails(points: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What `box_3d` says of finite points (3, M), M > 0, in a tenth of the time of percentiles."""
    last = points.shape[1] - 1
    ordered = np.sort(points, axis=1)  # numpy sorts floats quicker than it selects four places of them
    tails = []
    for percent in (_TAIL_PERCENT, 100.0 - _TAIL_PERCENT):
        below = int(percent / 100.0 * last)
        weight = np.float64(percent / 100.0 * last - below)  # numpy's, or tails came in single precision
        tails.append(ordered[:, below] * (1 - weight) + ordered[:, min(below + 1, last)] * weight)
    margin = _MARGIN * (tails[1] - tails[0])
    low, high = (tails[0] - margin)[:, None], (tails[1] + margin)[:, None]
    inside = ((points >= low) & (points <= high)).all(axis=0)
    kept = points.compress(inside, axis=1) if inside.any() else points
    least, most = kept.min(axis=1).astype(np.float64), kept.max(axis=1).astype(np.float64)
    return (least + most) / 2.0, most - least


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

    The bits of positive floats are in the order of the floats; all others are beyond those of inf.
    """
    bits = depth_m.view(np.uint32)
    known = bits - np.uint32(1) < _INFINITY - np.uint32(1)  # 0 - 1 is beyond too
    keep = np.negative(known.view(np.int8)).astype(np.int32).view(np.uint32)  # all bits, or none
    z = bits ^ _NAN
    z &= keep
    z ^= _NAN
    depth: npt.NDArray[np.float32] = z.view(np.float32)
    return depth
