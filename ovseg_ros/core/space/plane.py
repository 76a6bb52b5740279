"""The plane things stand on, found in inverse depth, where every plane is a linear function of the pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.intrinsics import CameraIntrinsics

FloatArray = npt.NDArray[np.float32]

_SAMPLES = 1600  # pixels the search looks at, on a grid
_HYPOTHESES = 128  # three-point planes tried per search
_AT_ONCE = 32  # of these; for larger products BLAS wakes threads, which costs more than it gains
_POLISHINGS = 6  # least squares on the inliers, at most so often
_MAX_PLANES = 3  # a table, the floor below, two walls
_PARALLEL_COS = 0.985  # 10 degrees: table and floor
_LEVEL_SHARE = 0.35  # of the largest level's pixels makes a table; less may be a box's top
_DESK_SHARE = 0.15  # of them is enough
_DESK_M = 0.3  # so far above the other level, where boxes end and furniture begins
_LOWEST_UP = -0.2  # a plane that faces further down than this may be a wall
_TILTED_UP = -0.9  # or the table of a camera tilted past vertical
_TILTED_SUPPORT = 0.25  # if it is so large, and nothing else carries
_MOST_SIDEWAYS = 0.65  # sine of the camera roll up to which image up is still up
_SAME_WAY_COS = 0.9  # a surface within 25 degrees of a plane may lie in it


@dataclass(frozen=True)
class Plane:
    """m · P = 1 for points P in the camera's optical frame.

    Attributes:
        m: (3,) float64, 1/metres; the unit normal towards the camera is -m/|m|.
        scatter_m: robust standard deviation of its points' heights, at 1 m, metres; see `growth`.
        pixel_noise_m: standard deviation of single depth pixels at 1 m, metres.
        support: share of the known pixels that lie on it and whose surface does, in [0, 1]: a slice through
            many things has few.
    """

    m: npt.NDArray[np.float64]
    scatter_m: float
    pixel_noise_m: float
    support: float

    @property
    def distance_m(self) -> float:
        """From the camera's centre to the plane, metres."""
        return float(1.0 / np.linalg.norm(self.m))

    @property
    def up(self) -> float:
        """How far the normal points to the image's top: 1 for a level camera's floor, 0 for a wall ahead."""
        return float(self.m[1] / np.linalg.norm(self.m))

    @property
    def sideways(self) -> float:
        """How far the normal points to the left or right of the image, in [0, 1]."""
        return float(abs(self.m[0]) / np.linalg.norm(self.m))

    def heights(self, depth_m: FloatArray, intrinsics: CameraIntrinsics) -> FloatArray:
        """Height over the plane, h = d·(1 − z·(m · ray)).

        Args:
            depth_m: (H, W) metres, 0 where unknown.
            intrinsics: of the same image.

        Returns:
            (H, W) float32 metres, positive on the camera's side; `distance_m` where depth is unknown.
        """
        rays_x, rays_y = pixel_rays(intrinsics, depth_m.shape)
        m = (self.m * self.distance_m).astype(np.float32)
        along: FloatArray = np.add.outer(m[1] * rays_y + m[2], m[0] * rays_x)
        np.multiply(along, depth_m, out=along)
        return np.subtract(np.float32(self.distance_m), along, out=along)

    def scatter_at(self, depth_m: FloatArray) -> FloatArray:
        """(...) metres: standard deviation of the plane's points at depths depth_m (...) metres."""
        return growth(depth_m, self.pixel_noise_m, self.scatter_m)

    def feet(self, depth_m: FloatArray, intrinsics: CameraIntrinsics, step: int = 1) -> FloatArray:
        """Where points stand, seen from straight above: coordinates along two axes of the plane.

        Args:
            depth_m: (H, W) metres, 0 where unknown.
            intrinsics: of the same image.
            step: look at every so many rows and columns.

        Returns:
            (ceil(H/step), ceil(W/step), 2) float32 metres.
        """
        normal = self.m / np.linalg.norm(self.m)
        first = np.cross(normal, [0.0, 0.0, 1.0] if abs(normal[2]) < 0.9 else [1.0, 0.0, 0.0])
        first /= np.linalg.norm(first)
        depth = depth_m[::step, ::step]
        rays_x, rays_y = (rays[::step] for rays in pixel_rays(intrinsics, depth_m.shape))
        out = np.empty((2, *depth.shape), np.float32)  # each coordinate in one piece
        for k, axis in enumerate((first, np.cross(normal, first))):
            x, y, z = axis.astype(np.float32)
            np.add.outer(y * rays_y + z, x * rays_x, out=out[k])
            out[k] *= depth
        return out.transpose(1, 2, 0)


def growth(depth_m: npt.NDArray[Any], pixel_noise_m: float, scale: float = 1.0) -> npt.NDArray[Any]:
    """How much farther points at depth_m stray from their plane than at 1 m, without unit, times `scale`.

    Part of it stays (surfaces are not flat), part grows with the distance (calibration), and the noise of
    stereo and structured light grows with its square: (0.004 + 0.003 z + 4 n z²) / (0.007 + 4 n).

    Examples:
        >>> growth(np.array([1.0, 2.0]), 0.0).round(2).tolist()
        [1.0, 1.43]
    """
    noise = 4 * pixel_noise_m
    scale /= 0.007 + noise
    floor: Any = 0.3
    z = np.maximum(depth_m, floor) if depth_m.ndim != 2 else cv2.max(depth_m, floor)  # images: be fast
    out: npt.NDArray[Any] = np.multiply(z, scale * noise)  # Horner's rule in place
    out += scale * 0.003
    out *= z
    out += scale * 0.004
    return out


def find_planes(
    depth_m: FloatArray,
    intrinsics: CameraIntrinsics,
    *,
    tolerance_m: float,
    pixel_noise_m: float,
    min_support: float,
    rng: np.random.Generator,
) -> list[Plane]:
    """The dominant planes of a view, largest first, by repeated RANSAC on a grid of pixels.

    Args:
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        tolerance_m: height within which a point at 1 m belongs to a plane, in the first count.
        pixel_noise_m: standard deviation of single depth pixels at 1 m, metres.
        min_support: share of the known pixels a plane must hold.
        rng: source of the hypotheses; the same state gives the same planes.

    Returns:
        At most 3 planes; none when nothing flat is large enough.
    """
    points, normals = _sample_points(depth_m, intrinsics)
    rows = _homogeneous(points, growth(points[:, 2], pixel_noise_m))
    tolerance = tolerance_m + 4 * pixel_noise_m
    enough = max(12.0, min_support * len(points))
    planes: list[Plane] = []
    left = np.ones(len(points), bool)
    while len(planes) < _MAX_PLANES and left.sum() >= enough:
        m = _best_hypothesis(points[left], rows[left] / tolerance, rng)
        if m is None:
            break
        m, scatter = _polish(m, rows[left], tolerance)
        inliers = left & (_residuals(m, rows) < max(tolerance, 4 * scatter))
        if inliers.sum() < enough:
            break
        along = normals[inliers] @ m > _SAME_WAY_COS * np.linalg.norm(m)
        planes.append(Plane(m, scatter, pixel_noise_m, np.count_nonzero(along) / len(points)))
        left &= ~inliers
    return sorted(planes, key=lambda plane: -plane.support)


def choose_support(planes: list[Plane]) -> Plane | None:
    """The plane things stand on: large, facing up; of several levels the highest that is no thing's top.

    Args:
        planes: from `find_planes`.

    Returns:
        One of them, or None when all face sideways, or down and are no large part of the view.
    """
    upright = [p for p in planes if p.sideways < _MOST_SIDEWAYS]
    level = [p for p in upright if p.up > _LOWEST_UP]
    level = level or [p for p in upright if p.up > _TILTED_UP and p.support > _TILTED_SUPPORT]
    if not level:
        return None
    best = max(level, key=lambda plane: plane.support * (0.2 + max(plane.up, 0.0)))
    normal = best.m * best.distance_m
    same_way = [p for p in level if p.m @ normal * p.distance_m > _PARALLEL_COS]

    def carries(plane: Plane) -> bool:
        desk = best.distance_m - plane.distance_m > _DESK_M
        return plane.support >= (_DESK_SHARE if desk else _LEVEL_SHARE) * best.support

    return min(filter(carries, same_way), key=lambda plane: plane.distance_m)


def _sample_points(
    depth_m: FloatArray, intrinsics: CameraIntrinsics
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(M, 3) points in metres of the known pixels on a grid of about `_SAMPLES`, and (M, 3) their normals.

    The normals point away from the camera and have unit length; they are NaN beside unknown pixels. They
    follow from the slopes of inverse depth between neighbours on the grid.
    """
    height, width = depth_m.shape
    step = max(1, int(np.sqrt(height * width / _SAMPLES)))
    grid = depth_m[step // 2 :: step, step // 2 :: step].astype(np.float64)
    rays_x, rays_y = pixel_rays(intrinsics, depth_m.shape)
    x, y = np.meshgrid(rays_x[step // 2 :: step], rays_y[step // 2 :: step])
    known = (grid > 0) & (grid < np.inf)
    grid = np.where(known, grid, 0.0)
    points = np.stack([x * grid, y * grid, grid], axis=-1)[known]
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(known, 1 / grid, np.nan)
    normals = np.stack(
        [_slope(inverse) * (intrinsics.fx / step), _slope(inverse.T).T * (intrinsics.fy / step), inverse],
        axis=-1,
    )
    normals[..., 2] -= normals[..., 0] * x + normals[..., 1] * y
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return points, normals[known]


def _slope(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(H, W) mean difference to the neighbours in a row, on one side where only that is known."""
    steps = np.diff(values, axis=1, prepend=np.nan, append=np.nan)
    before, after = steps[:, :-1], steps[:, 1:]
    return np.where(np.isnan(before), after, np.where(np.isnan(after), before, (before + after) / 2))


def _homogeneous(
    points: npt.NDArray[np.float64], reaches: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(M, 4) rows (x, y, z, 1)/reach: times (-m, 1)/|m|, heights over a plane in units of `reaches` (M,)."""
    return np.concatenate([points, np.ones((len(points), 1))], axis=1) / reaches[:, None]


def _residuals(m: npt.NDArray[np.float64], rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(M,) distances to the plane m (3,), in the units of rows (M, 4)."""
    return np.abs((rows[:, 3] - rows[:, :3] @ m) / np.linalg.norm(m))


def _best_hypothesis(
    points: npt.NDArray[np.float64], rows: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64] | None:
    """(3,) m of the three-point plane with most points near it; half of the triples are neighbours.

    Of points (M, 3) in metres; rows (M, 4) are the same in units of their tolerances, see `_homogeneous`.
    None when no triple spans a plane that misses the camera.
    """
    count = len(points)
    first = rng.integers(0, count, _HYPOTHESES)
    near = rng.integers(1, max(2, count // 6), (2, _HYPOTHESES // 2))
    far = rng.integers(1, max(2, count), (2, _HYPOTHESES - _HYPOTHESES // 2))
    others = (first + np.concatenate([near, far], axis=1)) % count  # rows of the grid lie one after another
    a, b, c = points[first], points[others[0]], points[others[1]]  # (T, 3) each
    u, v = b - a, c - a
    y_z_x, z_x_y = [1, 2, 0], [2, 0, 1]
    normal = u[:, y_z_x] * v[:, z_x_y] - u[:, z_x_y] * v[:, y_z_x]  # np.cross takes five times as long
    volume = (a * normal).sum(axis=1)
    usable = np.abs(volume) > 1e-9 * np.maximum(1e-9, np.abs(a[:, 2] * b[:, 2] * c[:, 2]))
    m = normal[usable] / volume[usable, None]
    length = np.linalg.norm(m, axis=1)
    seen = length < 1e3  # beyond: through the camera itself, seen edge on
    if not seen.any():
        return None
    m, length = m[seen], length[seen]
    planes = np.concatenate([-m, np.ones((len(m), 1))], axis=1) / length[:, None]
    best: npt.NDArray[np.float64] = m[
        _points_near(planes.astype(np.float32), rows.T.astype(np.float32)).argmax()
    ]
    return best


def _points_near(planes: FloatArray, points: FloatArray) -> npt.NDArray[np.int32]:
    """(T,) how many points (4, M), see `_homogeneous`, are within 1 of each plane (T, 4), (-m, 1)/|m|."""
    counts = []
    for start in range(0, len(planes), _AT_ONCE):
        away = planes[start : start + _AT_ONCE] @ points  # (<= _AT_ONCE, M)
        near = np.abs(away, out=away) < 1
        counts.append(cv2.reduce(near.view(np.uint8), 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[:, 0])
    return np.concatenate(counts)


def _polish(
    m: npt.NDArray[np.float64], rows: npt.NDArray[np.float64], tolerance_m: float
) -> tuple[npt.NDArray[np.float64], float]:
    """The plane (3,) and its scatter in metres, by least squares on the inliers of a plane m (3,).

    The tolerance shrinks to a few of their own deviations; it and the scatter are at 1 m, and rows (M, 4) in
    units of their growth, see `_homogeneous`.
    """
    limit, scatter = tolerance_m, tolerance_m / 3
    before: npt.NDArray[np.bool_] | None = None
    for _ in range(_POLISHINGS):
        inliers = _residuals(m, rows) < limit
        if before is not None and np.array_equal(inliers, before):
            break  # the same points give the same plane again
        if np.count_nonzero(inliers) < 6:
            break
        before = inliers
        some = rows[inliers]
        squares = some.T @ some  # (4, 4)
        m = np.linalg.solve(squares[:3, :3] + 1e-9 * np.eye(3), squares[:3, 3]).astype(np.float64)
        scatter = 1.4826 * float(np.median(_residuals(m, some)))
        limit = min(limit, max(3.5 * scatter, 0.0015))
    return m, scatter
