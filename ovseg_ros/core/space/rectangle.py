"""The smallest rectangle around points on a plane, with its sides where the points are."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

_AS_SMALL = 1.04  # rectangles up to so much larger than the smallest are as good
_ROUND = 1.12  # where the largest of any direction is at most so much larger, there is no direction
_ANGLES = np.linspace(0, np.pi / 2, 12, endpoint=False, dtype=np.float32)
_JUDGES = 128  # points that choose between rectangles of a size


def best_angle(points: npt.NDArray[np.float32]) -> float:
    """The direction of one side of the rectangle around points (2, M), radians; 0 where they are round.

    The smallest rectangle has a side along the convex hull (cv2.minAreaRect). Where several are as small, as
    around the two visible sides of a box, that one is taken whose sides the points are nearest to.

    Args:
        points: (2, M) metres, M >= 1.
    """
    hull = cv2.convexHull(np.ascontiguousarray(points.T)).reshape(-1, 2).T.astype(np.float32)  # (2, K)
    if hull.shape[1] < 3:
        along = hull[:, -1] - hull[:, 0]
        return float(np.arctan2(along[1], along[0]))
    edges = hull - np.concatenate([hull[:, -1:], hull[:, :-1]], axis=1)
    angles = np.mod(np.arctan2(edges[1], edges[0]), np.pi / 2)
    turned = _turned(hull, np.concatenate([angles, _ANGLES]))  # (K + 12, 2, K)
    sides = turned.max(axis=2) - turned.min(axis=2)
    areas, everywhere = np.split(sides[:, 0] * sides[:, 1], [len(angles)])
    smallest = areas.min()
    if everywhere.max() <= _ROUND * smallest:
        return 0.0
    few = angles[areas <= _AS_SMALL * smallest]
    if len(few) == 1:
        return float(few[0])
    turned = _turned(points[:, :: max(1, points.shape[1] // _JUDGES)], few)
    low, high = turned.min(axis=2, keepdims=True), turned.max(axis=2, keepdims=True)
    nearest = np.minimum(turned - low, high - turned).min(axis=1).mean(axis=1)
    return float(few[nearest.argmin()])


def _turned(points: npt.NDArray[np.float32], angles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(A, 2, M) coordinates of points (2, M) along axes turned by each angle."""
    cos, sin = np.cos(angles), np.sin(angles)
    axes = np.array([[cos, sin], [-sin, cos]]).transpose(2, 0, 1).reshape(-1, 2)  # (A 2, 2)
    turned: npt.NDArray[np.float32] = (axes @ points).reshape(-1, 2, points.shape[1])
    return turned
