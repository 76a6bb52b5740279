"""What ROS adds to `core.camera.decode`: cv_bridge for other encodings, and arrays to messages."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from ovseg_ros.core.camera import (
    COLOUR_ENCODINGS,
    DEPTH_ENCODINGS,
    WANTED_COLOUR,
    decode_colour,
    is_compressed,
    short,
)
from ovseg_ros.errors import InvalidInputError

_ENCODINGS = {(2, "uint8"): "mono8", (2, "uint16"): "16UC1", (3, "uint8"): "rgb8"}


def colour_from_message(message: Any) -> np.ndarray:
    """A sensor_msgs/Image or CompressedImage as (H, W, 3) uint8 RGB, which may be the message's own memory.

    An encoding that `core.camera.decode` does not know is handed to the cv_bridge of the machine.

    Raises:
        InvalidInputError: not a colour image, or sizes that contradict each other.
    """
    if is_compressed(message) or message.encoding in COLOUR_ENCODINGS or message.encoding in DEPTH_ENCODINGS:
        return decode_colour(message, copy=False)
    return _through_cv_bridge(message)


def _through_cv_bridge(message: Any) -> np.ndarray:
    """An encoding that is not in our table, by cv_bridge's rules.

    Raises:
        InvalidInputError: cv_bridge cannot turn it into rgb8 either, or there is none.
    """
    got = f"{WANTED_COLOUR}, got encoding {short(message.encoding)}"
    try:
        from cv_bridge import CvBridge

        pixels = CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # RuntimeError, TypeError, cv2.error, KeyError: each build has its own
        raise InvalidInputError(f"{got}, which cv_bridge does not decode: {error}") from error
    if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3) or pixels.size == 0:
        raise InvalidInputError(f"{got}, which cv_bridge turns into {pixels.shape} {pixels.dtype}")
    return np.array(pixels, order="C")


def image_from_array(header: Any, pixels: np.ndarray) -> Image:
    """(H, W) uint8 as mono8, (H, W) uint16 as 16UC1, (H, W, 3) uint8 as rgb8, under `header`."""
    message = Image()
    fill_image(message, header, pixels)
    return message


def fill_image(message: Image, header: Any, pixels: np.ndarray) -> None:
    """`image_from_array` into a message that is there."""
    message.header = header
    message.height, message.width = pixels.shape[:2]
    message.encoding = _ENCODINGS[pixels.ndim, pixels.dtype.name]
    message.is_bigendian = 0
    message.step = pixels.shape[1] * pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    data = array.array("B")
    data.frombytes(little.reshape(-1).view(np.uint8))
    give_data(message, data)


def give_data(message: Any, data: array.array) -> None:
    """Makes `data` itself the message's field `data`: no look at each byte, and no copy.

    A list or bytes would be checked item by item where checks are on (Humble, and from Jazzy on where
    ROS_PYTHON_CHECK_FIELDS=1); an array would be copied where they are off.
    """
    if hasattr(message, "_check_fields"):
        message._check_fields = True  # with checks, an array of the right type is taken as it is
    message.data = data
