"""Arrays in the memory of a message."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.core.message_memory import memory_of, message_array


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_painted_is_what_is_sent(dtype):
    pixels = message_array((3, 5), dtype, 255)
    pixels[1, 2] = 7
    data = memory_of(pixels)
    assert data is not None
    assert data.tobytes() == pixels.tobytes()


def test_arrays_whose_bytes_are_not_the_pixels_in_order_have_none():
    whole = message_array((3, 5), np.uint8)
    for pixels in (
        np.zeros((3, 5), np.uint8),
        whole[1:],
        whole.T,
        whole[:, ::-1],
        message_array((3, 5), ">u2"),
    ):
        assert memory_of(pixels) is None
