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
_AROUND = 0.15  # of a mask's box is looked at around it
_RING_POINTS = 1000  # of the box, the mask among them
_BESIDE_M = 0.05  # a surface further beside the thing does not carry it
_LEAST = 12  # points that make a surface
_SAME_LEVEL = 0.4  # of the points under a thing's bottom must be level with each other


def find_up(depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics) -> Floats | None:
    """Away from the ground: the normal of the largest plane in view that things stand on.

    The plane is the table or floor that the masks from depth would take; it may be tilted against the image
    by some 100 degrees, and is no wall. The same depth gives the same answer, to the bit.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.

    Returns:
        (3,) unit vector in the camera's optical frame (x right, y down, z forward); None where no such plane
        is in view.
    """
    depth = np.where(known(depth_m), depth_m, np.float32(0))
    plane = choose_support(
        find_planes(
            depth,
            intrinsics,
            tolerance_m=_TOLERANCE_M,
            pixel_noise_m=_PIXEL_NOISE_M,
            min_support=_MIN_SUPPORT,
            rng=np.random.default_rng(0),
        )
    )
    return None if plane is None else -plane.m / np.linalg.norm(plane.m)


def level_below(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: Bools,
    part: Part,
    axes: Points,
    low: Points,
    high: Points,
) -> float | None:
    """Height of the surface that a thing evidently stands on, seen around its mask.

    Of the points around the mask those count that are within 5 cm of the thing from above, and no
    higher than its bottom nor more below it than the thing's lower half or so may hide. They make a surface
    where they are many and most of them are level.

    Args:
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        mask: (H, W).
        part: rows and columns of its tight box.
        axes: (3, 3), rows: two horizontal axes and up.
        low: (3,), the thing's least coordinates along these.
        high: (3,), its greatest.

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
    thick = 3 * float(axial_noise_m(float(np.median(z)))) if len(z) else 0.0
    reach = max(0.015, min(0.06, 0.4 * (high[2] - low[2]))) + thick
    x, y, heights = points
    near = (x > low[0] - _BESIDE_M) & (x < high[0] + _BESIDE_M)
    near &= (y > low[1] - _BESIDE_M) & (y < high[1] + _BESIDE_M)
    near &= (heights > low[2] - reach) & (heights < low[2] + max(0.01, thick))
    heights = np.sort(heights[near])
    if len(heights) < _LEAST:
        return None
    many = max(_LEAST, math.ceil(_SAME_LEVEL * len(heights)))
    spans = heights[many - 1 :] - heights[: len(heights) - many + 1]
    first = int(spans.argmin())
    if spans[first] > max(0.008, 2 * thick):
        return None
    return float(heights[first + many // 2])
