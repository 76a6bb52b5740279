"""Upright boxes and centroids of what masks show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space.points import Bools, Part, Points, axial_noise_m, look
from ovseg_ros.core.space.rectangle import best_angle
from ovseg_ros.core.space.rigid import Object3d
from ovseg_ros.core.space.upright import find_up, level_below
from ovseg_ros.errors import InvalidInputError

Floats = npt.NDArray[np.float64]

_TAIL = 0.05  # of the points may lie apart from the rest and are left out
_GAP = 0.1  # of the span of the middle nine tenths of the points sets a tail apart
_LEAST_GAP_M = 0.015
_STEEP = 4.0  # tangent of 76 degrees: a surface turned so far away has gaps of its own
_LATERAL_PX = 0.8
_WINDOW_PX = 49  # readings of one matching window, 7 by 7 pixels, share their noise
_LEVEL_CAMERA = (0.0, -1.0, 0.0)


def objects_3d(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    masks: Sequence[Bools],
    parts: Sequence[Part],
    *,
    up: npt.ArrayLike | None = None,
) -> list[Object3d | None]:
    """Centroid and upright box of each mask.

    Only the side that faces the camera is seen. The box is tight around that, turned about `up` so that its
    base is smallest, and its bottom is at the surface around the thing where it evidently stands on it. What
    else is hidden is not in it.

    Args:
        depth_m: (H, W) float32 metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        masks: N of (H, W).
        parts: rows and columns of each mask's tight box.
        up: (3,) away from the ground, in the camera's optical frame (x right, y down, z forward), of any
            length; None takes what `find_up` finds, else the image's top.

    Returns:
        N times what is there, in the camera's optical frame; None where no point of the mask has a known
        depth.

    Raises:
        InvalidInputError: `up` is no direction.
    """
    if not len(masks):
        return []
    upward = find_up(depth_m, intrinsics) if up is None else _direction(up)
    if upward is None:
        upward = np.array(_LEVEL_CAMERA)
    return [_object(depth_m, intrinsics, mask, part, upward) for mask, part in zip(masks, parts, strict=True)]


def object_points(
    depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics, mask: Bools, part: Part
) -> Points:
    """(M, 3) float32 visible points of a mask in metres in the camera's optical frame, at most 2048 or so.

    The mask's edge is eroded by a pixel unless the thing is too thin for that, and flying pixels are left
    out. M is 0 where no depth is known.
    """
    sample = look(depth_m, intrinsics, mask, part)
    return np.zeros((0, 3), np.float32) if sample is None else sample.points[sample.inner]


def _direction(up: npt.ArrayLike) -> Floats:
    vector = np.asarray(up, np.float64)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    if not (0 < length < math.inf):
        raise InvalidInputError(f"want up as a direction (3,) in the camera's frame, got {up!r}")
    unit: Floats = vector / length
    return unit


def _object(
    depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics, mask: Bools, part: Part, up: Floats
) -> Object3d | None:
    sample = look(depth_m, intrinsics, mask, part)
    if sample is None:
        return None
    axes = _axes(sample.points.mean(axis=0).astype(np.float64), up)
    points = sample.points.astype(np.float64) @ axes.T
    pixel_m = float(np.median(sample.points[:, 2])) / min(intrinsics.fx, intrinsics.fy)
    kept = _without_tails(points, max(_LEAST_GAP_M, _STEEP * max(sample.steps) * pixel_m))
    points = points[kept]
    inner = sample.inner[kept]
    centroid = points[inner if inner.any() else slice(None)].mean(axis=0) @ axes
    low, high = points.min(axis=0), points.max(axis=0)
    support = level_below(depth_m, intrinsics, mask, part, axes, low, high)
    footprint, bottom = points, float(low[2])
    if support is not None:
        bottom = min(support, float(high[2]))
        above = points[:, 2] > support + max(0.004, 2 * float(axial_noise_m(float(centroid[2]))))
        if 2 * np.count_nonzero(above) > len(points):
            footprint = points[above]
    angle = best_angle(footprint[:, :2])
    cos, sin = math.cos(angle), math.sin(angle)
    sides = np.array([[cos, sin], [-sin, cos]])
    turned = footprint[:, :2] @ sides.T
    least, most = np.append(turned.min(axis=0), bottom), np.append(turned.max(axis=0), high[2])
    axes = np.block([[sides, np.zeros((2, 1))], [np.zeros((1, 2)), np.ones((1, 1))]]) @ axes
    covariance = _covariance(centroid, intrinsics, len(sample.points) * math.prod(sample.steps))
    return _boxed(centroid, covariance, axes, least, most)


def _boxed(centroid: Floats, covariance: Floats, axes: Floats, least: Floats, most: Floats) -> Object3d:
    """The thing with this box along the rows of `axes`; its longer side becomes x."""
    centre, size = (least + most) / 2 @ axes, most - least
    if size[1] > size[0]:
        axes, size = np.stack([axes[1], -axes[0], axes[2]]), size[[1, 0, 2]]
    return Object3d(
        centroid_m=centroid,
        covariance_m2=covariance,
        centre_m=centre,
        rotation=axes.T,
        size_m=size,
        distance_m=float(np.linalg.norm(centroid)),
    )


def _axes(middle: Floats, up: Floats) -> Floats:
    """(3, 3), rows: right, away from the camera and up, as seen from the camera to `middle`."""
    for away in (middle, np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])):
        level = away - (away @ up) * up
        length = np.linalg.norm(level)
        if length > 0.02 * np.linalg.norm(away):
            break
    away = level / length
    return np.stack([np.cross(away, up), away, up])


def _without_tails(points: Floats, least_gap_m: float) -> Bools:
    """(M,) those of points (M, 3) that are not apart from nearly all others along some axis."""
    kept = np.ones(len(points), bool)
    ordered, last = np.sort(points, axis=0), len(points) - 1
    few = int(_TAIL * len(points))
    if not few:
        return kept
    span = ordered[last - few] - ordered[few]
    gaps = np.diff(ordered, axis=0) > np.maximum(_GAP * span, least_gap_m)
    for axis in range(3):
        first = np.flatnonzero(gaps[:few, axis])
        if len(first):
            kept &= points[:, axis] > ordered[first[-1], axis]
        end = np.flatnonzero(gaps[last - few :, axis])
        if len(end):
            kept &= points[:, axis] <= ordered[last - few + end[0], axis]
    return kept if kept.any() else np.ones(len(points), bool)


def _covariance(centroid: Floats, intrinsics: CameraIntrinsics, pixels: int) -> Floats:
    """(3, 3) m² of the mean of so many readings around `centroid`.

    Along the ray as `axial_noise_m` says, across it 0.8 pixels; the noise of 7 by 7 pixels, one matching
    window, counts once.
    """
    z = float(centroid[2])
    ray = centroid / max(float(np.linalg.norm(centroid)), 1e-9)
    along = np.outer(ray, ray)
    across = (_LATERAL_PX * z) ** 2 / (intrinsics.fx * intrinsics.fy)
    one = float(axial_noise_m(z)) ** 2 * along + across * (np.eye(3) - along)
    covariance: Floats = one / max(1.0, pixels / _WINDOW_PX)
    return covariance
