"""What things are made of, as far as a depth camera's light goes: where it comes back and where not."""

from __future__ import annotations

from enum import IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.learn.tabletop.sensors.faults import correlated_noise

FloatArray = npt.NDArray[np.float32]
SurfaceArray = npt.NDArray[np.uint8]

_GLARE_DEG = 9.0  # a gloss that faces the camera mirrors its own light into it
_GLOSS_DEG = 52.0  # beyond, a gloss mirrors the light away
_DARK_LIMIT = 0.72  # cosine over squared distance below which too little light comes back from black
_RAGGED = 0.18  # how much these limits scatter from place to place
_BLOB_PX = 6.0  # size of the patches in which they do
_SEEN_THROUGH = 0.35  # share of transparent pixels that read what lies behind
_HALO_PX = (5.0, 20.0)


class Surface(IntEnum):
    """How a surface gives back a depth camera's light."""

    MATT = 0
    GLOSSY = 1  # glaze, metal, plastic film
    DARK = 2  # black cloth, black plastic
    TRANSPARENT = 3
    MIRRORING = 4  # a polished table: it shows the things that stand on it once more, upside down


def facing(depth_m: FloatArray, focal_px: float) -> FloatArray:
    """(H, W) cosine between each pixel's surface and the direction to the camera, in (0, 1].

    From the slopes of exact depth (H, W), metres > 0. The principal point is the image's middle.
    """
    height, width = depth_m.shape
    x = ((np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal_px)[None, :]
    y = ((np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal_px)[:, None]
    inverse = np.reciprocal(depth_m)
    # on a plane m · (x, y, 1) = 1/z, so m is the gradient of 1/z in x and y, and the rest
    m_x = _gentler_slope(inverse, axis=1) * focal_px
    m_y = _gentler_slope(inverse, axis=0) * focal_px
    m_z = inverse - m_x * x - m_y * y
    length = np.sqrt(m_x**2 + m_y**2 + m_z**2) * np.sqrt(x**2 + y**2 + 1)
    return np.clip(inverse / np.maximum(length, 1e-9), 0, 1).astype(np.float32)


def _gentler_slope(values: FloatArray, axis: int) -> FloatArray:
    """The smaller of the differences to the pixel before and after, so that edges do not count as slopes."""
    step = np.diff(values, axis=axis)
    pad = [(0, 0), (0, 0)]
    pad[axis] = (1, 0)
    before = np.pad(step, pad, mode="edge")
    pad[axis] = (0, 1)
    after = np.pad(step, pad, mode="edge")
    return np.where(np.abs(before) < np.abs(after), before, after)


def without_returns(
    read_m: FloatArray,
    depth_m: FloatArray,
    focal_px: float,
    rng: np.random.Generator,
    surface: SurfaceArray | None,
) -> FloatArray:
    """What is left of a reading where surfaces swallow, mirror or let through the light.

    Gloss has holes where it faces the camera (glare) and where it turns away; black has them where it is
    far or slanted; transparent things are holes with patches that read what lies behind; on a mirroring
    table there is a halo of 5 to 20 pixels round what stands on it, where two depths are seen at once.

    Source: Sajjan et al., ClearGrasp, ICRA 2020 (transparent things: nothing, or the background's depth);
    Sarbolandi et al., CVIU 2015 (dark and glossy surfaces); the halo's width was read off real frames.

    Args:
        read_m: (H, W) metres that the camera reads of matt things, 0 unknown.
        depth_m: (H, W) exact metres, > 0.
        focal_px: focal length.
        rng: source of randomness; nothing is drawn when `surface` is None.
        surface: (H, W) `Surface`; None returns `read_m`.
    """
    if surface is None:
        return read_m
    cosine = facing(depth_m, focal_px)
    ragged = 1 + correlated_noise(depth_m.shape, _RAGGED, _BLOB_PX, rng)
    angle = np.degrees(np.arccos(cosine)) * ragged
    lost = (surface == Surface.GLOSSY) & ((angle < _GLARE_DEG) | (angle > _GLOSS_DEG))
    lost |= (surface == Surface.DARK) & (cosine * ragged < _DARK_LIMIT * depth_m**2)
    clear = surface == Surface.TRANSPARENT
    read = _seen_through(read_m, clear) if clear.any() else read_m
    patches = correlated_noise(depth_m.shape, 1.0, _BLOB_PX, rng)
    if clear.any():
        lost |= clear & (patches > np.quantile(patches[clear], _SEEN_THROUGH))
    lost |= _halo(surface, patches)
    return np.where(lost, 0, read).astype(np.float32)


def _seen_through(read_m: FloatArray, clear: npt.NDArray[np.bool_]) -> FloatArray:
    """The reading with the nearest reading round about in place of every clear pixel."""
    around = (read_m > 0) & ~clear
    if not around.any():
        return read_m
    _, nearest = cv2.distanceTransformWithLabels(
        (~around).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(int(nearest.max()) + 1, np.float32)
    of_label[nearest[around]] = read_m[around]
    return np.where(clear, of_label[nearest], read_m).astype(np.float32)


def _halo(surface: SurfaceArray, patches: FloatArray) -> npt.NDArray[np.bool_]:
    """(H, W) the pixels of a mirroring table round everything else, a band of changing width."""
    mirror = surface == Surface.MIRRORING
    if not mirror.any() or mirror.all():
        return np.zeros(surface.shape, bool)
    away = cv2.distanceTransform(mirror.view(np.uint8), cv2.DIST_L2, 5)
    low, high = _HALO_PX
    return mirror & (away < (low + high) / 2 + np.clip(patches, -2, 2) * (high - low) / 4)
