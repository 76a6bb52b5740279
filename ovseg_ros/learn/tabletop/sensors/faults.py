"""Single faults of depth cameras, each on its own, on exact depth or on disparity."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_EDGE_SHARE = 0.02  # neighbours whose depths differ by more than this part lie on two surfaces


def shadow(depth_m: FloatArray, focal_px: float, device_m: float) -> BoolArray:
    """Which pixels a second device cannot see because something nearer is in its way.

    A pixel at column x with disparity d = f·b/z lies at x - d in the device's image; where a pixel nearer
    to the device's side lies at the same place or beyond, it hides this one.

    Args:
        depth_m: (H, W) metres, > 0.
        focal_px: focal length.
        device_m: how far the device is to the right of the camera, metres; negative: to the left.

    Returns:
        (H, W); for a device on the right, the band left of near things, as wide as the step in disparity.
    """
    if device_m < 0:
        return shadow(depth_m[:, ::-1], focal_px, -device_m)[:, ::-1]
    columns = np.arange(depth_m.shape[1], dtype=np.float32)
    seen_at = columns - np.float32(focal_px * device_m) / depth_m
    first = np.minimum.accumulate(seen_at[:, ::-1], axis=1)[:, ::-1]  # leftmost of this and all further right
    hidden = np.zeros(depth_m.shape, bool)
    hidden[:, :-1] = first[:, 1:] < seen_at[:, :-1]
    return hidden


def correlated_noise(
    size_hw: tuple[int, ...], sigma: float, reach_px: float, rng: np.random.Generator
) -> FloatArray:
    """(H, W) float32 noise of this standard deviation, alike over the pixels of a matching window."""
    noise = cv2.GaussianBlur(rng.normal(size=size_hw).astype(np.float32), (0, 0), reach_px)
    return (noise * np.float32(sigma / max(float(noise.std()), 1e-9))).astype(np.float32)


def frayed(depth_m: FloatArray, sigma_px: float, rng: np.random.Generator) -> FloatArray:
    """Every pixel reads a place a little beside its own, so that edges are ragged.

    Args:
        depth_m: (H, W) metres, 0 unknown.
        sigma_px: standard deviation of the offset in x and in y, pixels.
        rng: source of randomness; offsets are alike over two or three pixels.
    """
    height, width = depth_m.shape
    x = np.arange(width, dtype=np.float32) + correlated_noise(depth_m.shape, sigma_px, 1.0, rng)
    y = np.arange(height, dtype=np.float32)[:, None] + correlated_noise(depth_m.shape, sigma_px, 1.0, rng)
    return cv2.remap(depth_m, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)


def edge_preserving(values: FloatArray, *, alpha: float, delta: float, rounds: int) -> FloatArray:
    """Recursive averaging along rows and columns, both ways, that starts anew at large steps.

    y[n] = α·x[n] + (1 - α)·y[n-1] where |x[n] - y[n-1]| < δ, else x[n]. Steps below δ become ramps.

    Args:
        values: (H, W), 0 unknown: it neither changes nor is averaged over.
        alpha: weight of the pixel itself, in (0, 1].
        delta: smallest step that is kept, in the values' unit.
        rounds: each one way and back along rows, then along columns.
    """
    smooth = values.astype(np.float32, copy=True)
    for _ in range(rounds):
        for lines in (smooth.T, smooth):  # along a row, its columns are the lines; then the other way round
            _average_lines(lines, alpha, delta)
            _average_lines(lines[::-1], alpha, delta)
    return smooth


def _average_lines(lines: FloatArray, alpha: float, delta: float) -> None:
    """Averages each of the lines (L, M) with the one before it, in place."""
    for n in range(1, len(lines)):
        before, here = lines[n - 1], lines[n]
        step = before - here
        near = (before > 0) & (here > 0) & (np.abs(step) < delta)
        here += np.where(near, np.float32(1 - alpha) * step, 0)


def fill_runs(values: FloatArray, longest_px: int) -> FloatArray:
    """Unknown runs within rows, of at most so many pixels, get the smaller of the values at their ends.

    Args:
        values: (H, W), 0 unknown.
        longest_px: longer runs, and those at the image's border, stay.
    """
    filled = values.copy()
    known = values > 0
    columns = np.arange(values.shape[1])
    last = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    following = np.where(known, columns, values.shape[1])
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    short = ~known & (last >= 0) & (following < values.shape[1]) & (following - last <= longest_px + 1)
    rows, at = np.nonzero(short)
    filled[rows, at] = np.minimum(values[rows, last[rows, at]], values[rows, following[rows, at]])
    return filled


def flying_pixels(depth_m: FloatArray, rng: np.random.Generator, dropped: float) -> FloatArray:
    """Pixels whose light comes from two surfaces read a depth between them.

    Args:
        depth_m: (H, W) metres, > 0.
        rng: source of randomness.
        dropped: share of these pixels that read nothing, in [0, 1].

    Returns:
        (H, W) float32 metres, 0 where nothing is read.
    """
    near, far = cv2.erode(depth_m, np.ones((3, 3))), cv2.dilate(depth_m, np.ones((3, 3)))
    edge = far - near > _EDGE_SHARE * near
    share = rng.random(depth_m.shape, np.float32)
    mixed = np.where(edge, near + share * (far - near), depth_m)
    return np.where(edge & (rng.random(depth_m.shape) < dropped), 0, mixed).astype(np.float32)
