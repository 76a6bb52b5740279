"""Whatever a camera sends as an image is decoded rightly, or refused with a word."""

from __future__ import annotations

import numpy as np
from hostile import (
    BAYER,
    COLOUR,
    DEPTH,
    YUV,
    compressed_images,
    image_of,
    images,
    layouts,
    noise,
    seeds,
    sizes,
    wrong_images,
)
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.camera import COLOUR_ENCODINGS, decode_colour, decode_depth, decode_integers
from ovseg_ros.errors import OvsegError


def test_the_strategies_know_every_encoding():
    assert {*COLOUR, *BAYER, *YUV} == {*COLOUR_ENCODINGS}


@cases(350, images(), st.booleans())
def test_colour_is_what_its_name_says(drawn, copy):
    message, pixels = drawn
    right = pixels[:, :, COLOUR[message.encoding][2]].astype(np.float64)
    if pixels.dtype == np.uint16:
        right = np.rint(right * 255 / 65535)
    found = decode_colour(message, copy=copy)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, right)


@cases(100, st.sampled_from(BAYER), st.tuples(*[st.integers(3, 7)] * 2), seeds, layouts)
def test_a_mosaic_of_one_colour_is_that_colour(encoding, size_hw, seed, layout):
    kind = np.dtype("u2" if encoding.endswith("16") else "u1")
    colour = dict(zip("rgb", noise(seed, (3,), kind), strict=True))
    pattern = encoding[6:10]
    rows, columns = np.indices(size_hw)
    pixels = np.vectorize(lambda at: colour[pattern[at]], otypes=[kind])(rows % 2 * 2 + columns % 2)
    found = decode_colour(image_of(pixels[..., None], encoding, *layout))
    right = np.array([colour[name] for name in "rgb"], np.float64) * (255 / 65535 if kind == np.uint16 else 1)
    np.testing.assert_array_equal(found, np.broadcast_to(np.rint(right), (*size_hw, 3)))


@cases(100, st.sampled_from(YUV), st.tuples(st.integers(1, 6), st.integers(1, 4)), seeds, layouts)
def test_yuv_is_bt_601(encoding, size, seed, layout):
    pixels = noise(seed, (size[0], 2 * size[1], 2), np.uint8)
    luma = 1 if encoding in ("yuv422", "uyvy") else 0
    y = pixels[:, :, luma].astype(np.float64)
    u, v = (np.repeat(pixels[:, start::2, 1 - luma], 2, axis=1) - 128.0 for start in (0, 1))
    grey = 1.164 * (np.maximum(y, 16) - 16)
    right = np.stack([grey + 1.596 * v, grey - 0.813 * v - 0.391 * u, grey + 2.018 * u], axis=2)
    found = decode_colour(image_of(pixels, encoding, *layout))
    assert np.abs(found - right.clip(0, 255)).max() <= 2


@cases(150, st.sampled_from(sorted(DEPTH)), sizes, seeds, layouts)
def test_depth_is_metres(encoding, size_hw, seed, layout):
    pixels = noise(seed, size_hw, DEPTH[encoding])
    found = decode_depth(image_of(pixels[..., None], encoding, *layout))
    right = pixels if encoding == "32FC1" else pixels.astype(np.float32) / np.float32(1000)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, right)


@cases(350, wrong_images())
def test_a_wrong_image_is_refused_or_has_its_size(message):
    for decode, shape in (
        (decode_colour, (message.height, message.width, 3)),
        (decode_depth, (message.height, message.width)),
        (decode_integers, (message.height, message.width)),
    ):
        found = answered(lambda decode=decode: decode(message))
        assert isinstance(found, OvsegError) or found.shape == shape


@cases(400, compressed_images())
def test_damaged_compressed_images_are_refused_or_pictures(message):
    colour = answered(lambda: decode_colour(message))
    assert isinstance(colour, OvsegError) or (colour.dtype, colour.shape[2:]) == (np.uint8, (3,))
    depth = answered(lambda: decode_depth(message))
    assert isinstance(depth, OvsegError) or (depth.dtype, depth.ndim) == (np.float32, 2)
