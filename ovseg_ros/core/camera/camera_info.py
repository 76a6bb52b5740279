"""CameraInfo messages to intrinsics, without ROS, as image_geometry reads them.

K and P are of the full sensor. `roi` is the part of it that is sent, in the sensor's pixels; `binning_x` and
`binning_y` say how many of them make one pixel of the image:

    cx of the image = (cx of the sensor - x_offset) / binning_x          fx of the image = fx / binning_x

as image_geometry and image_proc have it, where a binned pixel lies at the first of those it is made of. Where
the image is of another size than all this gives, but of its shape, it was resized: then pixels are areas, and
cx + 1/2 is what scales. The two conventions differ by less than half a pixel. Distortion is left as it is.

Source: ros-perception/vision_opencv, image_geometry; sensor_msgs/CameraInfo.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

NEVER_CALIBRATED = "the camera was never calibrated (K is 0)"
_CURE = (
    "calibrate it (ros2 run camera_calibration cameracalibrator), or let the driver send its factory values"
)
_SHAPE_TOLERANCE = 0.01  # of the ratio of the sides: what rounding to whole pixels makes of it


@dataclass(frozen=True)
class _Sensor:
    """fx, fy, cx, cy of an image of `width` x `height`; 0 x 0: unknown."""

    numbers: tuple[float, float, float, float]
    width: int
    height: int

    def at(self, width: int, height: int) -> CameraIntrinsics:
        camera = CameraIntrinsics(*self.numbers, self.width, self.height)
        return camera if (camera.width, camera.height) == (width, height) else camera.resized(width, height)

    def has_shape(self, width: int, height: int) -> bool:
        if not (self.width and self.height):
            return False
        x, y = width / self.width, height / self.height
        return abs(x - y) <= _SHAPE_TOLERANCE * max(x, y)


def camera_info_intrinsics(
    message: Any, size_hw: tuple[int, int] | None = None, *, rectified: bool = False
) -> CameraIntrinsics:
    """The pinhole of the image that a CameraInfo belongs to.

    Args:
        message: with the fields of sensor_msgs/CameraInfo.
        size_hw: (H, W) of that image; None: as large as the message says. Where the driver left width and
            height out, they are the image's.
        rectified: whether the image is, see `is_rectified`: then it is seen by P, otherwise by K. What is 0
            or not finite is not taken while the other is there.

    Returns:
        Of `size_hw`, or 0 x 0 pixels where neither says how large.

    Raises:
        InvalidInputError: the camera was never calibrated, a field makes no sense, or the image has another
            shape than the camera's.
    """
    fx, fy, cx, cy = _matrix(message, rectified)
    width, height = int(message.width), int(message.height)
    if not (width and height):
        width = height = 0
    full = _Sensor((fx, fy, cx, cy), width, height)
    bin_x, bin_y = max(int(message.binning_x), 1), max(int(message.binning_y), 1)
    left, top, part_width, part_height = _part(message.roi, width, height)
    numbers = (fx / bin_x, fy / bin_y, (cx - left) / bin_x, (cy - top) / bin_y)
    sent = _Sensor(numbers, part_width // bin_x, part_height // bin_y)
    size_is_unknown = not (part_width and part_height)
    if size_hw is None:
        return CameraIntrinsics(*sent.numbers, sent.width, sent.height)
    size = size_hw[1], size_hw[0]
    for camera in (sent, full):  # some drivers fill roi and binning in and send the whole image all the same
        if (camera.width, camera.height) == size:
            return camera.at(*size)
    for camera in (sent, full):
        if camera.has_shape(*size):
            return camera.at(*size)
    if size_is_unknown:
        return CameraIntrinsics(*numbers, *size)
    how = "" if sent == full else f" ({width}x{height} by its roi and binning)"
    raise InvalidInputError(
        f"expected intrinsics of the image's shape, {size[0]}x{size[1]}, got "
        f"{sent.width}x{sent.height}{how}; "
        "take the camera_info of the image's own camera"
    )


def is_rectified(topic: str) -> bool:
    """Whether a topic's name says that its images are rectified: image_rect, image_rect_color, rect/image.

    Examples:
        >>> is_rectified("/camera/color/image_rect_raw/compressed"), is_rectified("/camera/image_raw")
        (True, False)
    """
    parts = [part.lower() for part in topic.split("/") if part]
    while parts and parts[-1] in ("compressed", "compresseddepth"):
        parts.pop()
    words = [set(re.split(r"[^a-z]+", part)) for part in parts[-2:]]
    if not words or words[-1] & {"rect", "rectified"}:
        return bool(words)
    return "raw" not in words[-1] and bool(words[0] & {"rect", "rectified"})


def _matrix(message: Any, rectified: bool) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy of the full sensor."""
    k, p = _values(message, "k", (0, 4, 2, 5)), _values(message, "p", (0, 5, 2, 6))
    for numbers in (p, k) if rectified else (k, p):
        if np.isfinite(numbers).all() and numbers[0] > 0 and numbers[1] > 0:
            return numbers
    if not any(k):
        raise InvalidInputError(f"{NEVER_CALIBRATED}; {_CURE}")
    raise InvalidInputError(
        f"expected focal lengths > 0 in K, got fx={k[0]}, fy={k[1]}, cx={k[2]}, cy={k[3]}; is the camera "
        "calibrated?"
    )


def _values(message: Any, name: str, places: Sequence[int]) -> tuple[float, float, float, float]:
    values = [float(value) for value in getattr(message, name)]
    found = [values[place] if place < len(values) else 0.0 for place in places]
    return found[0], found[1], found[2], found[3]


def _part(roi: Any, width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of the sensor's part that is sent; 0 x 0 stands for all there is."""
    left, top = int(roi.x_offset), int(roi.y_offset)
    return left, top, int(roi.width) or max(width - left, 0), int(roi.height) or max(height - top, 0)
