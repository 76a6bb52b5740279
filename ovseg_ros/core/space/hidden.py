"""What the hidden side of a thing is like if it is symmetric and nothing that is seen speaks against it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space.points import Points, axial_noise_m

_SIDE = 0.02  # of the width at either side holds the outermost points
_BEHIND_M = 0.005
_NOISES = 3.0
_AGAINST = 0.1  # of the points seen past are one too many


def hidden_points(
    points: Points, axes: Points, depth_m: npt.NDArray[np.float32], intrinsics: CameraIntrinsics
) -> Points:
    """Points of a thing's hidden side, from its visible ones.

    Most things look the same from above after half a turn: boxes, cans, bottles, bowls. Where the outline
    turns away from the camera, at the outermost left and right, are two points opposite each other, so that
    the axis of that symmetry is midway between them. Each visible point turned about it is believed where the
    camera sees something nearer in that direction. Where it sees something further away there is nothing: if
    that is so for more than a tenth of them, as for a pan or a mug with its handle, the thing is not
    symmetric, and none is believed.

    Args:
        points: (3, M) visible points, metres along `axes`, M >= 1.
        axes: (3, 3), rows in the camera's optical frame: to the right, away from the camera, up.
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown, which hides nothing.
        intrinsics: of the same image.

    Returns:
        (3, K) along `axes`, K <= M.
    """
    across = points[0]
    low, high = across.min(), across.max()
    band = _SIDE * (high - low)
    left, right = (
        points[:2, across <= low + band].mean(axis=1),
        points[:2, across >= high - band].mean(axis=1),
    )
    turned = np.concatenate([(left + right)[:, None] - points[:2], points[2:]])
    x, y, z = axes.T @ turned
    height, width = depth_m.shape
    ahead = np.maximum(z, np.float32(1e-3))
    u = np.rint(np.float32(intrinsics.fx) * x / ahead + np.float32(intrinsics.cx))
    v = np.rint(np.float32(intrinsics.fy) * y / ahead + np.float32(intrinsics.cy))
    inside = (z > 0) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    at = np.where(inside, v * width + u, 0).astype(np.intp)
    seen = np.where(inside, depth_m.reshape(-1)[at], 0)
    sure = _BEHIND_M + _NOISES * axial_noise_m(z)
    if np.count_nonzero(seen > z + sure) > _AGAINST * len(z):
        return points[:, :0]
    return turned[:, (seen > 0) & (seen < z - sure)]
