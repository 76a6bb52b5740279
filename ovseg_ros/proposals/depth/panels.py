"""Large flat pieces, such as a wall with a door in it, cut where their colour changes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.proposals.depth.clusters import connect, spread, window_around

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int32]

_SAMPLES = 2500  # pixels looked at per piece
_LARGE_IMAGE = 0.04  # of the image, and
_LARGE_M2 = 0.5  # square metres, from which a piece may be a wall
_FLAT = 0.015  # median distance from its own plane, as a share of the distance to the camera
_TWO_COLOURS = 0.6  # of the variance of chroma must lie between two groups
_APART = 12.0  # and so far apart in CIELAB chroma must their means be
_VOTERS = (7, 7)  # pixels around one that say together which group it is in
_MARGIN = 4  # pixels: half of those, and one for the blur
_PANEL = 0.01  # of the image is the smallest panel


def split_panels(
    image_rgb: npt.NDArray[np.uint8],
    labels: IntArray,
    areas: npt.NDArray[np.int64],
    depth_m: FloatArray,
    intrinsics: CameraIntrinsics,
) -> IntArray:
    """Cuts wall-like labels in two by chroma, where two colours stand clearly apart.

    Shade changes brightness more than chroma, so a shadow on a wall cuts nothing.

    Args:
        image_rgb: (H, W, 3) uint8.
        labels: (H, W) int32, 0 = none.
        areas: pixels of each label 0..highest, none of label 0.
        depth_m: (H, W) metres, 0 where unknown.
        intrinsics: of the same image.

    Returns:
        (H, W) int32 labels, the same array when nothing was cut.
    """
    top = len(areas)
    for label in np.flatnonzero(areas > _LARGE_IMAGE * labels.size):
        inside = labels == label
        if not _is_wall(inside, depth_m, intrinsics):
            continue
        window = window_around(inside, _MARGIN)
        inside = np.ascontiguousarray(inside[window])
        bright = _two_colours(image_rgb[window], inside)
        if bright is None:
            continue
        part = np.where(inside, 0, labels[window])
        for side in (inside & bright, inside & ~bright):
            panels, count = connect(side, max(20, int(_PANEL * labels.size)))
            np.add(panels, top, out=part, where=panels > 0)
            top += count + 1
        spread(part, np.flatnonzero(inside & (part == 0)), steps=40)  # crumbs go to the nearest panel
        labels = labels.copy()
        labels[window] = part
    return labels


def _is_wall(inside: BoolArray, depth_m: FloatArray, intrinsics: CameraIntrinsics) -> bool:
    """Whether the piece is flat, and large in metres."""
    where = np.flatnonzero(inside)
    z = depth_m.reshape(-1)[where]
    where, z = where[z > 0], z[z > 0]
    if len(where) < 30:
        return False
    z_middle = float(np.median(z))
    if len(where) * z_middle**2 / (intrinsics.fx * intrinsics.fy) < _LARGE_M2:
        return False
    step = max(1, len(where) // _SAMPLES)
    rows, columns = np.divmod(where[::step], inside.shape[1])
    rays_x, rays_y = pixel_rays(intrinsics, inside.shape)
    z = z[::step].astype(np.float64)
    points = np.stack([rays_x[columns] * z, rays_y[rows] * z, z], axis=1)
    m = np.linalg.lstsq(points, np.ones(len(points)), rcond=None)[0]
    away = np.abs(1.0 - points @ m) / max(float(np.linalg.norm(m)), 1e-9)
    return float(np.median(away)) < _FLAT * z_middle


def _two_colours(image_rgb: npt.NDArray[np.uint8], inside: BoolArray) -> BoolArray | None:
    """(H, W) the group of each pixel, smoothed; None when the chroma inside makes one group."""
    chroma = cv2.cvtColor(cv2.blur(image_rgb, (3, 3)), cv2.COLOR_RGB2LAB)[..., 1:].astype(np.float32)
    samples = chroma[inside]
    samples = samples[:: max(1, len(samples) // _SAMPLES)]
    mean = samples.mean(axis=0)
    _, directions = np.linalg.eigh(np.cov((samples - mean).T))
    axis = directions[:, -1].astype(np.float32)
    along = np.sort((samples - mean) @ axis)
    low, high, share, cut = _otsu(along)
    if share < _TWO_COLOURS or high - low < _APART:
        return None
    shift = float(mean @ axis)
    along = chroma[..., 0] * axis[0] + chroma[..., 1] * axis[1]  # a product of matrices is slower for two
    group = (along - np.float32(shift) > cut).view(np.uint8)
    votes = cv2.boxFilter(group, cv2.CV_8U, _VOTERS, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return votes > _VOTERS[0] * _VOTERS[1] // 2


def _otsu(values: FloatArray) -> tuple[float, float, float, float]:
    """The best cut of sorted values: mean below, mean above, share of the variance between them, the cut."""
    count = len(values)
    below = np.arange(1, count)
    sums = np.cumsum(values, dtype=np.float64)
    low = sums[:-1] / below
    high = (sums[-1] - sums[:-1]) / (count - below)
    between = below * (count - below) / count**2 * (high - low) ** 2
    best = int(between.argmax())
    share = float(between[best] / max(float(values.var()), 1e-9))
    return float(low[best]), float(high[best]), share, float((values[best] + values[best + 1]) / 2)
