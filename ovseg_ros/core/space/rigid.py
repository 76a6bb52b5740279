"""A thing in space, and rigid motions of it from frame to frame."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError

Floats = npt.NDArray[np.float64]
Quaternion = tuple[float, float, float, float]

_UNIT = np.eye(3)
_ORTHOGONAL = 1e-3  # from here on a matrix is no rotation; below it is rounding


def _kept(name: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> Floats:
    """A float64 copy of this shape that cannot be written to."""
    array = np.array(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise InvalidInputError(f"expected {name} of shape {shape}, all finite, got {array.tolist()}")
    array.flags.writeable = False
    return array


def _check_rotation(rotation: Floats) -> None:
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    volume = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    if volume < 0 or np.abs(rotation @ rotation.T - _UNIT).max() > _ORTHOGONAL:
        raise InvalidInputError(
            f"expected a rotation matrix (3, 3), orthonormal with determinant 1, got {rotation.tolist()}"
        )


@dataclass(frozen=True, eq=False)
class Object3d:
    """One thing in space: metres in one frame; float64 arrays that cannot be written to.

    Attributes:
        centroid_m: (3,), the middle of its visible surface.
        covariance_m2: (3, 3), how uncertain that is.
        centre_m: (3,), the middle of the upright box around the thing.
        rotation: (3, 3), its columns are the box's x, y and z axes: right-handed, z up, x along the longer
            horizontal side.
        size_m: (3,), the box's full sides along these axes.
        distance_m: from the camera to `centroid_m`.
    """

    centroid_m: Floats
    covariance_m2: Floats
    centre_m: Floats
    rotation: Floats
    size_m: Floats
    distance_m: float

    def __post_init__(self) -> None:
        for name in ("centroid_m", "centre_m", "size_m"):
            object.__setattr__(self, name, _kept(name, getattr(self, name), (3,)))
        for name in ("covariance_m2", "rotation"):
            object.__setattr__(self, name, _kept(name, getattr(self, name), (3, 3)))
        _check_rotation(self.rotation)

    def corners(self) -> Floats:
        """(8, 3) corners of the box: both ends along z for both along y for both along x."""
        signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3, indexing="ij")).reshape(3, 8)
        corners: Floats = self.centre_m + (self.rotation @ (signs * self.size_m[:, None])).T
        return corners

    @cached_property
    def quaternion_xyzw(self) -> Quaternion:
        """`rotation` as `quaternion_xyzw` gives it."""
        return _quaternion_of(self.rotation)


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rigid motion p' = R p + t, from one frame into another.

    Attributes:
        rotation: R, (3, 3).
        translation_m: t, (3,) metres.

    Raises:
        InvalidInputError: of other shapes, not finite, or R is no rotation.
    """

    rotation: Floats
    translation_m: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", _kept("rotation", self.rotation, (3, 3)))
        object.__setattr__(self, "translation_m", _kept("translation_m", self.translation_m, (3,)))
        _check_rotation(self.rotation)

    def after(self, first: Rigid) -> Rigid:
        """Both motions in one, `first` before this one."""
        turn = self.rotation @ first.rotation
        return Rigid(turn, self.rotation @ first.translation_m + self.translation_m)

    def inverse(self) -> Rigid:
        """The motion back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.translation_m)

    def of_object(self, thing: Object3d) -> Object3d:
        """The thing in the other frame: box and covariance turn with it, the distance stays the camera's."""
        turn, move = self.rotation, self.translation_m
        return Object3d(
            centroid_m=turn @ thing.centroid_m + move,
            covariance_m2=turn @ thing.covariance_m2 @ turn.T,
            centre_m=turn @ thing.centre_m + move,
            rotation=turn @ thing.rotation,
            size_m=thing.size_m,
            distance_m=thing.distance_m,
        )

    def of_points(self, points_m: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """(M, 3) points in the other frame, of the type they came in; M >= 0."""
        moved = points_m @ self.rotation.T + self.translation_m
        return moved.astype(points_m.dtype, copy=False)


def quaternion_xyzw(rotation: npt.ArrayLike) -> Floats:
    """(4,) the unit quaternion x, y, z, w of a rotation matrix (3, 3), with w >= 0: ROS's order.

    Raises:
        InvalidInputError: it is no rotation.

    Examples:
        >>> quaternion_xyzw([[0, -1, 0], [1, 0, 0], [0, 0, 1]]).round(3).tolist()
        [0.0, 0.0, 0.707, 0.707]
    """
    matrix = _kept("rotation", rotation, (3, 3))
    _check_rotation(matrix)
    return np.array(_quaternion_of(matrix))


def _quaternion_of(rotation: Floats) -> Quaternion:
    """The row of 4 q qᵀ whose own entry is largest, scaled: SciPy's way, which takes 40 µs for one matrix."""
    (a, b, c), (d, e, f), (g, h, i) = rotation.tolist()
    rows = (
        (1 + a - e - i, b + d, c + g, h - f),
        (b + d, 1 - a + e - i, f + h, c - g),
        (c + g, f + h, 1 - a - e + i, d - b),
        (h - f, c - g, d - b, 1 + a + e + i),
    )
    x, y, z, w = max(enumerate(rows), key=lambda row: row[1][row[0]])[1]
    length = math.copysign(math.hypot(x, y, z, w), w)
    return x / length, y / length, z / length, w / length
