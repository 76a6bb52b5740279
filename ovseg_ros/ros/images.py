"""What ROS adds to `core.image_messages`: cv_bridge for other encodings, and arrays to messages."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from ovseg_ros.core.image_messages import (
    COLOUR_ENCODINGS,
    DEPTH_ENCODINGS,
    WANTED_COLOUR,
    decode_colour,
    is_compressed,
    short,
)
from ovseg_ros.errors import InvalidInputError


def colour_from_message(message: Any) -> np.ndarray:
    """A sensor_msgs/Image or CompressedImage as (H, W, 3) uint8 RGB.

    An encoding that `core.image_messages` does not know is handed to the cv_bridge of the machine.

    Raises:
        InvalidInputError: not a colour image, or sizes that contradict each other.
    """
    if is_compressed(message) or message.encoding in COLOUR_ENCODINGS or message.encoding in DEPTH_ENCODINGS:
        return decode_colour(message)
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
    encoding = {(2, "uint8"): "mono8", (2, "uint16"): "16UC1", (3, "uint8"): "rgb8"}[
        pixels.ndim, pixels.dtype.name
    ]
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.is_bigendian = 0
    message.step = width * pixels[:1, :1].nbytes
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    message.data = array.array(
        "B", little.tobytes()
    )  # the one type the setter takes without looking at each byte
    return message
