"""Whole cameras, put together from their faults; depth is registered to the colour image, as drivers give it.

A camera that triangulates (stereo, structured light) measures a disparity f·b/z between two devices a
baseline b apart, so its error in z grows with z². Where a driver registers depth to colour, a point that
either device cannot see is unknown: each device throws a shadow of its own, on the side away from it.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees
from ovseg_ros.learn.tabletop.sensors import faults, surfaces

FloatArray = npt.NDArray[np.float32]
SurfaceArray = npt.NDArray[np.uint8]

_REALSENSE_BASELINE_M = 0.055  # D415 data sheet
_REALSENSE_IMAGERS_M = (0.015, 0.070)  # right of its colour camera, same place
_REALSENSE_NOISE_PX = 0.08  # RMS of the disparity, Intel's white papers on tuning
_KINECT1_BASELINE_M = 0.075
_KINECT1_DEVICES_M = (0.050, -0.025)  # projector, infrared camera; the colour camera is between
_KINECT1_STEP_PX = 1 / 8
_KINECT1_NOISE_PX = 0.08  # 1.9 mm at 1 m
_KINECT1_LATERAL_PX = 0.8
_GRAZING_DEG = 80.0


class Sensor(Protocol):
    """A depth camera."""

    def __call__(
        self,
        depth_m: FloatArray,
        focal_px: float,
        rng: np.random.Generator,
        surface: SurfaceArray | None = None,
    ) -> FloatArray:
        """What it reads.

        Args:
            depth_m: (H, W) exact metres along the optical axis, > 0.
            focal_px: focal length of the image.
            rng: source of all randomness.
            surface: (H, W) `Surface` of every pixel; None: all matt.

        Returns:
            (H, W) float32 metres, 0 where it reads nothing.
        """
        ...


def active_stereo(
    depth_m: FloatArray,
    focal_px: float,
    rng: np.random.Generator,
    surface: SurfaceArray | None = None,
) -> FloatArray:
    """`as_a_sensor_sees`, the faults that the bundled training data has, and what surfaces swallow."""
    depth = as_a_sensor_sees(depth_m, rng)
    return surfaces.without_returns(depth, depth_m, focal_px, rng, surface)


def realsense_filtered(
    depth_m: FloatArray,
    focal_px: float,
    rng: np.random.Generator,
    surface: SurfaceArray | None = None,
) -> FloatArray:
    """A RealSense D415 behind its spatial (edge-preserving) and hole-filling filters.

    Steps of a few pixels' disparity become ramps about ten pixels wide (60 mm at 0.8 m), larger ones stay;
    beside the left edges of near things pixels are unknown; the scatter of single pixels is gone, whole
    millimetres.

    The filter is librealsense's form (recursive averaging along rows and columns that stops at steps above
    a delta, two rounds). Its delta is wider than the viewer's default, 20/32 pixel: it stands for the
    matching's own smoothing too, and 4.5 pixels were read off real filtered frames, where steps of 77 mm at
    0.8 m are ramps of 9 to 11 pixels and those of 145 mm are sharp.

    Source: Intel, "Post-processing filters" and "Tuning depth cameras for best performance"
    (dev.intelrealsense.com); Gastal and Oliveira, Domain transform for edge-aware image and video
    processing, 2011.
    """
    scale = focal_px * _REALSENSE_BASELINE_M
    disparity = scale / depth_m + faults.correlated_noise(depth_m.shape, _REALSENSE_NOISE_PX, 2.0, rng)
    known = depth_m > 0
    for device_m in _REALSENSE_IMAGERS_M:
        known &= ~faults.shadow(depth_m, focal_px, device_m)
    known &= surfaces.facing(depth_m, focal_px) > np.cos(np.radians(_GRAZING_DEG))
    read = np.where(known, scale / np.maximum(disparity, 1e-3), 0).astype(np.float32)
    read = surfaces.without_returns(read, depth_m, focal_px, rng, surface)
    disparity = np.where(read > 0, scale / np.maximum(read, 1e-3), 0).astype(np.float32)
    disparity = faults.fill_runs(disparity, 3)
    disparity = faults.edge_preserving(disparity, alpha=0.4, delta=4.5, rounds=2)
    smooth = np.where(disparity > 0, scale / np.maximum(disparity, 1e-3), 0)
    return (np.round(smooth * 1000) / 1000).astype(np.float32)


def kinect1(
    depth_m: FloatArray,
    focal_px: float,
    rng: np.random.Generator,
    surface: SurfaceArray | None = None,
) -> FloatArray:
    """A Kinect 1 or Xtion: structured light, disparity in eighths of a pixel, depth registered to colour.

    The steps are 2.9 mm at 1 m and grow with z²; edges fray by 0.8 pixel; both sides of near things have a
    shadow, the left one twice as wide; nothing is read nearer than 0.5 m (the 11-bit disparity's end) or
    beyond 8.

    Source: Khoshelham and Elberink, Accuracy and resolution of Kinect depth data, Sensors 2012
    (quantisation, baseline); Nguyen, Izadi and Lovell, Modeling Kinect sensor noise, 3DIMPVT 2012 (σ_z
    0.0012 + 0.0019 (z - 0.4)² m, lateral 0.8 px, grazing angles); Barron and Malik, CVPR 2013, and Handa et
    al., ICRA 2014 (frayed edges).
    """
    scale = focal_px * _KINECT1_BASELINE_M
    known = (depth_m > 0.5) & (depth_m < 8)
    for device_m in _KINECT1_DEVICES_M:
        known &= ~faults.shadow(depth_m, focal_px, device_m)
    known &= surfaces.facing(depth_m, focal_px) > np.cos(np.radians(_GRAZING_DEG))
    exact = np.where(known, depth_m, 0).astype(np.float32)
    read = faults.frayed(exact, _KINECT1_LATERAL_PX, rng)
    read = cv2.medianBlur(read, 3)  # the driver drops lone pixels
    noise = faults.correlated_noise(depth_m.shape, _KINECT1_NOISE_PX, 2.5, rng)
    disparity = np.where(read > 0, scale / np.maximum(read, 1e-3), 0) + noise
    steps = np.maximum(np.round(disparity / _KINECT1_STEP_PX), 1)
    quantised = np.where(read > 0, scale / (steps * _KINECT1_STEP_PX), 0).astype(np.float32)
    quantised = faults.fill_runs(quantised, 3)
    quantised = surfaces.without_returns(quantised, depth_m, focal_px, rng, surface)
    return (np.round(quantised * 1000) / 1000).astype(np.float32)


def kinect2(
    depth_m: FloatArray,
    focal_px: float,
    rng: np.random.Generator,
    surface: SurfaceArray | None = None,
) -> FloatArray:
    """A Kinect 2: time of flight, fine noise, flying pixels between near and far at every edge.

    σ = 1.2 mm at 1 m, growing with z, and more off the axis, where its light is weak; a third of the edge's
    pixels are dropped by the driver. Multipath interference (corners read a few millimetres deep) is left
    out.

    Source: Sarbolandi, Lefloch and Kolb, Kinect range sensing: structured-light versus time-of-flight, CVIU
    2015; Fankhauser et al., Kinect v2 for mobile robot navigation, ICAR 2015; Wasenmueller and Stricker,
    ACCVW 2016.
    """
    height, width = depth_m.shape
    mixed = faults.flying_pixels(depth_m, rng, dropped=0.35)
    x = (np.arange(width, dtype=np.float32) - (width - 1) / 2) / focal_px
    y = (np.arange(height, dtype=np.float32) - (height - 1) / 2) / focal_px
    weak = (1 + np.add.outer(y * y, x * x)) ** 2  # cos⁴ of the angle to the axis
    sigma = 0.0012 * np.maximum(mixed, 0.3) * weak
    noisy = mixed + sigma * rng.normal(size=depth_m.shape)
    read = np.where(mixed > 0, noisy, 0).astype(np.float32)
    return surfaces.without_returns(read, depth_m, focal_px, rng, surface)


SENSORS: dict[str, Sensor] = {
    "active_stereo": active_stereo,
    "realsense_filtered": realsense_filtered,
    "kinect1": kinect1,
    "kinect2": kinect2,
}
