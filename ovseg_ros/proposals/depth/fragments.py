"""Fragments of one thing, cut apart by its own edges, joined by where they stand and hang."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

_APART, _BESIDE, _WITHIN, _SEAM = range(4)  # reasons why fragments are one thing, the best last
_POINTS = 200  # per fragment, enough for an outline
_WITHIN_SHARE = 0.8  # of a fragment's points within another's outline seen from above
_WITHIN_SLACK_M = 0.004
_OVERLAP = 0.5  # of the smaller outline's area: two bodies cannot share so much ground
_TOUCH_M = 0.006  # outlines this near each other, seen from above, touch
_HANGS_M = 0.012  # a fragment whose lowest point is higher than this hangs on something
_SAME_TOP_M = 0.010  # two sides of one rim are this equal in height
_RIM_GAP_M = 0.015  # and this near each other, seen from above
_SEAM_PX = 3  # along more than this without a jump, a fragment hangs on another
_LIMB_M = 0.06  # a limb, as a spout behind its pot, is seen at most so far from it,
_LIMB_SHARE = 0.1  # has at most so many of its pixels,
_LIMB_UNLIKE = 30.0  # and no other colour, in 8-bit RGB
_COMPACT = 0.9  # two halves fill their common outline so well


@dataclass(frozen=True, eq=False)
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
        box_xyxy: (4,) int64, its box in the image, pixels.
        colour: (3,) float64, its mean RGB.
    """

    label: int
    pixels: int
    feet: FloatArray
    outline: FloatArray
    area_m2: float
    lowest_m: float
    top_m: float
    box_xyxy: npt.NDArray[np.int64]
    colour: npt.NDArray[np.float64]

    @cached_property
    def sides(self) -> npt.NDArray[np.float64]:
        """(K, 3) inward unit normals of the outline's sides, and how far along them the sides lie, metres."""
        corners = self.outline[:, 0].astype(np.float64)
        edges = np.roll(corners, -1, axis=0) - corners
        edges /= np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-9)
        inward = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
        if cv2.contourArea(self.outline, oriented=True) < 0:  # the sense in which OpenCV went round
            inward = -inward
        return np.concatenate([inward, (corners * inward).sum(axis=1, keepdims=True)], axis=1)


def describe(
    labels: IntArray,
    count: int,
    feet: FloatArray,
    heights: FloatArray,
    image_rgb: npt.NDArray[np.uint8],
) -> list[Fragment]:
    """Looks at labels 1..count on a grid of pixels.

    Args:
        labels: (H, W) int32, 0 = none; every second pixel of the image will do.
        count: how many labels.
        feet: (H, W, 2) float32 metres on the plane.
        heights: (H, W) float32 metres above it.
        image_rgb: (H, W, 3) uint8.

    Returns:
        One Fragment for each label with at least three points; pixels and boxes count on the grid given.
    """
    flat = labels.reshape(-1)
    where = np.flatnonzero(flat > 0)
    which = flat[where]
    if count < 1 << 16:
        which = which.astype(np.uint16)  # NumPy sorts 16 bits by radix
    where = where[np.argsort(which, kind="stable")]
    sizes = np.bincount(which, minlength=count + 1)
    ends = np.cumsum(sizes)
    chosen = np.flatnonzero(sizes >= 3)  # label 0 has none
    points = feet.reshape(-1, 2)
    raised, colours = heights.reshape(-1), image_rgb.reshape(-1, 3)
    out = []
    for label in chosen.tolist():
        part = where[ends[label - 1] : ends[label]]  # row by row
        columns = part % labels.shape[1]
        first, last = part[[0, -1]] // labels.shape[1]
        box = np.array([columns.min(), first, columns.max(), last])
        ground = points[part]  # (M, 2)
        hull = cv2.convexHull(ground)
        some = np.concatenate([ground[:: max(1, len(part) // _POINTS)], hull[:, 0]])
        few = len(part) // 50
        ordered = np.partition(raised[part], (few, len(part) - 1 - few))
        lowest, top = float(ordered[few]), float(ordered[-1 - few])
        colour = colours[part[:: max(1, len(part) // _POINTS)]].mean(axis=0)
        out.append(Fragment(label, len(part), some, hull, cv2.contourArea(hull), lowest, top, box, colour))
    return out


def roots(
    count: int, fragments: list[Fragment], seams: dict[tuple[int, int], int], *, reach_px: int
) -> npt.NDArray[np.int64]:
    """Which label each of 0..count joins, (count + 1,): its own where it joins none.

    Fragments join that are near each other in the image and of which one stands in or hangs on the other.

    The inside of a bowl, cut off by its own rim, lies within the bowl's outline seen from above and returns
    to it; a handle behind its mug does not reach the table, hangs on the mug and returns too. A thing behind
    another stands beside its outline and stays apart. Of several that would take it a fragment joins the one
    with the best reason, of these the one with the longest seam, then the largest; one with a seam joins none
    that it only hangs beside.

    Args:
        count: highest label.
        fragments: from `describe`.
        seams: along how many pixels two labels, the lower first, meet without a jump.
        reach_px: how near the boxes must be, in the pixels `describe` saw.
    """
    parent = np.arange(count + 1)

    def root(label: int) -> int:
        while parent[label] != label:
            label = int(parent[label])
        return label

    by_area = sorted(fragments, key=lambda fragment: fragment.area_m2)
    boxes = np.array([fragment.box_xyxy for fragment in by_area]).reshape(-1, 4)
    near = np.triu(_boxes_near(boxes[:, None], boxes[None], reach_px), 1)
    has_seam = np.zeros(count + 1, bool)
    choice: dict[int, tuple[int, int, int]] = {}  # of the smaller: reason, seam, and which the larger is
    for i, k in np.argwhere(near).tolist():
        small, large = by_area[i].label, by_area[k].label
        seam_px = seams.get((min(small, large), max(small, large)), 0)
        reason = _reason(by_area[i], by_area[k], seam_px)
        has_seam[[small, large]] |= reason == _SEAM
        choice[i] = max(choice.get(i, (_APART, 0, k)), (reason, seam_px, k))
    for i, (reason, _, k) in choice.items():
        if reason > (_BESIDE if has_seam[by_area[i].label] else _APART):
            parent[root(by_area[i].label)] = root(by_area[k].label)
    return np.array([root(label) for label in range(count + 1)])


def _boxes_near(
    a_xyxy: npt.NDArray[np.int64], b_xyxy: npt.NDArray[np.int64], reach_px: int
) -> npt.NDArray[np.bool_]:
    """(...) whether boxes (..., 4) are within `reach_px` of each other; broadcast."""
    first = (a_xyxy[..., :2] <= b_xyxy[..., 2:] + reach_px).all(axis=-1)
    second = (b_xyxy[..., :2] <= a_xyxy[..., 2:] + reach_px).all(axis=-1)
    return first & second


def _reason(small: Fragment, large: Fragment, seam_px: int) -> int:
    """How good the reason is to take two fragments for parts of one thing; see `roots`."""
    hangs = max(small.lowest_m, large.lowest_m) > _HANGS_M
    if seam_px > (_SEAM_PX if hangs else np.sqrt(min(small.pixels, large.pixels))):
        return _SEAM
    depth_in = _depth_within(small.feet, large.sides)
    if np.count_nonzero(depth_in >= -_WITHIN_SLACK_M) >= _WITHIN_SHARE * len(depth_in):
        return _WITHIN
    shared = 0.0
    if min(len(small.outline), len(large.outline)) >= 3:
        shared = cv2.intersectConvexConvex(small.outline, large.outline)[0]
        if shared >= _OVERLAP * small.area_m2 > 0:
            return _WITHIN
    gap = -max(depth_in.max(), _depth_within(large.feet, small.sides).max())
    if gap <= _LIMB_M and _is_limb(small, large):
        return _BESIDE
    if gap > _RIM_GAP_M:
        return _APART
    hangs = small.lowest_m > _HANGS_M and small.pixels < large.pixels
    if hangs and (gap < _TOUCH_M or abs(small.top_m - large.top_m) < _SAME_TOP_M):
        return _BESIDE
    if gap > _TOUCH_M:
        return _APART
    together = cv2.contourArea(cv2.convexHull(np.concatenate([small.outline, large.outline])))
    return _BESIDE if small.area_m2 + large.area_m2 - shared >= _COMPACT * together else _APART


def _is_limb(small: Fragment, large: Fragment) -> bool:
    """Whether a fragment is small, stands nowhere, and has the colour of a larger and higher one.

    A spout behind its pot shows far from it, as where they meet is hidden. So does the top of a thing that
    stands hidden behind another; of another colour, it is one of its own.
    """
    hangs = small.lowest_m > _HANGS_M and small.top_m <= large.top_m
    is_small = small.pixels <= _LIMB_SHARE * large.pixels
    return bool(hangs and is_small and np.linalg.norm(small.colour - large.colour) < _LIMB_UNLIKE)


def _depth_within(points: FloatArray, sides: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(M,) metres: how deep points (M, 2) lie inside a convex outline of sides (K, 3), negative outside."""
    distances = sides[:, :2] @ points.T.astype(np.float64)  # (K, M): the minimum then runs over whole rows
    distances -= sides[:, 2:]
    return distances.min(axis=0)
