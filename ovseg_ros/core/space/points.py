"""The visible points of a mask, without those that fly at its edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.intrinsics import CameraIntrinsics

Points = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Part = tuple[slice, slice]

MAX_POINTS = 2048
"""Of one mask, for people and grippers."""

_GRAZING = 8.0  # tangent of 83 degrees: a surface turned further away than that is seen as a jump
_NOISES = 4.0  # standard deviations of noise that are no jump
_ENOUGH = 0.25  # of the pixels must be left by erosion, else the thing is too thin to be eroded
_LEAST = 12  # pixels, below which nothing is left out


def axial_noise_m(z_m: npt.NDArray[np.floating] | float) -> npt.NDArray[np.floating]:
    """Standard deviation of one depth reading: 0.0012 + 0.0019 (z - 0.4)² metres, z in metres.

    Source: Nguyen, Izadi, Lovell, Modeling Kinect Sensor Noise for Improved 3D Reconstruction and Tracking,
    3DIMPVT 2012, section 3, which also has 0.8 pixels across the view. Newer cameras are no worse.

    Example:
        >>> axial_noise_m(np.array([0.4, 1.4, 4.4])).round(4).tolist()
        [0.0012, 0.0031, 0.0316]
    """
    away = np.maximum(np.asarray(z_m), 0.4) - 0.4
    noise: npt.NDArray[np.floating] = 0.0012 + 0.0019 * away * away
    return noise


@dataclass(frozen=True)
class Sample:
    """What a look at a mask gives.

    Attributes:
        points: (3, M) float32 metres in the camera's optical frame, M >= 1; none flies.
        inner: (M,) bool, those that remain when the mask's edge is eroded; at least one is.
        steps: every so many rows and so many columns were looked at.
    """

    points: Points
    inner: Bools
    steps: tuple[int, int]


def known(depth_m: npt.NDArray[np.float32]) -> Bools:
    """Where depth is a distance: above 0, neither NaN nor infinite."""
    return (depth_m > 0) & (depth_m < np.inf)


def look(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: Bools,
    part: Part,
    most: int = MAX_POINTS,
) -> Sample | None:
    """Points of a mask: of a large one every so many rows and columns, so that about `most` are left.

    A pixel flies where depth jumps on both sides of it, to the left and right or above and below: it hangs
    between two surfaces. A jump is more than the noise and more than a surface that is seen at 83 degrees
    would have from pixel to pixel.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        mask: (H, W).
        part: rows and columns of the mask's tight box.
        most: points, about.

    Returns:
        None where no pixel of the mask has a known depth.
    """
    many = np.count_nonzero(mask[part]) / most
    down = max(1, round(math.sqrt(many)))
    steps = down, max(1, math.ceil(many / down))
    found = _at(depth_m, intrinsics, mask, part, steps)
    return _at(depth_m, intrinsics, mask, part, (1, 1)) if found is None and max(steps) > 1 else found


def _at(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: Bools,
    part: Part,
    steps: tuple[int, int],
) -> Sample | None:
    rows, columns = (slice(p.start + (s - 1) // 2, p.stop, s) for p, s in zip(part, steps, strict=True))
    here = mask[rows, columns] & known(depth_m[rows, columns])
    v, u = here.nonzero()
    if not len(v):
        return None
    v, u = v * steps[0] + rows.start, u * steps[1] + columns.start
    z = depth_m[v, u]
    jump_m = _GRAZING / min(intrinsics.fx, intrinsics.fy) * z + _NOISES * axial_noise_m(z)
    inside, jumps = np.ones(len(z), bool), []
    for beside in _neighbours(v, u, depth_m.shape):
        inside &= mask.reshape(-1)[beside]
        jumps.append(~(np.abs(depth_m.reshape(-1)[beside] - z) < jump_m))  # as does an unknown one
    kept = _or_all(~((jumps[0] & jumps[1]) | (jumps[2] & jumps[3])))
    inner = _or_all((inside & kept)[kept])
    rays_x, rays_y = pixel_rays(intrinsics, depth_m.shape)
    z = z[kept]
    points = np.empty((3, len(z)), np.float32)
    np.multiply(rays_x[u[kept]], z, out=points[0])
    np.multiply(rays_y[v[kept]], z, out=points[1])
    points[2] = z
    return Sample(points, inner, steps)


def _neighbours(
    v: npt.NDArray[np.intp], u: npt.NDArray[np.intp], shape: tuple[int, ...]
) -> list[npt.NDArray[np.intp]]:
    """Flat indices of the pixels left, right, above and below of (v, u); itself at the image's edge."""
    at = v * shape[1] + u
    return [
        at - (u > 0),
        at + (u < shape[1] - 1),
        at - shape[1] * (v > 0),
        at + shape[1] * (v < shape[0] - 1),
    ]


def _or_all(chosen: Bools) -> Bools:
    """What was chosen of a thing, or all of it where that is too little to go by."""
    count = np.count_nonzero(chosen)
    return chosen if count >= max(_LEAST, _ENOUGH * len(chosen)) else np.ones(len(chosen), bool)
