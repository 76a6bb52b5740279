"""From registered depth to points and boxes in the camera's optical frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

_TAIL_PERCENT = 2.0  # so many points on either side may be flying pixels
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
    u = (np.arange(intrinsics.width, dtype=np.float32) - np.float32(intrinsics.cx)) / np.float32(
        intrinsics.fx
    )
    v = (np.arange(intrinsics.height, dtype=np.float32) - np.float32(intrinsics.cy)) / np.float32(
        intrinsics.fy
    )
    points = np.empty((*z.shape, 3), dtype=np.float32)
    points[..., 0] = z * u
    points[..., 1] = z * v[:, None]
    points[..., 2] = z
    return points


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
