"""From a mask of what stands out to one label per thing: cut at depth jumps, connect, join what is one thing."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_STEEPEST = 15.0  # slope (depth over width, 86 degrees) beyond which neighbours are not one surface
_SHARE_OF_DEPTH = 0.006  # jumps are also at least this part of the distance


def depth_jumps(
    depth_m: FloatArray, inside: BoolArray, *, jump_m: float, noise_m: float, focal_px: float
) -> tuple[BoolArray, BoolArray]:
    """Where neighbouring pixels lie on different surfaces.

    In inverse depth a plane is linear, so a step that both sides' own slopes explain is no jump, however
    slanted the surface.

    Args:
        depth_m: (H, W) metres, 0 where unknown.
        inside: (H, W); only pairs with both pixels inside are looked at.
        jump_m: smallest jump in metres.
        noise_m: depth noise at 1 m, metres.
        focal_px: focal length in pixels.

    Returns:
        (H, W-1) and (H-1, W): True between a pixel and its right and lower neighbour.
    """
    inverse = np.zeros_like(depth_m)
    np.divide(np.float32(1), depth_m, out=inverse, where=depth_m > 0)
    least = np.maximum(np.float32(jump_m), np.float32(_SHARE_OF_DEPTH) * depth_m)
    if noise_m > 0:
        least += np.float32(4 * noise_m) * depth_m * depth_m
    least *= inverse * inverse  # the same jump in inverse depth
    steep = np.maximum(least, np.float32(_STEEPEST / focal_px) * inverse)
    return (
        _jumps_along_rows(inverse, inside, least, steep),
        _jumps_along_rows(inverse.T, inside.T, least.T, steep.T).T,
    )


def _jumps_along_rows(inverse: FloatArray, inside: BoolArray, least: FloatArray, steep: FloatArray) -> BoolArray:
    """(H, W-1) jumps between horizontal neighbours; all arguments (H, W), in 1/metres."""
    step = inverse[:, 1:] - inverse[:, :-1]
    bend = np.full_like(step, np.inf)  # how little either side's slope leaves unexplained
    both = inside[:, 1:] & inside[:, :-1]
    slopes = np.where(both, step, np.float32(0))
    change = np.abs(slopes[:, 1:] - slopes[:, :-1])
    bend[:, 1:] = change
    np.minimum(bend[:, :-1], change, out=bend[:, :-1])
    limit = np.minimum(least[:, 1:], least[:, :-1])
    slope_limit = np.minimum(steep[:, 1:], steep[:, :-1])
    size = np.abs(step)
    return both & (((bend > limit) & (size > limit)) | (size > slope_limit))


def connect(
    inside: BoolArray, depth_m: FloatArray, jumps: tuple[BoolArray, BoolArray], min_pixels: int
) -> tuple[IntArray, int]:
    """Connected components of `inside` that do not pass a jump.

    Args:
        inside: (H, W).
        depth_m: (H, W) metres.
        jumps: from `depth_jumps`.
        min_pixels: components smaller than this are left to `absorb`.

    Returns:
        (H, W) int32 labels, 0 = none, and how many.
    """
    barrier = _far_sides(depth_m, jumps)
    open_pixels = (inside & ~barrier).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(open_pixels, connectivity=4, ltype=cv2.CV_32S)
    keep = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= min_pixels)
    renumber = np.zeros(count, np.int32)
    keep = keep[keep > 0]
    renumber[keep] = np.arange(1, len(keep) + 1)
    return renumber[labels], len(keep)


def absorb(labels: IntArray, inside: BoolArray, depth_m: FloatArray, reach_m: float, steps: int = 3) -> IntArray:
    """Gives unlabelled pixels inside to the neighbouring label nearest in depth, ring by ring.

    Args:
        labels: (H, W) int32, 0 = none.
        inside: (H, W); only these pixels may be labelled.
        depth_m: (H, W) metres.
        reach_m: largest step in depth to a label, metres at 1 m (grows with the distance).
        steps: rings.

    Returns:
        (H, W) int32, a new array.
    """
    height, width = labels.shape
    flat = np.pad(labels, 1)
    depth = np.pad(depth_m, 1)
    todo = np.flatnonzero(np.pad(inside, 1).ravel() & (flat.ravel() == 0))
    out, z = flat.ravel(), depth.ravel()
    offsets = np.array([-1, 1, -(width + 2), width + 2])
    for _ in range(steps):
        if not len(todo):
            break
        near = todo[:, None] + offsets  # (M, 4)
        gap = np.abs(z[near] - z[todo, None])
        gap[out[near] == 0] = np.inf
        pick = gap.argmin(axis=1)
        rows = np.arange(len(todo))
        good = gap[rows, pick] < reach_m * np.maximum(z[todo], 0.5)
        out[todo[good]] = out[near[rows[good], pick[good]]]
        todo = todo[~good]
    return out.reshape(height + 2, width + 2)[1:-1, 1:-1].copy()


def _far_sides(depth_m: FloatArray, jumps: tuple[BoolArray, BoolArray]) -> BoolArray:
    """(H, W): the farther pixel of every jump; with 4-connectivity they close the cut."""
    right, down = jumps
    barrier = np.zeros(depth_m.shape, bool)
    second = depth_m[:, 1:] > depth_m[:, :-1]
    barrier[:, 1:] |= right & second
    barrier[:, :-1] |= right & ~second
    second = depth_m[1:] > depth_m[:-1]
    barrier[1:] |= down & second
    barrier[:-1] |= down & ~second
    return barrier


def touching_pairs(labels: IntArray) -> npt.NDArray[np.int64]:
    """(P, 2) label pairs, lower first, that meet in the image within two pixels."""
    pairs: list[npt.NDArray[np.int64]] = []
    top = int(labels.max()) + 1
    for first, second in (
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:, :-2], labels[:, 2:]),
        (labels[:-2], labels[2:]),
    ):
        meet = (first != second) & (first > 0) & (second > 0)
        a, b = first[meet].astype(np.int64), second[meet].astype(np.int64)
        pairs.append(np.unique(np.minimum(a, b) * top + np.maximum(a, b)))
    codes = np.unique(np.concatenate(pairs))
    return np.stack([codes // top, codes % top], axis=1)


def join_contained(
    labels: IntArray, count: int, footprints: list[FloatArray], *, share: float, slack_m: float
) -> IntArray:
    """Joins touching fragments of which one stands within the other's outline seen from above.

    So the inside of a bowl, cut off by its own rim, returns to the bowl; a thing behind another stays apart.

    Args:
        labels: (H, W) int32, 1..count.
        count: how many labels.
        footprints: per label (M, 2) float32 points on the plane, metres.
        share: part of the points that must lie in the other's convex outline.
        slack_m: how far outside still counts as inside.

    Returns:
        (H, W) int32 labels, not renumbered.
    """
    if count < 2:
        return labels
    hulls = [cv2.convexHull(points) if len(points) >= 3 else None for points in footprints]
    area = [0.0 if hull is None else cv2.contourArea(hull) for hull in hulls]
    parent = np.arange(count + 1)

    def root(label: int) -> int:
        while parent[label] != label:
            label = int(parent[label])
        return label

    pairs = touching_pairs(labels)
    order = sorted(pairs.tolist(), key=lambda pair: min(area[pair[0] - 1], area[pair[1] - 1]))
    for a, b in order:
        small, large = (a, b) if area[a - 1] < area[b - 1] else (b, a)
        hull = hulls[large - 1]
        if hull is None or root(a) == root(b):
            continue
        if _share_within(footprints[small - 1], hull, slack_m) >= share:
            parent[root(small)] = root(large)
    return np.array([root(label) for label in range(count + 1)], np.int32)[labels]


def _share_within(points: FloatArray, hull: FloatArray, slack_m: float) -> float:
    """Share of points (M, 2) inside a convex outline (K, 1, 2) or at most slack_m out of it."""
    corners = hull[:, 0].astype(np.float64)
    edges = np.roll(corners, -1, axis=0) - corners
    lengths = np.maximum(np.linalg.norm(edges, axis=1), 1e-9)
    offset = points[:, None].astype(np.float64) - corners[None]  # (M, K, 2)
    turn = (edges[None, :, 0] * offset[..., 1] - edges[None, :, 1] * offset[..., 0]) / lengths
    side = np.sign(np.median(turn.sum(axis=1))) if len(points) else 1.0
    inward = cv2.contourArea(hull, oriented=True)
    turn = turn if (inward > 0 or (inward == 0 and side >= 0)) else -turn
    return float((turn.min(axis=1) >= -slack_m).mean()) if len(points) else 0.0


def footprints_of(labels: IntArray, count: int, points: FloatArray, most: int = 250) -> list[FloatArray]:
    """Up to `most` points on the plane per label, evenly drawn.

    Args:
        labels: (H, W) int32.
        count: how many labels.
        points: (H, W, 2) float32 metres on the plane.
        most: points kept per label.

    Returns:
        `count` arrays (M, 2) float32.
    """
    where = np.flatnonzero(labels)
    order = where[np.argsort(labels.ravel()[where], kind="stable")]
    ends = np.cumsum(np.bincount(labels.ravel()[where], minlength=count + 1))
    flat = points.reshape(-1, 2)
    parts = (order[ends[i] : ends[i + 1]] for i in range(count))
    return [np.ascontiguousarray(flat[part[:: max(1, len(part) // most)]]) for part in parts]
