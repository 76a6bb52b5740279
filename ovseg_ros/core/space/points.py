"""The visible points of a mask, without those that fly at its edges."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.intrinsics import CameraIntrinsics

Points = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Part = tuple[slice, slice]

MAX_POINTS = 2048
"""Of one mask, for people and grippers."""

_GRAZING = 8.0  # tangent of 83 degrees: a surface turned further away than that is seen as a jump
_NOISES = 4.0  # standard deviations of noise that are no jump
_ENOUGH = 0.25  # of the pixels must be left by erosion, else the thing is too thin to be eroded
_LEAST = 12  # pixels, below which nothing is left out


@overload
def axial_noise_m(z_m: float) -> float: ...
@overload
def axial_noise_m(z_m: Points) -> Points: ...
def axial_noise_m(z_m: float | Points) -> float | Points:
    """Standard deviation of one depth reading: 0.0012 + 0.0019 (z - 0.4)² metres, z in metres from 0.4 on.

    Source: Nguyen, Izadi, Lovell, Modeling Kinect Sensor Noise for Improved 3D Reconstruction and Tracking,
    3DIMPVT 2012, section 3, which also has 0.8 pixels across the view. Newer cameras are no worse.

    Examples:
        >>> [round(axial_noise_m(z), 4) for z in (0.4, 1.4, 4.4)]
        [0.0012, 0.0031, 0.0316]
    """
    away = max(z_m - 0.4, 0.0) if isinstance(z_m, float) else np.maximum(z_m - np.float32(0.4), 0)
    return 0.0012 + 0.0019 * away * away


@dataclass(frozen=True)
class Sample:
    """What a look at a mask gives.

    Attributes:
        points: (3, M) float32 metres in the camera's optical frame, M >= 1; none flies.
        inner: (M,) bool, those that remain when the mask's edge is eroded; at least one is.
        steps: about every so many rows and so many columns were looked at, the outermost among them.
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
    masks: Sequence[Bools],
    parts: Sequence[Part],
    most: int = MAX_POINTS,
) -> list[Sample | None]:
    """Points of masks: of a large one every so many rows and columns, so that about `most` are left.

    A pixel flies where depth jumps on both sides of it, to the left and right or above and below: it hangs
    between two surfaces. A jump is more than the noise and more than a surface that is seen at 83 degrees
    would have from pixel to pixel.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        masks: N of (H, W), N >= 1.
        parts: rows and columns of each mask's tight box.
        most: points of each, about.

    Returns:
        N; None where no pixel of the mask has a known depth.
    """
    seen = [_known_pixels(depth_m, mask, part, most) for mask, part in zip(masks, parts, strict=True)]
    # All masks at once, M pixels one mask after another: NumPy's calls cost more here than what they do.
    v, u, z = (np.concatenate([one[axis] for one in seen]) for axis in range(3))
    beside = _neighbours(v, u, depth_m.shape)  # (4, M)
    jump_m = _GRAZING / min(intrinsics.fx, intrinsics.fy) * z + _NOISES * axial_noise_m(z)
    near = np.abs(depth_m.reshape(-1).take(beside) - z) < jump_m  # an unknown one is not
    solid = (near[0] | near[1]) & (near[2] | near[3])
    rays_x, rays_y = pixel_rays(intrinsics, depth_m.shape)
    points = np.stack([rays_x.take(u) * z, rays_y.take(v) * z, z])  # (3, M)
    samples: list[Sample | None] = []
    end = 0
    for mask, (_, _, of_mask, steps) in zip(masks, seen, strict=True):
        at = slice(end, end := end + len(of_mask))
        if not len(of_mask):
            samples.append(None)
            continue
        inside = np.logical_and.reduce(mask.reshape(-1).take(beside[:, at]), axis=0)
        kept = _or_all(solid[at])
        samples.append(Sample(points[:, at].compress(kept, axis=1), _or_all(inside[kept]), steps))
    return samples


def _known_pixels(
    depth_m: npt.NDArray[np.float32], mask: Bools, part: Part, most: int
) -> tuple[Indices, Indices, npt.NDArray[np.float32], tuple[int, int]]:
    """Row, column and depth of pixels of a mask, and its steps: 1 where those would miss what is known."""
    many = np.count_nonzero(mask[part]) / most
    down = max(1, round(math.sqrt(many)))
    for steps in ((down, max(1, math.ceil(many / down))), (1, 1)):
        rows, columns = (_spread(p, s) for p, s in zip(part, steps, strict=True))
        grid = rows[:, None], columns
        depth = depth_m[grid]
        chosen = mask[grid] & known(depth)
        v, u = chosen.nonzero()
        if len(v):
            break
    return rows[v], columns[u], depth[chosen], steps


def _spread(along: slice, step: int) -> Indices:
    """The first and the last of some rows or columns, and between them about every `step`-th."""
    count = math.ceil((along.stop - along.start) / step)
    return np.linspace(along.start, along.stop - 1, count).astype(np.intp)


def _neighbours(v: Indices, u: Indices, shape: tuple[int, ...]) -> Indices:
    """(4, M) flat indices of the pixels left, right, above and below; the pixel itself beyond the edge."""
    height, width = shape
    at = v * width + u
    beside = np.empty((4, len(at)), np.intp)
    np.subtract(at, u > 0, out=beside[0])
    np.add(at, u < width - 1, out=beside[1])
    np.subtract(at, width * (v > 0), out=beside[2])
    np.add(at, width * (v < height - 1), out=beside[3])
    return beside


def _or_all(chosen: Bools) -> Bools:
    """What was chosen of a thing, or all of it where that is too little to go by."""
    count = np.count_nonzero(chosen)
    return chosen if count >= max(_LEAST, _ENOUGH * len(chosen)) else np.ones(len(chosen), bool)
