"""The pictures inside CompressedImage messages: their size is known before they are unpacked."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg_ros.errors import InvalidInputError

MAX_PIXELS = 100_000_000
"""Of one image: more than any camera has. A PNG of 2 MB can say a thousand times as much, and fill memory."""

# What compressed_image_transport and cameras send; Pillow would also open what is no picture.
_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "BMP", "PPM")


def decompressed(data: npt.NDArray[np.uint8], kind: str, flags: int) -> npt.NDArray[Any]:
    """A picture, unpacked by OpenCV.

    Args:
        data: (bytes,) of the file.
        kind: what the sender calls it, for messages.
        flags: of cv2.imdecode.

    Returns:
        (H, W, 3) BGR, or as it is with IMREAD_UNCHANGED.

    Raises:
        InvalidInputError: no picture, damaged, or of more than `MAX_PIXELS`.
    """
    try:
        width, height = _size_wh(data)
        check_pixels(width, height)
        image = cv2.imdecode(data, flags)
    except InvalidInputError as error:
        raise InvalidInputError(f"a compressed image of format {short(kind)}: {error}") from error
    except (cv2.error, OSError, SyntaxError, ValueError) as error:
        raise _unreadable(data, kind) from error
    if image is None:
        raise _unreadable(data, kind)
    return image


def check_pixels(width: int, height: int, most: int = MAX_PIXELS, *, name: str = "", cure: str = "") -> None:
    """Refuses sizes that no camera has, before memory is taken for them.

    Args:
        width: of the image.
        height: of the image.
        most: pixels that it may have.
        name: what messages call it.
        cure: of too many pixels.

    Raises:
        InvalidInputError: no pixels, or more than `most`.
    """
    if width < 1 or height < 1:
        raise InvalidInputError(
            f"expected an image with pixels, {f'{name} is' if name else 'got'} {width}x{height}"
        )
    if width * height > most:
        raise InvalidInputError(
            f"expected at most {most / 1e6:g} million pixels, {f'{name} has' if name else 'got'} "
            f"{width * height / 1e6:.1f} million ({width}x{height}){f'; {cure}' if cure else ''}"
        )


def short(text: str) -> str:
    """A text of the sender's, quoted, safe and short enough for an error message."""
    return repr(text if len(text) <= 40 else text[:37] + "...")


def _size_wh(data: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """By its header alone; Pillow raises whatever it likes where there is none."""
    try:
        with Image.open(io.BytesIO(data.data), formats=_FORMATS) as image:
            return image.size
    except Image.DecompressionBombError as error:  # Pillow's own limit, which lies above ours
        raise InvalidInputError(f"expected at most {MAX_PIXELS / 1e6:g} million pixels, got more") from error


def _unreadable(data: npt.NDArray[np.uint8], kind: str) -> InvalidInputError:
    return InvalidInputError(
        f"expected a compressed image OpenCV can read (jpeg, png), got {data.size} bytes of format "
        f"{short(kind)}"
    )
