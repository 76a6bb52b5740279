"""Depth messages to metres, without ROS: Image and CompressedImage in every form that drivers send."""

from __future__ import annotations

import math
import struct
from numbers import Real
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera.compressed import decompressed, short
from ovseg_ros.core.camera.decode import DEPTH_ENCODINGS, bytes_of, is_compressed, pixels_of
from ovseg_ros.core.camera.formats import COMPRESSED_DEPTH, ImageFormat
from ovseg_ros.core.camera.rvl import decode_rvl
from ovseg_ros.errors import InvalidInputError

_TRANSPORT_HEADER = struct.Struct("<iff")  # compressed_depth_image_transport: kind, a, b
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_SCALE = 100.0  # metres: no depth image counts in larger units; 1000, 5000 are units per metre


def decode_depth(message: Any, *, depth_scale: float | None = None) -> npt.NDArray[np.float32]:
    """A depth image as (H, W) float32 metres; 0, NaN and inf mean unknown.

    By REP 118, 16 bit is millimetres and floats are metres. The result shares no memory with the message.

    Args:
        message: an Image in one of `DEPTH_ENCODINGS`; or a CompressedImage: a PNG of 16 bit, or what
            compressed_depth_image_transport writes, with a PNG or RVL inside.
        depth_scale: metres per unit of the numbers, for cameras that count otherwise; None: by REP 118.

    Raises:
        InvalidInputError: another encoding, sizes that contradict each other, data that is no such image, or
            a scale that is none.
    """
    if depth_scale is not None:
        check_depth_scale(depth_scale)
    if is_compressed(message):
        return _compressed(bytes_of(message), message.format, depth_scale)
    if message.encoding not in DEPTH_ENCODINGS:
        raise InvalidInputError(
            f"expected depth as 16UC1 (mm) or 32FC1 (m), got encoding {short(message.encoding)}"
        )
    return metres(pixels_of(message, np.dtype(DEPTH_ENCODINGS[message.encoding]), 1), depth_scale)


def decode_integers(message: Any) -> npt.NDArray[np.uint16]:
    """The numbers of a 16-bit Image as (H, W) uint16: instance ids, millimetres. It shares no memory with it.

    Raises:
        InvalidInputError: another encoding than 16UC1 or mono16, or sizes that contradict each other.
    """
    if message.encoding not in ("16UC1", "mono16"):
        raise InvalidInputError(f"expected encoding 16UC1, got {short(message.encoding)}")
    return np.array(pixels_of(message, np.dtype(np.uint16), 1))


def metres(numbers: npt.NDArray[Any], depth_scale: float | None) -> npt.NDArray[np.float32]:
    """Integers (mm) or floats (m) as float32 metres in new memory.

    Args:
        numbers: of any shape.
        depth_scale: metres per unit; None: by REP 118.
    """
    depth_m = np.array(numbers, dtype=np.float32, order="C")
    if depth_scale is not None:
        depth_m *= np.float32(depth_scale)
    elif numbers.dtype.kind in "iu":
        depth_m /= np.float32(1000)
    return depth_m


def check_depth_scale(depth_scale: object) -> None:
    """Refuses what cannot be metres per unit of a depth image.

    Raises:
        InvalidInputError: no number, not above 0, not finite, or so large that it is units per metre.
    """
    number = isinstance(depth_scale, Real) and not isinstance(depth_scale, bool)
    if number and 0 < depth_scale < _LARGEST_SCALE:  # type: ignore[operator]
        return
    hint = "for example 0.001 for millimetres, 0.0001 for tenths of them"
    if number and _LARGEST_SCALE <= depth_scale < math.inf:  # type: ignore[operator]
        hint = f"{depth_scale:g} units per metre are {1 / depth_scale:g}"  # type: ignore[operator]
    raise InvalidInputError(f"expected a depth scale > 0, metres per unit, got {depth_scale!r}; {hint}")


def _compressed(data: npt.NDArray[np.uint8], kind: str, depth_scale: float | None) -> npt.NDArray[np.float32]:
    """A PNG of 16 bit, or compressed_depth_image_transport's twelve bytes and a PNG or RVL.

    Source: ros-perception/image_transport_plugins, compressed_depth_image_transport.
    """
    said, header = ImageFormat.parse(kind), _TRANSPORT_HEADER.size
    bare = data[: len(_PNG)].tobytes() == _PNG  # without a header, whatever the format says
    headed = data[header : header + len(_PNG)].tobytes() == _PNG
    transport = not bare and (headed or said.transport == COMPRESSED_DEPTH)
    start = header if transport else 0
    if transport and said.codec == "rvl":
        numbers: npt.NDArray[Any] = decode_rvl(data[start:])
    else:
        numbers = decompressed(data[start:], kind, cv2.IMREAD_UNCHANGED)
    if numbers.ndim != 2 or numbers.dtype not in (np.uint16, np.float32):
        jpeg = "; a JPEG never holds depth: take the topic that ends in /compressedDepth, or the raw one"
        raise InvalidInputError(
            f"expected depth (H,W) of 16 bit or float, got {numbers.shape} {numbers.dtype}"
            f"{jpeg if said.codec == 'jpeg' else ''}"
        )
    if not (transport and said.encoding == "32FC1"):
        return metres(numbers, depth_scale)
    _, a, b = _TRANSPORT_HEADER.unpack_from(data.data)
    with np.errstate(divide="ignore", invalid="ignore"):  # float depth is stored as its inverse, 0 unknown
        depth = np.float32(a) / (numbers.astype(np.float32) - np.float32(b))
    return metres(np.where(numbers > 0, depth, np.float32(0)), depth_scale)
