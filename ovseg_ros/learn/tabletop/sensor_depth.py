"""What a depth camera makes of exact depth."""

from __future__ import annotations

import cv2
import numpy as np


def as_a_sensor_sees(depth_m: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Depth with the faults of an active stereo camera.

    Noise of 1 mm at 1 m, correlated over the few pixels of a matching window, that grows with the square of
    the distance, and no reading beside most depth edges. (H, W) float32 metres in and out, 0 where unknown.
    """
    noise = cv2.GaussianBlur(rng.normal(size=depth_m.shape).astype(np.float32), (0, 0), 3.0)
    noisy = depth_m + noise / noise.std() * 0.001 * depth_m**2
    span = cv2.dilate(depth_m, np.ones((3, 3))) - cv2.erode(depth_m, np.ones((3, 3)))
    unknown = (span > 0.03) & (cv2.blur(rng.random(depth_m.shape), (5, 5)) < 0.52)
    return np.where(unknown, 0, noisy).astype(np.float32)
