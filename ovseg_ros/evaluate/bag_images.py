"""Image messages of a recording to arrays, without a ROS installation: what `rosbags` deserialises goes in.

A message is anything with the fields of sensor_msgs/Image or sensor_msgs/CompressedImage.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError

# encoding: (bytes per channel, channels, OpenCV's conversion to RGB; None: is RGB already)
COLOUR: dict[str, tuple[int, int, int | None]] = {
    "rgb8": (1, 3, None),
    "rgba8": (1, 4, cv2.COLOR_RGBA2RGB),
    "bgr8": (1, 3, cv2.COLOR_BGR2RGB),
    "bgra8": (1, 4, cv2.COLOR_BGRA2RGB),
    "8UC3": (1, 3, cv2.COLOR_BGR2RGB),
    "8UC4": (1, 4, cv2.COLOR_BGRA2RGB),
    "rgb16": (2, 3, None),
    "bgr16": (2, 3, cv2.COLOR_BGR2RGB),
    "yuv422": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (1, 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
    "yuyv": (1, 2, cv2.COLOR_YUV2RGB_YUYV),
    **{
        f"bayer_{pattern.lower()}{8 * size}": (size, 1, getattr(cv2, f"COLOR_Bayer{pattern}2RGB"))
        for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")
        for size in (1, 2)
    },
}
GREY: dict[str, tuple[int, int, int | None]] = {
    "mono8": (1, 1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": (2, 1, cv2.COLOR_GRAY2RGB),
}
DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

_COMPRESSED_DEPTH_HEADER = struct.Struct(
    "<iff"
)  # compressed_depth_image_transport: kind, depthQuantA, depthQuantB


def colour_of(message: Any) -> npt.NDArray[np.uint8]:
    """A colour or grey image, raw or compressed, as (H, W, 3) uint8 RGB; 16 bit is scaled, alpha dropped.

    Raises:
        InvalidInputError: another encoding, sizes that contradict each other, or data that is no image.
    """
    if not hasattr(message, "encoding"):
        return _rgb_8(_decompressed(bytes(message.data), str(message.format)), cv2.COLOR_BGR2RGB)
    layout = COLOUR.get(message.encoding) or GREY.get(message.encoding)
    if layout is None:
        raise InvalidInputError(
            f"want a colour image ({', '.join((*COLOUR, *GREY))}), got encoding {_short(message.encoding)}"
        )
    size, channels, conversion = layout
    pixels = _rows(message, np.dtype(f"u{size}"), channels)
    bayer, yuv = message.encoding.startswith("bayer"), channels == 2
    if (bayer and min(pixels.shape[:2]) < 2) or (yuv and pixels.shape[1] % 2):
        wanted = "at least 2x2 pixels" if bayer else "an even width"
        raise InvalidInputError(f"want {wanted} for {message.encoding}, got {message.width}x{message.height}")
    return _rgb_8(pixels, conversion)


def depth_of(message: Any) -> npt.NDArray[np.float32]:
    """A depth image by REP 118, raw or compressed, as (H, W) float32 metres; 0, NaN and inf mean unknown.

    16-bit numbers are millimetres, floats metres. Compressed: PNG of 16 bit, or what
    compressed_depth_image_transport writes (PNG inside; not RVL).

    Raises:
        InvalidInputError: another encoding, sizes that contradict each other, or data that is no image.
    """
    if not hasattr(message, "encoding"):
        return _compressed_depth(bytes(message.data), str(message.format))
    if message.encoding not in DEPTH:
        raise InvalidInputError(
            f"want depth as 16UC1 (mm) or 32FC1 (m), got encoding {_short(message.encoding)}"
        )
    return _metres(_rows(message, np.dtype(DEPTH[message.encoding]), 1))


def camera_info_of(message: Any) -> CameraIntrinsics | None:
    """The pinhole part of a sensor_msgs/CameraInfo; None where the camera was never calibrated (k = 0)."""
    fx, fy, cx, cy = (float(message.k[i]) for i in (0, 4, 2, 5))
    if not (fx > 0 and fy > 0):
        return None
    return CameraIntrinsics(fx, fy, cx, cy, int(message.width), int(message.height))


def _rows(message: Any, dtype: np.dtype[Any], channels: int) -> npt.NDArray[Any]:
    """The pixels as (H, W) or (H, W, C) of native `dtype`: rows without padding, byte order put right."""
    height, width, step = int(message.height), int(message.width), int(message.step)
    row_bytes = width * channels * dtype.itemsize
    if height < 1 or width < 1:
        raise InvalidInputError(f"want an image with pixels, got {width}x{height}")
    if step < row_bytes:
        raise InvalidInputError(
            f"want step >= {row_bytes} bytes for {width} pixels of {message.encoding}, got {step}"
        )
    data = np.frombuffer(message.data, dtype=np.uint8)
    # The last row may come without its padding.
    if not step * (height - 1) + row_bytes <= data.size <= step * height:
        raise InvalidInputError(
            f"want {step * height} bytes of data (step {step} x height {height}), got {data.size}"
        )
    data = np.pad(data, (0, step * height - data.size)) if data.size < step * height else data
    rows = np.ascontiguousarray(data.reshape(height, step)[:, :row_bytes])
    pixels = rows.view(dtype.newbyteorder(">" if message.is_bigendian else "<")).astype(dtype)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))


def _rgb_8(pixels: npt.NDArray[Any], conversion: int | None) -> npt.NDArray[np.uint8]:
    if conversion is not None:
        pixels = cv2.cvtColor(pixels, conversion)
    if pixels.dtype == np.uint16:  # full scale to full scale
        pixels = (pixels.astype(np.uint32) * 255 + 32767) // 65535
    return np.ascontiguousarray(pixels.astype(np.uint8))


def _decompressed(data: bytes, kind: str, flags: int = cv2.IMREAD_COLOR) -> npt.NDArray[Any]:
    """(H, W, 3) BGR, or as it is with IMREAD_UNCHANGED; EXIF turns nothing: depth would not turn with it."""
    try:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION if flags != cv2.IMREAD_UNCHANGED else 0
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    except cv2.error as error:
        raise InvalidInputError(f"a compressed image ({_short(kind)}) cannot be read: {error.err}") from error
    if image is None:
        raise InvalidInputError(
            f"want a compressed image OpenCV can read (jpeg, png), got {len(data)} bytes of {_short(kind)}"
        )
    return image


def _compressed_depth(data: bytes, kind: str) -> npt.NDArray[np.float32]:
    if "compressedDepth" not in kind:
        return _metres(_decompressed(data, kind, cv2.IMREAD_UNCHANGED))
    if "rvl" in kind.lower():
        raise InvalidInputError("compressed depth in RVL is not read here; record it as PNG or uncompressed")
    start = _COMPRESSED_DEPTH_HEADER.size
    pixels = _decompressed(data[start:], kind, cv2.IMREAD_UNCHANGED)
    if not kind.startswith("32FC1"):
        return _metres(pixels)
    _, quant_a, quant_b = _COMPRESSED_DEPTH_HEADER.unpack_from(data)
    with np.errstate(divide="ignore", invalid="ignore"):  # float depth is stored as its inverse, 0 unknown
        depth = np.float32(quant_a) / (pixels.astype(np.float32) - np.float32(quant_b))
    return np.where(pixels > 0, depth, np.float32(0)).astype(np.float32)


def _metres(pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if pixels.ndim != 2 or pixels.dtype not in (np.uint16, np.float32):
        raise InvalidInputError(f"want depth (H,W) of 16 bit or float, got {pixels.shape} {pixels.dtype}")
    if pixels.dtype == np.uint16:
        return pixels.astype(np.float32) * np.float32(0.001)
    return pixels.astype(np.float32)


def _short(text: str) -> str:
    """A text of the recording's, short enough for an error message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")
