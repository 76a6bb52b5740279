"""RVL, the lossless coding of 16-bit depth that compressed_depth_image_transport offers beside PNG.

Row by row, pixels are runs: how many zeros, how many others, then of each of these the difference from the
last one that was no zero. Each number is a row of nibbles, the lowest three bits first; a nibble's highest
bit says that another follows. Differences are folded to be positive: 0, -1, 1, -2 … become 0, 1, 2, 3 … Eight
nibbles make a little-endian word of 32 bits, the first nibble its highest.

Source: A. D. Wilson, Fast Lossless Depth Image Compression, ISS 2017.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera.compressed import check_pixels
from ovseg_ros.errors import InvalidInputError

_SIZE = struct.Struct("<II")  # width, height
_LONGEST = 11  # nibbles of a number of 32 bits


def decode_rvl(data: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """The pixels of one image, (H, W) uint16; 0 is a zero of the image.

    Args:
        data: (bytes,): width and height, 32 bit each, and the words.

    Raises:
        InvalidInputError: cut off, damaged, or of a size that no camera has.
    """
    if data.size < _SIZE.size:
        raise InvalidInputError(f"expected depth in RVL, got {data.size} bytes")
    width, height = _SIZE.unpack_from(data.data)
    check_pixels(width, height)
    total = width * height
    numbers = _numbers(data[_SIZE.size :], total)
    lengths, places = _runs(numbers, total)
    filled = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)  # (total,): zeros and others take turns
    folded = np.concatenate([numbers[start:end] for start, end in places]) if places else numbers[:0]
    steps = (folded >> 1) ^ -(folded & 1)
    pixels = np.zeros(total, np.uint16)
    pixels[filled] = np.cumsum(steps).astype(np.uint16)  # as 16 bit wrap around
    return pixels.reshape(height, width)


def _numbers(stream: npt.NDArray[np.uint8], total: int) -> npt.NDArray[np.int64]:
    """The numbers in the stream; padding gives zeros at its end."""
    most = (8 * total + 16) // 2 + 4  # bytes that `total` pixels can take; what follows is not looked at
    stream = stream[: min(stream.size, most) // 4 * 4]
    words = stream.reshape(-1, 4)[:, ::-1]
    nibbles = np.stack([words >> 4, words & 15], axis=-1).reshape(-1)
    last = np.flatnonzero(nibbles < 8)  # of each number
    if not last.size:
        return np.zeros(0, np.int64)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = (nibbles[: last[-1] + 1] & 7).astype(np.int64)
    place = np.arange(digits.size) - np.repeat(first, last - first + 1)
    if place.max() >= _LONGEST:
        raise _damaged("a number of more than 32 bits")
    numbers: npt.NDArray[np.int64] = np.add.reduceat(digits << (3 * place), first)
    return numbers


def _runs(numbers: npt.NDArray[np.int64], total: int) -> tuple[list[int], list[tuple[int, int]]]:
    """How long the runs are, zeros and others by turns, and where in `numbers` the differences lie."""
    values, lengths, places = numbers.tolist(), list[int](), list[tuple[int, int]]()
    at = pixels = 0
    while pixels < total:
        if at + 1 < len(values):
            zeros, others = values[at], values[at + 1]
        elif at < len(values) and pixels + values[at] == total:
            zeros, others = values[at], 0  # the image ends with zeros, and so does the stream
        else:
            raise _damaged(f"it ends after {pixels} of {total} pixels")
        pixels += zeros + others
        at += 2 + others
        if pixels > total or at > max(len(values), 2):
            raise _damaged(f"a run of {zeros + others} at pixel {pixels - zeros - others} of {total}")
        lengths += [zeros, others]
        if others:
            places.append((at - others, at))
    return lengths, places


def _damaged(how: str) -> InvalidInputError:
    return InvalidInputError(f"depth in RVL is damaged or cut off: {how}")
