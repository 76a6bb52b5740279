"""Image messages to arrays and back. Every check comes before the first byte is read.

The usual encodings are decoded here, over numpy and OpenCV, because cv_bridge's Python builds disagree about
`step` and `is_bigendian` (the one on PyPI ignores the first and fails on the second under numpy 2). Any other
encoding is handed to the cv_bridge of the machine.
"""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import Image

from ovseg_ros.errors import InvalidInputError

# encoding: (bytes per channel, channels, OpenCV's conversion to RGB; None: is RGB already)
COLOUR_ENCODINGS: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": (2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": (2, 4, cv2.COLOR_BGRA2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),  # OpenCV's names carry no colour order: its own, BGR, is meant
    "8UC3": (1, 3, cv2.COLOR_BGR2RGB),
    "8UC4": (1, 4, cv2.COLOR_BGRA2RGB),
    "bayer_rggb8": (1, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr8": (1, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg8": (1, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg8": (1, 1, cv2.COLOR_BayerGRBG2RGB),
    "bayer_rggb16": (2, 1, cv2.COLOR_BayerRGGB2RGB),
    "bayer_bggr16": (2, 1, cv2.COLOR_BayerBGGR2RGB),
    "bayer_gbrg16": (2, 1, cv2.COLOR_BayerGBRG2RGB),
    "bayer_grbg16": (2, 1, cv2.COLOR_BayerGRBG2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
}
DEPTH_ENCODINGS = {"16UC1": np.dtype(np.uint16), "mono16": np.dtype(np.uint16), "32FC1": np.dtype(np.float32)}


def colour_from_image(message: Any) -> np.ndarray:
    """A sensor_msgs/Image as (H, W, 3) uint8 RGB; 16 bit is scaled to 8.

    Raises:
        InvalidInputError: an encoding that is not a colour image's, or sizes that contradict each other.
    """
    if message.encoding not in COLOUR_ENCODINGS:
        return _through_cv_bridge(message)
    size, channels, conversion = COLOUR_ENCODINGS[message.encoding]
    pixels = _pixels(message, np.dtype(f"u{size}"), channels)
    if channels == 2 and message.width % 2:
        raise InvalidInputError(f"want an even width for {message.encoding}, got {message.width}")
    if conversion is not None and message.encoding.startswith("bayer"):
        if min(pixels.shape[:2]) < 2:
            raise InvalidInputError(
                f"want at least 2x2 pixels for {message.encoding}, got {pixels.shape[:2]}"
            )
        return _to_8_bit(cv2.cvtColor(pixels, conversion))
    pixels = _to_8_bit(pixels)
    return pixels.copy() if conversion is None else cv2.cvtColor(pixels, conversion)


def _through_cv_bridge(message: Any) -> np.ndarray:
    """An encoding that is not in our table, by cv_bridge's rules.

    Raises:
        InvalidInputError: depth, an encoding that cv_bridge cannot turn into rgb8 either, or no cv_bridge.
    """
    wanted = f"want a colour image ({', '.join(COLOUR_ENCODINGS)})"
    if message.encoding in DEPTH_ENCODINGS:
        raise InvalidInputError(
            f"{wanted}, got encoding {_short(message.encoding)}; that is depth: is the topic image remapped "
            "to the depth camera?"
        )
    try:
        from cv_bridge import CvBridge

        pixels = CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # RuntimeError, TypeError, cv2.error, KeyError: each build has its own
        raise InvalidInputError(
            f"{wanted}, got encoding {_short(message.encoding)}, which cv_bridge does not decode: {error}"
        ) from error
    if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3) or pixels.size == 0:
        raise InvalidInputError(
            f"{wanted}, got encoding {_short(message.encoding)}, which cv_bridge turns into {pixels.shape} "
            f"{pixels.dtype}"
        )
    return np.array(pixels, order="C")


def colour_from_compressed(message: Any) -> np.ndarray:
    """A sensor_msgs/CompressedImage (jpeg, png …) as (H, W, 3) uint8 RGB, in the sensor's orientation.

    Raises:
        InvalidInputError: the data cannot be decoded.
    """
    data = np.frombuffer(message.data, dtype=np.uint8)
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error as error:
        raise InvalidInputError(
            f"compressed image of format {_short(message.format)}: {error.err}"
        ) from error
    if image is None:
        raise InvalidInputError(
            f"want a compressed image OpenCV can read (jpeg, png), got {data.size} bytes of format "
            f"{_short(message.format)}"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def depth_from_image(message: Any) -> np.ndarray:
    """A depth image by REP 118 as (H, W) float32 metres, 0 and NaN unknown: 16UC1 is mm, 32FC1 m.

    Raises:
        InvalidInputError: another encoding, or sizes that contradict each other.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise InvalidInputError(
            f"want depth as 16UC1 (mm) or 32FC1 (m), got encoding {_short(message.encoding)}"
        )
    pixels = _pixels(message, DEPTH_ENCODINGS[message.encoding], 1)
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) * np.float32(0.001)
    return pixels.astype(np.float32, copy=True)


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


def _pixels(message: Any, dtype: np.dtype[Any], channels: int) -> np.ndarray:
    """The rows of a message as (H, W) or (H, W, C) of native `dtype`, padding left out.

    Raises:
        InvalidInputError: height, width, step and data length contradict each other.
    """
    height, width, step = message.height, message.width, message.step
    if height == 0 or width == 0:
        raise InvalidInputError(f"want an image with pixels, got {width}x{height}")
    row_bytes = width * channels * dtype.itemsize
    if step < row_bytes:
        raise InvalidInputError(
            f"want step >= {row_bytes} bytes for {width} pixels of {message.encoding}, got {step}"
        )
    if len(message.data) != step * height:
        raise InvalidInputError(
            f"want {step * height} bytes of data (step {step} x height {height}), got {len(message.data)}"
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(height, step)[:, :row_bytes]
    order = ">" if message.is_bigendian else "<"
    pixels = np.ascontiguousarray(rows).view(dtype.newbyteorder(order)).astype(dtype, copy=False)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def _to_8_bit(pixels: np.ndarray) -> np.ndarray:
    """Full scale of 16 bit to full scale of 8 bit, rounded."""
    return pixels if pixels.dtype == np.uint8 else cv2.convertScaleAbs(pixels, alpha=255 / 65535)


def _short(text: str) -> str:
    """A text of the sender's, safe and short enough for a log line."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
