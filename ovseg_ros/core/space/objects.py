"""Upright boxes and centroids of what masks show."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space.hidden import hidden_points
from ovseg_ros.core.space.points import Bools, Part, Points, Sample, axial_noise_m, look
from ovseg_ros.core.space.rectangle import best_angle
from ovseg_ros.core.space.rigid import Object3d
from ovseg_ros.core.space.upright import find_up, level_below
from ovseg_ros.errors import InvalidInputError

Floats = npt.NDArray[np.float64]

_BOX_POINTS = 1024  # of a mask: its box and centroid do not get better by more
_TAIL = 0.05  # of the points may lie apart from the rest and are left out
_GAP = 0.1  # of the span of the middle nine tenths of the points sets a tail apart
_LEAST_GAP_M = 0.015
_STEEP = 4.0  # tangent of 76 degrees: a surface turned so far away has gaps of its own
_ON_IT_M = 0.004  # a point so little above the surface below is that surface's
_LATERAL_PX = 0.8
_WINDOW_PX = 49  # readings of one matching window, 7 by 7 pixels, share their noise
_IMAGE_UP, _FORWARD, _UNIT = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.eye(3)


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
    base is smallest. Two things are assumed of what is hidden. The bottom is at the surface around the thing
    where it evidently stands on it (`level_below`). And the back is like the front where the thing is
    symmetric and nothing seen speaks against it (`hidden_points`). What else is hidden is not in the box: the
    depth of a cupboard seen from the front is that of its front.

    The centroid is the mean of the visible points, edges eroded, without those that fly or lie apart from
    nineteen in twenty.

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
        upward = _IMAGE_UP
    samples = look(depth_m, intrinsics, masks, parts, _BOX_POINTS)
    return [
        None if sample is None else _object(depth_m, intrinsics, mask, part, upward, sample)
        for mask, part, sample in zip(masks, parts, samples, strict=True)
    ]


def object_points(
    depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics, mask: Bools, part: Part
) -> Points:
    """(M, 3) float32 visible points of a mask in metres in the camera's optical frame, at most 2048 or so.

    The mask's edge is eroded by a pixel unless the thing is too thin for that, and flying pixels are left
    out. M is 0 where no depth is known.
    """
    (sample,) = look(depth_m, intrinsics, [mask], [part])
    return (
        np.zeros((0, 3), np.float32)
        if sample is None
        else np.ascontiguousarray(sample.points[:, sample.inner].T)
    )


def _direction(up: npt.ArrayLike) -> Floats:
    vector = np.asarray(up, np.float64)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    if not (0 < length < math.inf):
        raise InvalidInputError(f"expected up as a direction (3,) in the camera's frame, got {up!r}")
    unit: Floats = vector / length
    return unit


def _object(
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    mask: Bools,
    part: Part,
    up: Floats,
    sample: Sample,
) -> Object3d:
    middle = sample.points.mean(axis=1)
    upright = _axes(middle.astype(np.float64), up)
    axes = upright.astype(np.float32)
    points, inner = axes @ sample.points, sample.inner  # (3, M) to the right, away and up
    pixel_m = float(middle[2]) / min(intrinsics.fx, intrinsics.fy)
    kept = _without_tails(points, max(_LEAST_GAP_M, _STEEP * max(sample.steps) * pixel_m))
    if not kept.all():
        points, inner = points.compress(kept, axis=1), inner[kept]
    low, high = points.min(axis=1), points.max(axis=1)
    _reach_edges(points[0], float(low[0]), float(high[0]), pixel_m)

    shown = points.compress(inner, axis=1) if inner.any() else points
    mean = shown.mean(axis=1, dtype=np.float64)
    centroid = mean @ upright
    around = shown - mean.astype(np.float32)[:, None]
    spread = upright.T @ (around @ around.T / around.shape[1]).astype(np.float64) @ upright
    covariance = _covariance(centroid, intrinsics, len(inner) * math.prod(sample.steps), spread)

    z_m = float(centroid[2])
    support = level_below(depth_m, intrinsics, mask, part, axes, low, high, z_m)
    base, bottom = points, float(low[2])
    if support is not None:
        bottom = min(support, float(high[2]))
        above = points[2] > support + max(_ON_IT_M, 2 * axial_noise_m(z_m))
        if 2 * np.count_nonzero(above) > len(above):  # else it is as flat as a sheet of paper
            base = points.compress(above, axis=1)
    base = np.concatenate([base, hidden_points(base, axes, depth_m, intrinsics)], axis=1)[:2]
    return _boxed(centroid, covariance, upright, base, bottom, float(high[2]))


def _boxed(
    centroid: Floats, covariance: Floats, upright: Floats, base: Points, bottom: float, top: float
) -> Object3d:
    """The thing in the smallest box over its base (2, M) along `upright`, whose rows turn about the last."""
    angle = best_angle(base)
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
    turned = turn[:2, :2].astype(np.float32) @ base
    (x0, y0), (x1, y1) = turned.min(axis=1).tolist(), turned.max(axis=1).tolist()
    axes = turn @ upright
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2, (bottom + top) / 2]) @ axes
    size = [x1 - x0, y1 - y0, top - bottom]
    if size[1] > size[0]:
        axes, size = np.stack([axes[1], -axes[0], axes[2]]), [size[1], size[0], size[2]]
    return Object3d(
        centroid_m=centroid,
        covariance_m2=covariance,
        centre_m=centre,
        rotation=axes.T,
        size_m=np.array(size),
        distance_m=math.sqrt(centroid @ centroid),
    )


def _axes(middle: Floats, up: Floats) -> Floats:
    """(3, 3), rows: right, away from the camera and up, as seen from the camera to `middle`."""
    for away in (middle, _IMAGE_UP, _FORWARD):
        level = away - (away @ up) * up
        length = math.sqrt(level @ level)
        if length > 0.02 * math.sqrt(away @ away):
            break
    x, y, z = (level / length).tolist()
    a, b, c = up.tolist()
    return np.array([[y * c - z * b, z * a - x * c, x * b - y * a], [x, y, z], [a, b, c]])


def _reach_edges(across: npt.NDArray[np.float32], low: float, high: float, pixel_m: float) -> None:
    """Stretches coordinates (M,) from `low` to `high`, of pixels' centres, to the pixels' outer edges."""
    if high - low > pixel_m:
        middle = np.float32((low + high) / 2)
        across -= middle
        across *= np.float32(1 + pixel_m / (high - low))
        across += middle


def _without_tails(points: Points, least_gap_m: float) -> Bools:
    """(M,) those of points (3, M) that are not apart from nearly all others along some axis."""
    kept = np.ones(points.shape[1], bool)
    few, last = int(_TAIL * len(kept)), len(kept) - 1
    if not few:
        return kept
    in_order = np.sort(points, axis=1)
    marks = in_order[:, [0, few, last - few, last]].tolist()
    for along, ordered, (least, low, high, most) in zip(points, in_order, marks, strict=True):
        gap = max(_GAP * (high - low), least_gap_m)
        if low - least > gap and (below := np.diff(ordered[: few + 1]) > gap).any():
            kept &= along > ordered[np.flatnonzero(below)[-1]]
        if most - high > gap and (above := np.diff(ordered[last - few :]) > gap).any():
            kept &= along <= ordered[last - few + int(above.argmax())]
    return kept if kept.any() else np.ones(len(kept), bool)


def _covariance(centroid: Floats, intrinsics: CameraIntrinsics, pixels: int, spread: Floats) -> Floats:
    """(3, 3) m² of the middle of so many readings around `centroid`, whose own covariance is `spread`.

    Two parts. Noise of depth: as `axial_noise_m` along the ray, 0.8 pixels across it; that of 7 by 7
    pixels, one matching window, counts once. And the edge, of mask and depth, which is known to two pixels:
    the middle of a disc of radius r pixels that ends two too early on one side moves by some 2/r of its
    spread.
    """
    z = float(centroid[2])
    along = centroid[:, None] * centroid / (centroid @ centroid)  # onto the ray
    across = (_LATERAL_PX * z) ** 2 / (intrinsics.fx * intrinsics.fy)
    one = axial_noise_m(z) ** 2 * along + across * (_UNIT - along)
    covariance: Floats = one / max(1.0, pixels / _WINDOW_PX) + spread * (4 * math.pi / pixels)
    return covariance
