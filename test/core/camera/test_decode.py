"""Messages to arrays without ROS: each encoding against made pixels, padding, byte order, each refusal."""

from __future__ import annotations

import array
import io
import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from ovseg_ros.core.camera.decode import (
    COLOUR_ENCODINGS,
    GREY_ENCODINGS,
    decode_colour,
)
from ovseg_ros.core.camera.depth import decode_depth, decode_integers
from ovseg_ros.errors import InvalidInputError

ORANGE = (255, 128, 0)
RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
MM = np.array([[0, 1500, 3], [65535, 1, 999]], np.uint16)


def image(pixels: np.ndarray, encoding: str, *, padding: int = 0, big: bool = False, **changes):
    """The fields of sensor_msgs/Image, `padding` bytes of 0xEE behind each row."""
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")))
    data = b"".join(row.tobytes() + b"\xee" * padding for row in rows)
    height, width = pixels.shape[:2]
    fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": int(big)}
    return SimpleNamespace(**{**fields, "step": len(data) // height, "data": data, **changes})


def compressed(pixels_bgr: np.ndarray, kind: str = "png", before: bytes = b""):
    """The fields of sensor_msgs/CompressedImage, a PNG whatever the kind."""
    return SimpleNamespace(format=kind, data=before + cv2.imencode(".png", pixels_bgr)[1].tobytes())


def in_order(order: str) -> np.ndarray:
    """RGB with its channels in `order`, alpha a 9."""
    channels = dict(zip("rgba", (*np.moveaxis(RGB, 2, 0), np.full((4, 6), 9, np.uint8))))
    return np.dstack([channels[c] for c in order])


@pytest.mark.parametrize("padding", [0, 5, 6])
@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba", "bgra"])
def test_colour_orders(order, padding):
    pixels = in_order(order)
    np.testing.assert_array_equal(decode_colour(image(pixels, f"{order}8", padding=padding)), RGB)
    wide = pixels.astype(np.uint16) * 257
    for big in (False, True):
        got = decode_colour(image(wide, f"{order}16", padding=padding, big=big))
        np.testing.assert_array_equal(got, RGB)
        assert got.dtype == np.uint8


def test_opencv_names_mean_bgr():
    np.testing.assert_array_equal(decode_colour(image(in_order("bgr"), "8UC3")), RGB)
    np.testing.assert_array_equal(decode_colour(image(in_order("bgra"), "8UC4")), RGB)


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["mono8", "8UC1", "mono16"])
def test_grey(encoding, padding):
    pixels = RGB[..., 0] if encoding != "mono16" else RGB[..., 0].astype(np.uint16) * 257
    got = decode_colour(image(pixels, encoding, padding=padding))
    np.testing.assert_array_equal(got, np.dstack([RGB[..., 0]] * 3))


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_are_those_of_ros(pattern, bits, padding):
    channel = dict(zip("rgb", ORANGE))
    tile = np.array([channel[c] for c in pattern]).reshape(2, 2)  # the name lists the first 2x2 pixels
    mosaic = np.tile(tile, (4, 4)).astype(f"u{bits // 8}") * (257 if bits == 16 else 1)
    got = decode_colour(image(mosaic, f"bayer_{pattern}{bits}", padding=padding))
    assert (got[2:-2, 2:-2] == ORANGE).all()


@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_422(encoding, padding):
    y, u, v = 150, 50, 190  # an orange by BT.601
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    pixels = np.tile(np.array(pair, np.uint8), (2, 3)).reshape(2, 6, 2)
    red, green, blue = decode_colour(image(pixels, encoding, padding=padding))[1, 5].astype(int)
    assert red > 230
    assert 100 < green < 180
    assert blue < 40


def test_every_encoding_of_the_table_has_been_tried():
    tried = {f"{o}{b}" for o in ("rgb", "bgr", "rgba", "bgra") for b in (8, 16)} | {"8UC1", "8UC3", "8UC4"}
    tried |= {f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)}
    tried |= {"mono8", "mono16", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"}
    assert tried == set(COLOUR_ENCODINGS)
    assert set(GREY_ENCODINGS) == {"mono8", "8UC1", "mono16"}


def test_16_bit_is_scaled_by_its_full_range_and_rounded():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = decode_colour(image(values, "mono16"))[..., 0]
    np.testing.assert_array_equal(got, (values.astype(np.int64) * 255 + 32767) // 65535)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (4, 1)])
@pytest.mark.parametrize("padding", [0, 7])
def test_lines_and_single_pixels(size, padding):
    pixels = RGB[: size[0], : size[1]]
    for encoding, stored in (("rgb8", pixels), ("bgr8", pixels[..., ::-1])):
        np.testing.assert_array_equal(decode_colour(image(stored, encoding, padding=padding)), pixels)
    deep = MM[: size[0], : size[1]]
    np.testing.assert_array_equal(decode_integers(image(deep, "16UC1", padding=padding)), deep)


@pytest.mark.parametrize(
    "kind", [bytes, lambda data: array.array("B", data), lambda data: np.array([*data], "u1")]
)
def test_data_comes_as_rclpy_or_rosbags_give_it_and_is_not_shared(kind):
    cases = (
        (decode_colour, image(RGB, "rgb8")),
        (decode_colour, image(RGB[..., ::-1], "bgr8")),
        (decode_depth, image(MM, "16UC1")),
        (decode_depth, image(MM.astype(np.float32), "32FC1")),
        (decode_integers, image(MM, "16UC1")),
    )
    for decode, message in cases:
        message.data = kind(message.data)
        got = decode(message)
        assert got.flags.writeable
        assert got.flags.c_contiguous
        assert got.dtype.isnative
        assert not np.shares_memory(got, np.frombuffer(message.data, np.uint8))
    png = compressed(RGB[..., ::-1])
    png.data = kind(png.data)
    np.testing.assert_array_equal(decode_colour(png), RGB)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgb16", "16UC1"])
def test_a_last_row_without_its_padding_is_read(encoding):
    decode = decode_depth if encoding == "16UC1" else decode_colour
    pixels = MM if encoding == "16UC1" else in_order(encoding[:3]).astype(f"u{int(encoding[3:]) // 8}")
    message = image(pixels, encoding, padding=5)
    wanted = decode(message)
    for cut in (1, 5):
        short = image(pixels, encoding, padding=5, data=message.data[:-cut])
        np.testing.assert_array_equal(decode(short), wanted)
    with pytest.raises(InvalidInputError, match="bytes of data"):
        decode(image(pixels, encoding, padding=5, data=message.data[:-6]))


def test_compressed_colour_is_not_turned_by_its_exif():
    np.testing.assert_array_equal(decode_colour(compressed(RGB[..., ::-1])), RGB)
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    PillowImage.new("RGB", (16, 8), (200, 20, 20)).save(content, "JPEG", exif=exif)
    got = decode_colour(SimpleNamespace(format="jpeg", data=content.getvalue()))
    assert got.shape == (8, 16, 3)
    assert np.abs(got.astype(int) - (200, 20, 20)).max() < 6


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("padding", [0, 3])
def test_depth_by_rep_118(big, padding):
    got = decode_depth(image(MM, "16UC1", padding=padding, big=big))
    np.testing.assert_array_equal(got, (MM / 1000).astype(np.float32))  # the nearest float, not only close
    assert got.dtype == np.float32
    np.testing.assert_array_equal(decode_depth(image(MM, "mono16", padding=padding, big=big)), got)
    metres = np.array([[0.5, np.nan], [np.inf, 0]], np.float32)
    np.testing.assert_array_equal(decode_depth(image(metres, "32FC1", padding=padding, big=big)), metres)


def test_compressed_depth():
    metres = (MM / 1000).astype(np.float32)
    np.testing.assert_array_equal(decode_depth(compressed(MM)), metres)
    packed = compressed(MM, "16UC1; compressedDepth png", before=struct.pack("<iff", 0, 0, 0))
    np.testing.assert_array_equal(decode_depth(packed), metres)
    # compressed_depth_image_transport stores float depth as a / depth + b
    a, b, depth = 100.0, 2.0, np.array([[0.5, 2.0]])
    stored = np.append(np.rint(a / depth + b), [[0]], axis=1).astype(np.uint16)
    packed = compressed(stored, "32FC1; compressedDepth png", before=struct.pack("<iff", 0, a, b))
    np.testing.assert_allclose(decode_depth(packed), [[0.5, 2.0, 0]], rtol=1e-6)


def test_integers_stay_as_they_are():
    for big in (False, True):
        np.testing.assert_array_equal(decode_integers(image(MM, "16UC1", padding=3, big=big)), MM)
    np.testing.assert_array_equal(decode_integers(image(MM, "mono16")), MM)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "bgr"}, "expected a colour image"),
        ({"encoding": ""}, "expected a colour image"),
        ({"encoding": "x" * 50}, r"got encoding 'x{37}\.\.\.'"),
        ({"encoding": "16UC1"}, "got encoding '16UC1'; that is depth"),
        ({"encoding": "32FC1"}, "got encoding '32FC1'; that is depth"),
        ({"height": 0}, "6x0"),
        ({"width": 0}, "0x4"),
        ({"step": 17}, "expected step >= 18"),
        ({"step": 19}, "expected 76 bytes"),
        ({"height": 5}, "expected 90 bytes"),
        ({"height": 3}, "expected 54 bytes"),
        ({"data": b""}, "expected 72 bytes .*, got 0"),
        ({"width": 2**31, "height": 2**31}, "expected step"),
        ({"step": 2**31, "height": 2**31}, "bytes of data"),
        ({"encoding": "yuv422", "width": 5}, "even width for yuv422, got 5"),
        ({"encoding": "bayer_rggb8", "height": 2}, "3x3 pixels for bayer_rggb8, got 6x2"),
        ({"encoding": "bayer_rggb8", "width": 1}, "3x3 pixels for bayer_rggb8, got 1x4"),
    ],
)
def test_colour_that_contradicts_itself_is_refused(change, reason):
    with pytest.raises(InvalidInputError, match=reason):
        decode_colour(image(RGB, **{"encoding": "rgb8", **change}))


@pytest.mark.parametrize(
    ("decode", "message", "reason"),
    [
        (decode_depth, image(RGB, "rgb8"), "16UC1 .* got encoding 'rgb8'"),
        (decode_depth, image(MM, "16UC1", width=4), "expected step >= 8"),
        (decode_depth, image(MM, "32FC1"), "expected step >= 12"),
        (decode_integers, image(MM, "32FC1"), "expected encoding 16UC1, got '32FC1'"),
        (decode_integers, image(MM, "16UC1", height=3), "expected 18 bytes"),
        (decode_colour, SimpleNamespace(format="jpeg", data=b""), "0 bytes of format 'jpeg'"),
        (decode_colour, SimpleNamespace(format="jpeg", data=b"no image."), "9 bytes of format 'jpeg'"),
        (decode_depth, compressed(RGB), "16 bit or float"),
        (decode_depth, compressed(RGB[..., 0]), "16 bit or float"),
        (decode_depth, compressed(RGB.astype(np.uint16)), r"got \(4, 6, 3\) uint16"),
        (decode_depth, compressed(RGB, "32FC1; compressedDepth png", b"\0" * 12), "16 bit or float"),
        (decode_depth, SimpleNamespace(format="32FC1; compressedDepth png", data=b"\0" * 8), "0 bytes"),
    ],
)
def test_images_that_cannot_be(decode, message, reason):
    with pytest.raises(InvalidInputError, match=reason):
        decode(message)


def test_a_cut_compressed_image_is_refused():
    whole = compressed(RGB).data
    with pytest.raises(InvalidInputError, match="compressed image"):
        decode_colour(SimpleNamespace(format="png", data=whole[:20]))
