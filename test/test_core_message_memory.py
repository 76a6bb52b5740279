"""Arrays in the memory of a message."""

from __future__ import annotations

import array

import numpy as np
import pytest

from ovseg_ros.core.message_memory import memory_of, message_array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_painted_lies_in_the_message(dtype):
    pixels = message_array((3, 5), dtype)
    assert (pixels.dtype, pixels.shape) == (dtype, (3, 5))
    assert (pixels == 0).all()
    pixels[1, 2] = 7
    data = memory_of(pixels)
    assert isinstance(data, array.array)
    assert data.typecode == "B"
    assert data.tobytes() == pixels.tobytes()
    pixels[0, 0] = 3
    assert data.tobytes() == pixels.tobytes()


def test_bytes_may_begin_as_another_value():
    assert (message_array((2, 2), np.uint8, 255) == 255).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((3, 5), np.uint8),
        message_array((3, 5), np.uint8)[1:],
        message_array((3, 5), np.uint8).T,
        message_array((3, 5), np.uint8).view(np.int8),
        np.ndarray((2, 5), np.uint8, buffer=array.array("B", bytes(15))),
        np.ndarray((3, 5), np.uint8, buffer=array.array("B", bytes(15)), strides=(1, 3)),
        np.ndarray((3, 5), np.float32, buffer=array.array("f", [0.0] * 15)),
        np.ndarray((3, 5), ">u2", buffer=array.array("B", bytes(30))),
        np.frombuffer(bytes(15), np.uint8),
    ],
)
def test_other_arrays_have_none(pixels):
    assert memory_of(pixels) is None
