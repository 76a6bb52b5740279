"""Fragments of one thing, cut apart by its own edges, joined by where they stand and hang."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_POINTS = 200  # per fragment, enough for an outline
_WITHIN_SHARE = 0.8  # of a fragment's points within another's outline seen from above
_WITHIN_SLACK_M = 0.004
_OVERLAP = 0.5  # of the smaller outline's area: two bodies cannot share so much ground
_TOUCH_M = 0.006  # outlines this near each other, seen from above, touch
_HANGS_M = 0.012  # a fragment whose lowest point is higher than this hangs on something
_SAME_TOP_M = 0.010  # two sides of one rim are this equal in height
_RIM_GAP_M = 0.015  # and this near each other, seen from above
_COMPACT = 0.9  # two halves fill their common outline so well


@dataclass(frozen=True)
class Fragment:
    """One connected piece.

    Attributes:
        label: in the label image.
        pixels: how many.
        feet: (M, 2) float32 metres, points dropped onto the plane: some evenly drawn, and the outline.
        outline: (K, 1, 2) float32 metres, their convex hull.
        area_m2: of the outline.
        lowest_m: height above the plane of all but its lowest few points.
        top_m: height above the plane of all but its highest few points.
        box_xyxy: its box in the image, pixels.
    """

    label: int
    pixels: int
    feet: FloatArray
    outline: FloatArray
    area_m2: float
    lowest_m: float
    top_m: float
    box_xyxy: tuple[int, int, int, int]


def describe(labels: IntArray, count: int, feet: FloatArray, heights: FloatArray) -> list[Fragment]:
    """Looks at labels 1..count on a grid of pixels.

    Args:
        labels: (H, W) int32, 0 = none; every second pixel of the image will do.
        count: how many labels.
        feet: (H, W, 2) float32 metres on the plane.
        heights: (H, W) float32 metres above it.

    Returns:
        One Fragment for each label with at least three points; pixels and boxes count on the grid given.
    """
    flat = labels.ravel()
    where = np.flatnonzero(flat)
    where = where[np.argsort(flat[where], kind="stable")]
    ends = np.cumsum(np.bincount(flat[where], minlength=count + 1))
    out = []
    for label in range(1, count + 1):
        part = where[ends[label - 1] : ends[label]]
        if len(part) < 3:
            continue
        rows, columns = np.divmod(part, labels.shape[1])
        some = part[:: max(1, len(part) // _POINTS)]
        hull = cv2.convexHull(feet.reshape(-1, 2)[part])
        points = np.concatenate([feet.reshape(-1, 2)[some], hull[:, 0]])
        box = (int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max()))
        few = len(part) // 50
        ordered = np.partition(heights.ravel()[part], (few, len(part) - 1 - few))
        lowest, top = float(ordered[few]), float(ordered[-1 - few])
        out.append(Fragment(label, len(part), points, hull, cv2.contourArea(hull), lowest, top, box))
    return out


def join(labels: IntArray, count: int, fragments: list[Fragment], *, reach_px: int) -> IntArray:
    """Joins fragments near each other in the image that stand in or hang on one another.

    The inside of a bowl, cut off by its own rim, lies within the bowl's outline seen from above and returns
    to it; a handle behind its mug does not reach the table, hangs on the mug and returns too. A thing behind
    another stands beside its outline and stays apart.

    Args:
        labels: (H, W) int32, 0..count.
        count: highest label.
        fragments: from `describe`, of the same labels.
        reach_px: how near the boxes must be, in the pixels `describe` saw.

    Returns:
        (H, W) int32, labels not renumbered.
    """
    parent = np.arange(count + 1)

    def root(label: int) -> int:
        while parent[label] != label:
            label = int(parent[label])
        return label

    by_area = sorted(fragments, key=lambda fragment: fragment.area_m2)
    for i, small in enumerate(by_area):
        for large in by_area[:i:-1]:  # the largest that holds it
            if _boxes_near(small, large, reach_px) and _belong(small, large):
                parent[root(small.label)] = root(large.label)
                break
    if (parent == np.arange(count + 1)).all():
        return labels
    return np.array([root(label) for label in range(count + 1)], np.int32)[labels]


def _boxes_near(a: Fragment, b: Fragment, reach_px: int) -> bool:
    return (
        a.box_xyxy[0] <= b.box_xyxy[2] + reach_px
        and b.box_xyxy[0] <= a.box_xyxy[2] + reach_px
        and a.box_xyxy[1] <= b.box_xyxy[3] + reach_px
        and b.box_xyxy[1] <= a.box_xyxy[3] + reach_px
    )


def _belong(small: Fragment, large: Fragment) -> bool:
    """Whether two fragments are parts of one thing; see `join`."""
    depth_in = _depth_within(small.feet, large.outline)
    if (depth_in >= -_WITHIN_SLACK_M).mean() >= _WITHIN_SHARE:
        return True
    shared = 0.0
    if min(len(small.outline), len(large.outline)) >= 3:
        shared = cv2.intersectConvexConvex(small.outline, large.outline)[0]
        if shared >= _OVERLAP * small.area_m2 > 0:
            return True
    gap = -max(depth_in.max(), _depth_within(large.feet, small.outline).max())
    if gap > _RIM_GAP_M:
        return False
    hangs = small.lowest_m > _HANGS_M and small.pixels < large.pixels
    if hangs and (gap < _TOUCH_M or abs(small.top_m - large.top_m) < _SAME_TOP_M):
        return True
    if gap > _TOUCH_M:
        return False
    together = cv2.contourArea(cv2.convexHull(np.concatenate([small.outline, large.outline])))
    return bool(small.area_m2 + large.area_m2 - shared >= _COMPACT * together)


def _depth_within(points: FloatArray, hull: FloatArray) -> npt.NDArray[np.float64]:
    """(M,) metres: how deep points (M, 2) lie inside a convex outline (K, 1, 2), negative outside."""
    corners = hull[:, 0].astype(np.float64)
    edges = np.roll(corners, -1, axis=0) - corners
    edges /= np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-9)
    inward = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
    if cv2.contourArea(hull, oriented=True) < 0:  # the sense in which OpenCV went round
        inward = -inward
    distances = points.astype(np.float64) @ inward.T - (corners * inward).sum(axis=1)
    return distances.min(axis=1)
