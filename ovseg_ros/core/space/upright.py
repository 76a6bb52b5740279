"""What up is, and what a thing stands on."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space.plane import choose_support, find_planes
from ovseg_ros.core.space.points import Bools, Part, Points, axial_noise_m, known

Floats = npt.NDArray[np.float64]

_TOLERANCE_M = 0.007  # as the masks from depth have it
_PIXEL_NOISE_M = 0.001  # at 1 m
_MIN_SUPPORT = 0.08  # of the known pixels
_FACING = 0.26  # sine of the 15 degrees within which a plane faces the camera
_REACH_M = 1.5
_AROUND = 0.15  # of a mask's box is looked at around it
_RING_POINTS = 1000  # of the box, the mask among them
_BESIDE_M = 0.05  # a surface further beside the thing does not carry it
_LEAST = 12  # points that make a surface
_BREADTH_M = 0.006  # of points less broad than this: a row of a wall's pixels is as level
_SAME_LEVEL = 0.4  # of the points under a thing's bottom must be level with each other


def find_up(depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics) -> Floats | None:
    """Away from the ground: the normal of the largest plane in view that things stand on.

    The plane is the table or floor that the masks from depth would take, tilted against the image by at most
    some 100 degrees. What faces the camera can be a table seen from straight above or a wall: the largest
    such plane is taken for a table within 1.5 m, beyond for a wall, and others with it. The same depth gives
    the same answer, to the bit.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.

    Returns:
        (3,) unit vector in the camera's optical frame (x right, y down, z forward); None where no such plane
        is in view.
    """
    planes = find_planes(
        depth_m,
        intrinsics,
        tolerance_m=_TOLERANCE_M,
        pixel_noise_m=_PIXEL_NOISE_M,
        min_support=_MIN_SUPPORT,
        rng=np.random.default_rng(0),
    )
    facing = [plane for plane in planes if plane.up < _FACING]
    if facing and max(facing, key=lambda plane: plane.support).distance_m > _REACH_M:
        planes = [plane for plane in planes if plane.up >= _FACING]
    plane = choose_support(planes)
    if plane is None:
        return None
    return -plane.m * plane.distance_m


def level_below(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: Bools,
    part: Part,
    axes: Points,
    low: Points,
    high: Points,
    z_m: float,
) -> float | None:
    """Height of the surface that a thing evidently stands on, seen around its mask.

    Of the points around the mask those count that are within 5 cm of the thing from above, and no
    higher than its bottom nor more below it than the thing's lower half or so may hide. They make a surface
    where they are many, enough of them are level, and these are no mere line, as in one row of a wall.

    Args:
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        mask: (H, W).
        part: rows and columns of its tight box.
        axes: (3, 3), rows: two horizontal axes and up.
        low: (3,), the thing's least coordinates along these.
        high: (3,), its greatest.
        z_m: how deep in the image it is, for the noise.

    Returns:
        Metres along up, or None: it hangs, or what carries it is not in view.
    """
    height, width = depth_m.shape
    rows, columns = part
    margin = 3 + round(_AROUND * max(rows.stop - rows.start, columns.stop - columns.start))
    top, bottom = max(rows.start - margin, 0), min(rows.stop + margin, height)
    left, right = max(columns.start - margin, 0), min(columns.stop + margin, width)
    step = max(1, math.ceil(math.sqrt((bottom - top) * (right - left) / _RING_POINTS)))
    where = slice(top, bottom, step), slice(left, right, step)
    z = depth_m[where]
    v, u = (known(z) & ~mask[where]).nonzero()
    z = z[v, u]
    rays_x, rays_y = pixel_rays(intrinsics, depth_m.shape)
    points = axes @ np.stack([rays_x[where[1]][u] * z, rays_y[where[0]][v] * z, z])  # (3, M)
    thick = 3 * axial_noise_m(z_m)
    reach = max(0.015, min(0.06, 0.4 * (high[2] - low[2]))) + thick
    x, y, heights = points
    near = (x > low[0] - _BESIDE_M) & (x < high[0] + _BESIDE_M)
    near &= (y > low[1] - _BESIDE_M) & (y < high[1] + _BESIDE_M)
    near &= (heights > low[2] - reach) & (heights < low[2] + max(0.01, thick))
    x, y, heights = x[near], y[near], heights[near]
    if len(heights) < _LEAST:
        return None
    order = np.argsort(heights)
    many = max(_LEAST, math.ceil(_SAME_LEVEL * len(heights)))
    spans = heights[order[many - 1 :]] - heights[order[: len(heights) - many + 1]]
    first = int(spans.argmin())
    level = order[first : first + many]
    if spans[first] > max(0.008, 2 * thick) or _breadth(x[level], y[level]) < max(_BREADTH_M, thick / 2):
        return None
    return float(heights[level[many // 2]])


def _breadth(x: Points, y: Points) -> float:
    """Standard deviation of points (M,), (M,) along the direction in which they spread least, metres."""
    x, y = x - x.mean(), y - y.mean()
    xx, xy, yy = (float(one) / len(x) for one in (x @ x, x @ y, y @ y))
    return math.sqrt(max((xx + yy) / 2 - math.hypot((xx - yy) / 2, xy), 0.0))
