"""Figures: upright boards with a picture, put into a rendered view with the right depth and occlusion.

The picture is one of `cutouts`' emoji. A figure stands on a point of the table and faces the camera, so its
depth is that of its foot; what is nearer hides it, and it hides what is farther.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ovseg_ros.learn.tabletop.cutouts import Picture

_ON_TABLE_M = 0.012
_SHADOW = 0.55


@dataclass
class Canvas:
    """A view that figures are put into, in place.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32, exact.
        instances: (H, W) uint16, 0 = none.
        height_m: (H, W) float32, height above the table of what is seen.
        focal_px: focal length.
    """

    image_rgb: np.ndarray
    depth_m: np.ndarray
    instances: np.ndarray
    height_m: np.ndarray
    focal_px: float


def heights(depth_m: np.ndarray, focal_px: float, lookat_z_m: float, distance_m: float, elevation_deg: float
            ) -> np.ndarray:  # fmt: skip
    """(H, W) height above z = 0 of every pixel, for an orbiting camera without roll."""
    h = depth_m.shape[0]
    e = np.radians(elevation_deg)
    down = (np.arange(h, dtype=np.float32) - (h - 1) / 2)[:, None] / focal_px * depth_m
    return (lookat_z_m - distance_m * np.sin(e) - down * np.cos(e) + depth_m * np.sin(e)).astype(np.float32)


def stand(canvas: Canvas, picture: Picture, number: int, rng: np.random.Generator, tries: int = 30) -> int:
    """Puts one figure on a free spot of the table and returns how many of its pixels are seen; 0: no spot.

    Args:
        canvas: changed in place.
        picture: what it shows.
        number: its value in `canvas.instances`.
        rng: source of randomness.
        tries: spots that are tried.
    """
    table = (np.abs(canvas.height_m) < _ON_TABLE_M) & (canvas.instances == 0)
    ys, xs = np.nonzero(table[20:]) if table.shape[0] > 20 else ((), ())
    for _ in range(tries if len(ys) else 0):
        k = int(rng.integers(len(ys)))
        y, x = int(ys[k]) + 20, int(xs[k])
        d = float(canvas.depth_m[y, x])
        board, alpha = _board(picture, rng.uniform(0.09, 0.15) * canvas.focal_px / d, rng)
        h, w = alpha.shape
        y0, x0 = y - h, x - w // 2
        foot = slice(x - w // 3, x + w // 3 + 1)
        if y0 < 0 or x0 < 0 or x0 + w > table.shape[1] or not table[y - 2 : y, foot].all():
            continue
        box = (slice(y0, y), slice(x0, x0 + w))
        visible = (alpha > 0.5) & (canvas.depth_m[box] > d)
        if visible.sum() < 0.6 * (alpha > 0.5).sum():
            continue
        _shade(canvas, y, x, w)
        blend = (alpha * (canvas.depth_m[box] > d))[..., None]
        mixed = board * blend + canvas.image_rgb[box] * (1 - blend)
        canvas.image_rgb[box] = np.clip(mixed, 0, 255).astype(np.uint8)
        canvas.depth_m[box][visible] = d
        canvas.instances[box][visible] = number
        canvas.height_m[box][visible] = 1.0
        return int(visible.sum())
    return 0


def _board(picture: Picture, longer_px: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture as (h, w, 3) float32 under the room's light and its opacity (h, w) float32 in [0, 1]."""
    scale = longer_px / max(picture.rgba.shape[:2])
    width = max(8, round(picture.rgba.shape[1] * scale * rng.uniform(0.85, 1.0)))
    height = max(8, round(picture.rgba.shape[0] * scale))
    rgba = cv2.resize(picture.rgba, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    light = rng.uniform(0.7, 1.1) * (1 + rng.uniform(-0.06, 0.06, 3).astype(np.float32))
    return rgba[..., :3] * light, rgba[..., 3] / 255


def _shade(canvas: Canvas, y: int, x: int, width: int) -> None:
    """A soft shadow on the table around the foot."""
    dark = np.zeros(canvas.depth_m.shape, np.float32)
    cv2.ellipse(dark, (x, y), (max(2, width // 2), max(2, width // 6)), 0, 0, 360, _SHADOW, -1)
    dark = cv2.blur(dark, (9, 9)) * (np.abs(canvas.height_m) < _ON_TABLE_M)
    canvas.image_rgb[:] = (canvas.image_rgb * (1 - dark[..., None])).astype(np.uint8)
