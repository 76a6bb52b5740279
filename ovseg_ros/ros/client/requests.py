"""From plain values to the fields of a request."""

from __future__ import annotations

import array

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from sensor_msgs.msg import CameraInfo, Image

from ovseg_ros.core.choice import Limits
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.words import Quoted
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import Restriction


def restriction(where: Limits | None) -> Restriction:
    """The field `where` of a request."""
    message = Restriction()
    if where is not None:
        region = message.region
        region.x_offset, region.y_offset, region.width, region.height = where.region
        message.min_distance_m, message.max_distance_m = map(float, where.distance_m)
        message.min_size_m, message.max_size_m = map(float, where.size_m)
        message.box_min, message.box_max = (
            Point(x=float(x), y=float(y), z=float(z)) for x, y, z in where.box_m
        )
    return message


def duration(seconds: float) -> Duration:
    """Seconds as ROS counts them.

    Raises:
        InvalidInputError: they are no number of seconds from 0 to a ROS duration's 2**31.
    """
    if not 0 <= seconds < 2**31:
        raise InvalidInputError(f"expected seconds from 0 to {2**31}, got {seconds}")
    full, rest = divmod(seconds, 1.0)
    return Duration(sec=int(full), nanosec=int(rest * 1e9))


def text(value: str, name: str) -> str:
    """A text for a message, which ends the process where it is given something else.

    Raises:
        InvalidInputError: it is none.
    """
    if not isinstance(value, str):
        raise InvalidInputError(f"expected {name} as text, got {value!r}")
    return value


def whole(number: int, name: str) -> int:
    """A number that a uint32 can hold.

    Raises:
        InvalidInputError: it is none.
    """
    if int(number) != number or not 0 <= number < 2**32:
        raise InvalidInputError(f"expected {name} as a whole number, 0 or more, got {number}")
    return int(number)


def as_words(words: str | list[str] | tuple[str, ...]) -> list[str]:
    """Labels of a request; one in quotation marks stays in them, so that the node takes it as it stands."""
    given = [words] if isinstance(words, str) else words
    return [f'"{word}"' if isinstance(word, Quoted) else text(word, "each word") for word in given]


def image_message(image_rgb: np.ndarray | None) -> Image:
    """(H, W, 3) uint8 RGB as the image of a request; None: the empty one, which means the camera's newest."""
    if image_rgb is None:
        return Image()
    pixels = np.asarray(image_rgb)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InvalidInputError(f"expected an image (H, W, 3) uint8 RGB, got {pixels.shape} {pixels.dtype}")
    return _message(pixels, "rgb8")


def depth_message(depth: np.ndarray | None) -> Image:
    """(H, W) depth of an image of a request: floats are metres, uint16 millimetres; None: without."""
    if depth is None:
        return Image()
    pixels = np.asarray(depth)
    if pixels.ndim != 2 or (pixels.dtype != np.uint16 and pixels.dtype.kind != "f"):
        raise InvalidInputError(
            f"expected depth (H, W), floats in metres or uint16 in millimetres, got {pixels.shape} "
            f"{pixels.dtype}"
        )
    if pixels.dtype == np.uint16:
        return _message(pixels.astype("<u2"), "16UC1")
    return _message(pixels.astype("<f4"), "32FC1")


def mask_message(mask: np.ndarray | None) -> Image:
    """(H, W) bool as the mask of a request; None: the empty one."""
    if mask is None:
        return Image()
    pixels = np.asarray(mask)
    if pixels.ndim != 2 or pixels.dtype != bool:
        raise InvalidInputError(f"expected a mask (H, W) bool, got {pixels.shape} {pixels.dtype}")
    return _message(pixels.astype(np.uint8) * 255, "mono8")


def _message(pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    message = Image(height=height, width=width, encoding=encoding)
    message.step = pixels[:1].nbytes
    message.data = array.array("B", pixels.tobytes())
    return message


def camera_info(intrinsics: CameraIntrinsics | None) -> CameraInfo:
    """The intrinsics of an image of a request; None: none."""
    message = CameraInfo()
    if intrinsics is not None:
        one = intrinsics
        message.width, message.height = one.width, one.height
        message.k = [one.fx, 0.0, one.cx, 0.0, one.fy, one.cy, 0.0, 0.0, 1.0]
    return message
