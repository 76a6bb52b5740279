"""Augmentation of masked crops: what proposals do to a mask, and what a camera does to colours."""

from __future__ import annotations

import cv2
import numpy as np

FILL_RGB = (122.7709383, 116.7460125, 104.09373615)  # CLIP's mean colour, as in core.regions
_MEAN = np.array(FILL_RGB, np.float32)
_STD = np.array([68.5005327, 66.6321579, 70.32316305], np.float32)


def roughen(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Grows, shrinks or cuts a mask as a real proposal might; never empties it.

    Args:
        mask: (S, S) uint8 {0, 255}.
        rng: source of randomness.
    """
    out = mask
    kind = rng.random()
    if kind < 0.6:
        k = int(rng.integers(1, 6))
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
        out = cv2.erode(out, kernel) if rng.random() < 0.5 else cv2.dilate(out, kernel)
    if rng.random() < 0.2:
        out = out.copy()
        side, share = int(rng.integers(4)), rng.uniform(0.08, 0.3)
        n = int(share * mask.shape[0])
        if side == 0:
            out[:n] = 0
        elif side == 1:
            out[-n:] = 0
        elif side == 2:
            out[:, :n] = 0
        else:
            out[:, -n:] = 0
    return out if np.count_nonzero(out) > 80 else mask


def reglaze(rgba: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An untextured object in white, grey or black instead of its colour; shading and highlights stay.

    Args:
        rgba: (S, S, 4) uint8 as stored by `crops`; only pixels of the mask change.
        rng: source of randomness.
    """
    inside = rgba[..., 3] > 0
    value = rgba[..., :3].max(2).astype(np.float32)
    brightest = max(float(np.percentile(value[inside], 95)), 1.0)
    target = rng.uniform(170, 255) if rng.random() < 0.6 else rng.uniform(30, 170)
    grey = value[..., None] * (target / brightest) * (1 + rng.uniform(-0.05, 0.05, 3))
    out = rgba.copy()
    out[inside, :3] = np.clip(grey, 0, 255).astype(np.uint8)[inside]
    return out


def recolour(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S, 3) float32 in [0, 255]: another gain, offset, gamma, saturation, sharpness and noise."""
    x = rgb.astype(np.float32)
    if rng.random() < 0.5:
        side = int(rng.uniform(0.25, 0.9) * x.shape[0])
        small = cv2.resize(x, (side, side), interpolation=cv2.INTER_AREA)
        x = cv2.resize(small, x.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    x *= rng.uniform(0.7, 1.3) * (1 + rng.uniform(-0.07, 0.07, 3).astype(np.float32))
    x += rng.uniform(-20, 20)
    grey = x.mean(2, keepdims=True)
    x = grey + (x - grey) * np.float32(rng.uniform(0.75, 1.25))
    if rng.random() < 0.15:
        x += rng.normal(0, rng.uniform(1, 8), x.shape).astype(np.float32)
    return np.clip(x, 0, 255)


def training_crop(
    rgba: np.ndarray, size: int, rng: np.random.Generator, turn_deg: float = 8.0
) -> tuple[np.ndarray, np.ndarray]:
    """One random view of a stored crop.

    Args:
        rgba: (S, S, 4) uint8 as stored by `crops`.
        size: side of the result in pixels.
        rng: source of randomness.
        turn_deg: largest rotation either way.

    Returns:
        pixels (3, size, size) float32 CLIP-normalised; mask (1, size, size) uint8 {0, 1}.
    """
    mask = roughen(rgba[..., 3], rng)
    rgb = recolour(rgba[..., :3], rng)
    if rng.random() < 0.93:  # now and then the background stays, for other generators' loose masks
        rgb[mask == 0] = FILL_RGB
    matrix = _box_to_square(mask, size, rng, turn_deg)
    warped = cv2.warpAffine(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=FILL_RGB)
    inside = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST)
    return ((warped - _MEAN) / _STD).transpose(2, 0, 1), (inside > 0)[None].astype(np.uint8)


def plain_crop(rgba: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What `core.regions.crop_regions` gives for a stored crop: no randomness; results as `training_crop`."""
    mask = rgba[..., 3]
    rgb = rgba[..., :3].astype(np.float32)
    rgb[mask == 0] = FILL_RGB
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(ys[0], ys[-1] + 1), slice(xs[0], xs[-1] + 1))
    pixels = cv2.resize(rgb[box], (size, size), interpolation=cv2.INTER_CUBIC)
    inside = cv2.resize(mask[box], (size, size), interpolation=cv2.INTER_NEAREST)
    return ((pixels - _MEAN) / _STD).transpose(2, 0, 1), (inside > 0)[None].astype(np.uint8)


def _box_to_square(mask: np.ndarray, size: int, rng: np.random.Generator, turn_deg: float) -> np.ndarray:
    """(2, 3) affine from the stored crop to the result: jittered tight box, small turn, flip."""
    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    w, h = xs[-1] + 1 - xs[0], ys[-1] + 1 - ys[0]
    x0 = xs[0] + w * rng.uniform(-0.06, 0.06)
    x1 = xs[-1] + 1 + w * rng.uniform(-0.06, 0.06)
    y0 = ys[0] + h * rng.uniform(-0.06, 0.06)
    y1 = ys[-1] + 1 + h * rng.uniform(-0.06, 0.06)
    if rng.random() < 0.5:
        x0, x1 = x1, x0
    a = np.radians(rng.uniform(-turn_deg, turn_deg))
    sx, sy = size / (x1 - x0), size / (y1 - y0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    m = np.array([[sx * np.cos(a), -sx * np.sin(a)], [sy * np.sin(a), sy * np.cos(a)]])
    shift = np.array([size / 2, size / 2]) - m @ np.array([cx, cy])
    return np.hstack([m, shift[:, None]])
