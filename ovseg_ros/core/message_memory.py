"""Arrays in memory that a message takes as its data as it is: an image is painted where it is sent from.

rclpy holds the bytes of an image in an `array.array`; what is painted elsewhere has to be copied there.
"""

from __future__ import annotations

import array
import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt


def message_array(shape: tuple[int, ...], dtype: npt.DTypeLike, byte: int = 0) -> npt.NDArray[Any]:
    """An array (shape) in the memory of an `array.array` of bytes, all of them `byte`."""
    kind = np.dtype(dtype)
    return np.ndarray(shape, kind, buffer=array.array("B", [byte]) * (math.prod(shape) * kind.itemsize))


def memory_of(pixels: npt.NDArray[Any]) -> array.array[int] | None:
    """The `array.array` that `message_array` made for just these pixels, None for any others.

    Its bytes are the pixels row by row, little-endian.
    """
    data = pixels.base
    if not isinstance(data, array.array) or not pixels.flags.c_contiguous or data.typecode != "B":
        return None
    little = pixels.dtype.byteorder == "|" or (pixels.dtype.isnative and sys.byteorder == "little")
    return data if little and len(data) == pixels.nbytes else None
