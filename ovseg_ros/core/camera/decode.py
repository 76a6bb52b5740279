"""Image messages to arrays, without ROS: the one decoder of the node, of recordings and of the demo.

A message is anything with the fields of sensor_msgs/Image or CompressedImage: rclpy's, or what `rosbags`
deserialises. Sizes are checked before the first pixel is read. The encodings are decoded here, over
numpy and OpenCV, because cv_bridge's Python builds disagree about `step` and `is_bigendian` (the one on PyPI
ignores the first and fails on the second under numpy 2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera.compressed import decompressed, short
from ovseg_ros.errors import InvalidInputError


class ColourLayout(NamedTuple):
    """How the pixels of a colour encoding lie: bytes per channel, channels, OpenCV's conversion to RGB."""

    size: int
    channels: int
    conversion: int | None  # None: is RGB already


GREY_ENCODINGS: dict[str, ColourLayout] = {
    "mono8": ColourLayout(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": ColourLayout(1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": ColourLayout(2, 1, cv2.COLOR_GRAY2RGB),
}
COLOUR_ENCODINGS: dict[str, ColourLayout] = {
    "rgb8": ColourLayout(1, 3, None),
    "bgr8": ColourLayout(1, 3, cv2.COLOR_BGR2RGB),
    "rgba8": ColourLayout(1, 4, cv2.COLOR_RGBA2RGB),
    "bgra8": ColourLayout(1, 4, cv2.COLOR_BGRA2RGB),
    "rgb16": ColourLayout(2, 3, None),
    "bgr16": ColourLayout(2, 3, cv2.COLOR_BGR2RGB),
    "rgba16": ColourLayout(2, 4, cv2.COLOR_RGBA2RGB),
    "bgra16": ColourLayout(2, 4, cv2.COLOR_BGRA2RGB),
    **GREY_ENCODINGS,
    "8UC3": ColourLayout(1, 3, cv2.COLOR_BGR2RGB),  # OpenCV's names carry no colour order: its own is meant
    "8UC4": ColourLayout(1, 4, cv2.COLOR_BGRA2RGB),
    **{
        f"bayer_{pattern.lower()}{8 * size}": ColourLayout(size, 1, getattr(cv2, f"COLOR_Bayer{pattern}2RGB"))
        for size in (1, 2)
        for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")
    },
    "yuv422": ColourLayout(1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": ColourLayout(1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": ColourLayout(1, 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": ColourLayout(1, 2, cv2.COLOR_YUV2RGB_YUYV),
}
"""What `decode_colour` reads; the grey ones among them."""

DEPTH_ENCODINGS: dict[str, npt.DTypeLike] = {"16UC1": np.uint16, "mono16": np.uint16, "32FC1": np.float32}
"""What `depth.decode_depth` reads."""

WANTED_COLOUR = f"expected a colour image ({', '.join(COLOUR_ENCODINGS)})"


def is_compressed(message: Any) -> bool:
    """Whether it is a CompressedImage; it names its content by `format`, an Image by `encoding`."""
    return not hasattr(message, "encoding")


def decode_colour(message: Any, *, copy: bool = True) -> npt.NDArray[np.uint8]:
    """A colour or grey image as (H, W, 3) uint8 RGB, in memory of its own unless `copy` is False.

    16 bit is scaled to 8 (full scale to full scale, rounded), alpha is dropped. A CompressedImage (jpeg, png)
    keeps the sensor's orientation, whatever its EXIF says: depth would not turn with it.

    Args:
        message: an Image in one of `COLOUR_ENCODINGS`, or a CompressedImage.
        copy: False: rgb8 without padding in memory that can be written to stays where it is, for messages
            that nobody changes.

    Raises:
        InvalidInputError: another encoding, sizes that contradict each other, or data that is no image.
    """
    if is_compressed(message):
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        return _converted(decompressed(bytes_of(message), message.format, flags), cv2.COLOR_BGR2RGB)
    encoding = message.encoding
    layout = COLOUR_ENCODINGS.get(encoding)
    if layout is None:
        hint = "; that is depth: choose the topic of the colour camera" if encoding in DEPTH_ENCODINGS else ""
        raise InvalidInputError(f"{WANTED_COLOUR}, got encoding {short(encoding)}{hint}")
    bayer, yuv = encoding.startswith("bayer"), layout.channels == 2
    if bayer and min(message.height, message.width) < 3:  # OpenCV makes black of them
        raise InvalidInputError(
            f"expected at least 3x3 pixels for {encoding}, got {message.width}x{message.height}"
        )
    if yuv and message.width % 2:
        raise InvalidInputError(f"expected an even width for {encoding}, got {message.width}")
    pixels = pixels_of(message, np.dtype(f"u{layout.size}"), layout.channels)
    if bayer:  # neighbours are averaged before 16 bit is rounded
        return _to_8_bit(_converted(pixels, layout.conversion))
    if layout.conversion is None and not copy and pixels.flags.writeable:  # torch takes no others
        return np.ascontiguousarray(_to_8_bit(pixels))
    return _converted(_to_8_bit(pixels), layout.conversion)


def pixels_of(message: Any, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """The rows of an Image as (H, W) or (H, W, C) of native `dtype`, padding left out.

    A view of the message's data, strided by `step`, unless byte order or alignment need a copy.

    Raises:
        InvalidInputError: height, width, step and data length contradict each other.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise InvalidInputError(f"expected an image with pixels, got {width}x{height}")
    row_bytes = width * channels * dtype.itemsize
    if step < row_bytes:
        raise InvalidInputError(
            f"expected step >= {row_bytes} bytes for {width} pixels of {message.encoding}, got {step}"
        )
    data = bytes_of(message)
    # The last row may come without its padding.
    if not step * (height - 1) + row_bytes <= data.size <= step * height:
        raise InvalidInputError(
            f"expected {step * height} bytes of data (step {step} x height {height}), got {data.size}"
        )
    axes = 2 if channels == 1 else 3
    view: npt.NDArray[Any] = np.ndarray(
        (height, width, channels)[:axes],
        dtype.newbyteorder(">" if message.is_bigendian else "<"),
        buffer=data,
        strides=(step, channels * dtype.itemsize, dtype.itemsize)[:axes],
    )
    return np.require(view, dtype, "A")


def bytes_of(message: Any) -> npt.NDArray[np.uint8]:
    """The data of a message as (bytes,) uint8; not a copy."""
    return np.frombuffer(message.data, dtype=np.uint8)


def _converted(pixels: npt.NDArray[Any], conversion: int | None) -> npt.NDArray[Any]:
    """Into new memory, contiguous."""
    return np.array(pixels, order="C") if conversion is None else cv2.cvtColor(pixels, conversion)


def _to_8_bit(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Full scale of 16 bit to full scale of 8 bit, rounded; 8 bit as it is."""
    if pixels.dtype == np.uint8:
        return pixels
    scaled: npt.NDArray[Any] = cv2.convertScaleAbs(pixels, alpha=255 / 65535)
    return scaled
