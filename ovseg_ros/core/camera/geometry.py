"""From registered depth to points in the camera's optical frame."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics

_ROWS_AT_ONCE = 90
_INFINITY, _NAN = np.array([np.inf, np.nan], np.float32).view(np.uint32)


@lru_cache(maxsize=8)
def pixel_rays(
    intrinsics: CameraIntrinsics, size_hw: tuple[int, int]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Pinhole rays: (u − cx) / fx of each column (W,), x/z, and (v − cy) / fy of each row (H,), y/z, float32.

    u and v count pixel centres from 0. Kept, so they cannot be written to.
    """
    u = (np.arange(size_hw[1], dtype=np.float32) - np.float32(intrinsics.cx)) / np.float32(intrinsics.fx)
    v = (np.arange(size_hw[0], dtype=np.float32) - np.float32(intrinsics.cy)) / np.float32(intrinsics.fy)
    u.flags.writeable = v.flags.writeable = False
    return u, v


def write_cloud(
    cloud: npt.NDArray[np.float32],
    depth_m: npt.NDArray[np.float32],
    intrinsics: CameraIntrinsics,
    image_rgb: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.uint16],
) -> None:
    """Fills an organised point cloud of five 32-bit fields per pixel, rows by rows to stay in the cache.

    Args:
        cloud: (H, W, 5), written: x right, y down, z forward in metres, NaN where depth is unknown; the bits
            of 0x00RRGGBB; the bits of label + (instance << 16).
        depth_m: (H, W) metres; 0, negative, NaN and inf mean unknown.
        intrinsics: of the same image.
        image_rgb: (H, W, 3).
        labels: (H, W).
        instances: (H, W).
    """
    u, v = pixel_rays(intrinsics, depth_m.shape)
    for start in range(0, len(cloud), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        z = _known_or_nan(depth_m[rows])
        colour = cv2.cvtColor(image_rgb[rows], cv2.COLOR_RGB2BGRA).view(np.uint32)[..., 0]
        colour &= np.uint32(0xFFFFFF)
        number = cv2.merge((labels[rows].astype(np.uint16), instances[rows])).view(np.float32)[..., 0]
        planes = (z * u, z * v[rows, None], z, colour.view(np.float32), number)
        cv2.merge(planes, dst=cloud[rows])


def _known_or_nan(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Depth where it is known, else NaN, in new memory; by bits: to choose is slow where depth has holes.

    The bits of floats from 0 to under inf are in the order of the floats; all others are beyond them.
    """
    bits = depth_m.view(np.uint32)
    below = bits - np.uint32(1)  # the float before; before 0 comes the last number there is, which is a NaN
    if bits.size == 0 or bits.max() < _INFINITY:
        depth: npt.NDArray[np.float32] = below.view(np.float32)
        return np.maximum(depth, depth_m, out=depth)  # the greater of two, or the one that is NaN
    known = below < _INFINITY - np.uint32(1)
    keep = np.negative(known.view(np.int8)).astype(np.int32).view(np.uint32)  # all bits, or none
    z = bits ^ _NAN
    z &= keep
    z ^= _NAN
    depth = z.view(np.float32)
    return depth
