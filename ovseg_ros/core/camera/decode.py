"""Image messages to arrays, without ROS: the one decoder of the node, of recordings and of the demo.

A message is anything with the fields of sensor_msgs/Image, CompressedImage or CameraInfo: rclpy's, or what
`rosbags` deserialises. Sizes are checked before the first pixel is read. The encodings are decoded here, over
numpy and OpenCV, because cv_bridge's Python builds disagree about `step` and `is_bigendian` (the one on PyPI
ignores the first and fails on the second under numpy 2).
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.intrinsics import CameraIntrinsics
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
"""What `decode_depth` reads."""

WANTED_COLOUR = f"want a colour image ({', '.join(COLOUR_ENCODINGS)})"

_COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")  # compressed_depth_image_transport: kind, a, b


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
        return _converted(_decompressed(_bytes_of(message), message.format, flags), cv2.COLOR_BGR2RGB)
    encoding = message.encoding
    layout = COLOUR_ENCODINGS.get(encoding)
    if layout is None:
        hint = "; that is depth: choose the topic of the colour camera" if encoding in DEPTH_ENCODINGS else ""
        raise InvalidInputError(f"{WANTED_COLOUR}, got encoding {short(encoding)}{hint}")
    bayer, yuv = encoding.startswith("bayer"), layout.channels == 2
    if bayer and min(message.height, message.width) == 1:
        raise InvalidInputError(
            f"want at least 2x2 pixels for {encoding}, got {message.width}x{message.height}"
        )
    if yuv and message.width % 2:
        raise InvalidInputError(f"want an even width for {encoding}, got {message.width}")
    pixels = _pixels(message, np.dtype(f"u{layout.size}"), layout.channels)
    if bayer:  # neighbours are averaged before 16 bit is rounded
        return _to_8_bit(_converted(pixels, layout.conversion))
    if layout.conversion is None and not copy and pixels.flags.writeable:  # torch takes no others
        return np.ascontiguousarray(_to_8_bit(pixels))
    return _converted(_to_8_bit(pixels), layout.conversion)


def decode_depth(message: Any) -> npt.NDArray[np.float32]:
    """A depth image by REP 118 as (H, W) float32 metres; 0, NaN and inf mean unknown.

    16 bit is millimetres, floats are metres. The result shares no memory with the message.

    Args:
        message: an Image in one of `DEPTH_ENCODINGS`; or a CompressedImage: a PNG of 16 bit, or what
            compressed_depth_image_transport writes with a PNG inside (not RVL).

    Raises:
        InvalidInputError: another encoding, sizes that contradict each other, or data that is no such image.
    """
    if is_compressed(message):
        return _compressed_depth(_bytes_of(message), message.format)
    if message.encoding not in DEPTH_ENCODINGS:
        raise InvalidInputError(
            f"want depth as 16UC1 (mm) or 32FC1 (m), got encoding {short(message.encoding)}"
        )
    return _metres(_pixels(message, np.dtype(DEPTH_ENCODINGS[message.encoding]), 1))


def decode_integers(message: Any) -> npt.NDArray[np.uint16]:
    """The numbers of a 16-bit Image as (H, W) uint16: instance ids, millimetres. It shares no memory with it.

    Raises:
        InvalidInputError: another encoding than 16UC1 or mono16, or sizes that contradict each other.
    """
    if message.encoding not in ("16UC1", "mono16"):
        raise InvalidInputError(f"want encoding 16UC1, got {short(message.encoding)}")
    return np.array(_pixels(message, np.dtype(np.uint16), 1))


def decode_camera_info(message: Any) -> CameraIntrinsics | None:
    """The pinhole part K of a CameraInfo; None where the camera was never calibrated (K is 0, or not finite).

    Its size is what the message says, 0 x 0 where the driver left that out.
    """
    k = [float(value) for value in message.k]
    if not (np.isfinite(k).all() and k[0] > 0 and k[4] > 0):
        return None
    return CameraIntrinsics(k[0], k[4], k[2], k[5], int(message.width), int(message.height))


def short(text: str) -> str:
    """A text of the sender's, quoted, safe and short enough for an error message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _pixels(message: Any, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """The rows of an Image as (H, W) or (H, W, C) of native `dtype`, padding left out.

    A view of the message's data, strided by `step`, unless byte order or alignment need a copy.

    Raises:
        InvalidInputError: height, width, step and data length contradict each other.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height < 1 or width < 1:
        raise InvalidInputError(f"want an image with pixels, got {width}x{height}")
    row_bytes = width * channels * dtype.itemsize
    if step < row_bytes:
        raise InvalidInputError(
            f"want step >= {row_bytes} bytes for {width} pixels of {message.encoding}, got {step}"
        )
    data = _bytes_of(message)
    # The last row may come without its padding.
    if not step * (height - 1) + row_bytes <= data.size <= step * height:
        raise InvalidInputError(
            f"want {step * height} bytes of data (step {step} x height {height}), got {data.size}"
        )
    axes = 2 if channels == 1 else 3
    view: npt.NDArray[Any] = np.ndarray(
        (height, width, channels)[:axes],
        dtype.newbyteorder(">" if message.is_bigendian else "<"),
        buffer=data,
        strides=(step, channels * dtype.itemsize, dtype.itemsize)[:axes],
    )
    return np.require(view, dtype, "A")


def _bytes_of(message: Any) -> npt.NDArray[np.uint8]:
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


def _metres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Depth of 16 bit (mm) or float32 (m), (H, W), into new memory."""
    if pixels.dtype == np.uint16:
        depth_m = pixels.astype(np.float32)
        depth_m /= np.float32(1000)
        return depth_m
    return np.array(pixels, dtype=np.float32, order="C")


def _decompressed(data: npt.NDArray[np.uint8], kind: str, flags: int) -> npt.NDArray[Any]:
    """What OpenCV's decoder gives: (H, W, 3) BGR, or as it is with IMREAD_UNCHANGED."""
    try:
        image = cv2.imdecode(data, flags) if data.size else None
    except cv2.error as error:
        raise InvalidInputError(f"a compressed image of format {short(kind)}: {error.err}") from error
    if image is None:
        raise InvalidInputError(
            f"want a compressed image OpenCV can read (jpeg, png), got {data.size} bytes of format "
            f"{short(kind)}"
        )
    return image


def _compressed_depth(data: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.float32]:
    """A PNG of 16 bit, or compressed_depth_image_transport's twelve bytes and a PNG.

    Source: ros-perception/image_transport_plugins, compressed_depth_image_transport.
    """
    transport = "compressedDepth" in kind
    if transport and "rvl" in kind.lower():
        raise InvalidInputError("compressed depth in RVL is not read here; send it as PNG or uncompressed")
    start = _COMPRESSED_DEPTH_HEADER.size if transport else 0
    pixels = _decompressed(data[start:], kind, cv2.IMREAD_UNCHANGED)
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.float32):
        raise InvalidInputError(f"want depth (H,W) of 16 bit or float, got {pixels.shape} {pixels.dtype}")
    if not (transport and kind.startswith("32FC1")):
        return _metres(pixels)
    _, a, b = _COMPRESSED_DEPTH_HEADER.unpack_from(data.data)
    with np.errstate(divide="ignore", invalid="ignore"):  # float depth is stored as its inverse, 0 unknown
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    return np.where(pixels > 0, depth, np.float32(0)).astype(np.float32)
