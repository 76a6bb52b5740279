"""Depth that a sensor's spatial filter has smoothed: ramps at the edges of things become steps again."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.proposals.depth.clusters import least_step, window_around

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_HALF = 1 / 128  # of the image's width: half a ramp; steps of a filtered RealSense are 8 to 12 of 640 wide
_INNER_PX = 2  # a ramp goes on to either side of its pixels at least so far
_SLOPE = 0.25  # of the ramp's mean slope, at least, on either side of each of its pixels
_STEEPEST = 0.4  # of the whole step lies between two neighbours, at most; more is a step already
_GRAZING = 2.8  # slope (depth over width, 70 degrees) from which a surface may be a ramp
_LARGE = 3.0  # times the smallest jump: steps too high to be a rounded edge
_SMOOTHED = 0.1  # of these steps spread out tell a sensor that smooths; others show 0.04


def sharpen(
    depth_m: FloatArray, raised: BoolArray, *, jump_m: float, noise_m: float, focal_px: float
) -> tuple[FloatArray, bool]:
    """Depth in which every pixel of a ramp takes the depth of the nearest pixel that is on none.

    Args:
        depth_m: (H, W) metres, 0 where unknown.
        raised: (H, W) what stands out of the plane; only ramps down from there are looked at.
        jump_m: smallest jump in metres.
        noise_m: depth noise at 1 m, metres.
        focal_px: focal length in pixels.

    Returns:
        (H, W) float32 metres, 0 where unknown; the same array where nothing was changed. And whether so many
        of the large steps are ramps that the sensor must smooth.
    """
    half = max(2, round(_HALF * depth_m.shape[1]))
    window = window_around(raised, 4 * half)  # nothing farther away plays a part
    depth, raised = depth_m[window], raised[window]
    known = depth > 0
    with np.errstate(divide="ignore"):
        inverse = np.where(known, np.reciprocal(depth), np.float32(np.nan))
    ramp, large, wide = _along_rows(inverse, raised, half, jump_m, noise_m, focal_px)
    turned, raised = np.ascontiguousarray(inverse.T), np.ascontiguousarray(raised.T)
    columns, more, more_wide = _along_rows(turned, raised, half, jump_m, noise_m, focal_px)
    ramp |= columns.T
    smooths = wide + more_wide > _SMOOTHED * (large + more)
    if not ramp.any():
        return depth_m, smooths
    sources = (ramp | ~known).astype(np.uint8)
    distances, nearest = cv2.distanceTransformWithLabels(
        sources, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    values = np.zeros(int(nearest.max()) + 1, np.float32)
    values[nearest[sources == 0]] = depth[sources == 0]
    ramp &= distances <= 2 * half
    out = depth_m.copy()
    out[window][ramp] = values[nearest[ramp]]
    return out, smooths


def _along_rows(
    inverse: FloatArray, raised: BoolArray, half: int, jump_m: float, noise_m: float, focal_px: float
) -> tuple[BoolArray, int, int]:
    """Steps in a row that no slope explains and that are spread over several pixels; see `sharpen`.

    Of inverse depths (H, W), NaN where unknown.

    Returns:
        (H, W) the pixels within them; how many places see a large step, and how many of these one so spread.
    """
    width, reach = inverse.shape[1], 3 * half
    padded = np.pad(inverse, ((0, 0), (reach, reach)), constant_values=np.nan)

    def at(offset: int) -> FloatArray:
        return padded[:, reach + offset : reach + offset + width]

    first, last = at(-half), at(half)
    step = last - first
    rise = np.abs(step)
    bend = np.fmin(np.abs(step - (first - at(-reach))), np.abs(step - (at(reach) - last)))
    np.fmin(bend, rise, out=bend)
    least = least_step(np.fmax(first, last), jump_m, noise_m)
    ends = np.pad(raised, ((0, 0), (half, half)))
    edge = (bend > least) & np.where(step < 0, ends[:, :width], ends[:, 2 * half :])
    single = np.abs(np.diff(padded, axis=1, append=np.nan))
    single[np.isnan(single)] = np.inf  # a gap is a step, not a ramp
    steepest = cv2.dilate(single, np.ones((1, 2 * half), np.uint8))[:, reach : reach + width]
    wide = edge & (steepest < np.float32(_STEEPEST) * rise)
    wide &= rise * np.float32(focal_px / (2 * half)) > _GRAZING * np.fmax(first, last)
    sign = np.sign(step)
    inner = np.fmin((inverse - at(-_INNER_PX)) * sign, (at(_INNER_PX) - inverse) * sign)
    ramp = wide & (inner > rise * np.float32(_SLOPE * _INNER_PX / (2 * half)))
    large = edge & (bend > _LARGE * least)
    return ramp, np.count_nonzero(large), np.count_nonzero(large & wide)
