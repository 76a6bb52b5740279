"""Depth in other units, in RVL, and in pictures that lie about their size; a remark on implausible depth."""

from __future__ import annotations

import itertools
import math
import struct
import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from ovseg_ros.core.camera import DepthDoubt, check_depth_scale, decode_colour, decode_depth, depth_remark
from ovseg_ros.core.camera.rvl import decode_rvl
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.photographs import read_frames

DEMO = Path(__file__).parents[3] / "demo"
MM = np.array([[0, 1500, 3], [65535, 1, 999]], np.uint16)
HEADER = struct.pack("<iff", 0, 0, 0)


def image(pixels, encoding):
    height, width = pixels.shape
    fields = {"height": height, "width": width, "encoding": encoding, "is_bigendian": 0}
    return SimpleNamespace(**fields, step=width * pixels.itemsize, data=pixels.tobytes())


def png(pixels):
    return cv2.imencode(".png", pixels)[1].tobytes()


def compressed(kind, data):
    return SimpleNamespace(format=kind, data=data)


def rvl(pixels) -> bytes:
    """One number and nibble after the other, as the paper has it."""
    nibbles: list[int] = []

    def write(number):
        while True:
            number, rest = number >> 3, number & 7
            nibbles.append(rest | (8 if number else 0))
            if not number:
                return

    flat, at, previous = pixels.ravel().tolist(), 0, 0
    while at < len(flat):
        zeros = at
        while at < len(flat) and not flat[at]:
            at += 1
        write(at - zeros)
        end = at
        while end < len(flat) and flat[end]:
            end += 1
        write(end - at)
        for value in flat[at:end]:
            current = value - 65536 if value > 32767 else value  # a short, as the reference holds it
            delta, previous = current - previous, current
            write(2 * delta if delta >= 0 else -2 * delta - 1)
        at = end
    words = [nibbles[i : i + 8] + [0] * 8 for i in range(0, len(nibbles), 8)]
    packed = b"".join(struct.pack("<I", int("".join(f"{n:x}" for n in word[:8]), 16)) for word in words)
    return struct.pack("<II", pixels.shape[1], pixels.shape[0]) + packed


def decoded(data: bytes):
    return decode_rvl(np.frombuffer(data, np.uint8))


ROOM = np.random.default_rng(1).integers(0, 65536, (17, 23)).astype(np.uint16)
SPARSE = np.where(np.random.default_rng(2).random((17, 23)) < 0.6, 0, ROOM).astype(np.uint16)
RAMP = np.arange(400, 400 + 48, dtype=np.uint16).reshape(6, 8)


@pytest.mark.parametrize(
    "pixels",
    [
        MM,
        ROOM,
        SPARSE,
        RAMP,
        np.zeros((3, 4), np.uint16),
        np.full((3, 4), 65535, np.uint16),
        np.array([[7]], np.uint16),
        np.array([[0]], np.uint16),
        np.array([[0, 0, 5], [5, 0, 0]], np.uint16),
        np.array([[32767, 32768, 1, 65535]], np.uint16),
    ],
)
def test_rvl_against_the_naive_coder(pixels):
    np.testing.assert_array_equal(decoded(rvl(pixels)), pixels)
    message = compressed("16UC1; compressedDepth rvl", HEADER + rvl(pixels))
    np.testing.assert_array_equal(decode_depth(message), (pixels / 1000).astype(np.float32))


def test_rvl_of_float_depth_is_inverse_depth():
    a, b, depth = 100.0, 2.0, np.array([[0.5, 2.0]])
    stored = np.append(np.rint(a / depth + b), [[0]], axis=1).astype(np.uint16)
    message = compressed("32FC1; compressedDepth rvl", struct.pack("<iff", 0, a, b) + rvl(stored))
    np.testing.assert_allclose(decode_depth(message), [[0.5, 2.0, 0]], rtol=1e-6)


def test_every_cut_of_an_rvl_stream_is_refused():
    whole = rvl(SPARSE)
    for end in range(len(whole)):
        with pytest.raises(InvalidInputError, match="RVL"):
            decoded(whole[:end])


def test_damaged_rvl_is_refused_or_of_the_size_it_says():
    whole, generator = rvl(SPARSE), np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        data = np.frombuffer(whole, np.uint8).copy()
        data[generator.integers(8, len(data), 3)] = generator.integers(0, 256, 3)
        try:
            assert decode_rvl(data).shape == SPARSE.shape
        except InvalidInputError:
            refused += 1
    assert 0 < refused < 300


@pytest.mark.parametrize(
    ("size_wh", "stream", "reason"),
    [
        ((2**32 - 1, 2**32 - 1), b"", "at most 100 million pixels"),
        ((0, 4), b"", "expected an image with pixels, got 0x4"),
        ((4, 4), b"\xff" * 400, "ends after 0 of 16 pixels"),  # a number that never ends
        ((40, 40), b"\xff\xff\xff\xff" * 3 + b"\x00" * 4000, "more than 32 bits"),
        ((4, 4), b"\x00" * 4000, "ends after 0 of 16"),  # runs of nothing
        ((1, 2), struct.pack("<I", 0x03000000), "a run of 3 at pixel 0 of 2"),
    ],
)
def test_rvl_that_lies(size_wh, stream, reason):
    with pytest.raises(InvalidInputError, match=reason):
        decoded(struct.pack("<II", *size_wh) + stream)


def test_rvl_is_fast():
    pixels = np.where(np.random.default_rng(4).random((480, 640)) < 0.3, 0, 1000).astype(np.uint16)
    pixels += (pixels > 0) * np.random.default_rng(5).integers(0, 50, (480, 640)).astype(np.uint16)
    data, start = rvl(pixels), time.perf_counter()
    np.testing.assert_array_equal(decoded(data), pixels)
    assert time.perf_counter() - start < 2.0  # one number after the other takes longer


@pytest.mark.parametrize("scale", [0.0001, 0.001, 0.00025, 1, np.float32(0.5)])
def test_a_scale_is_metres_per_unit_in_every_form(scale):
    wanted = MM.astype(np.float32) * np.float32(scale)
    inverse = compressed("32FC1; compressedDepth png", struct.pack("<iff", 0, 100, 2) + png(MM))
    in_metres = decode_depth(inverse)
    for message in (
        image(MM, "16UC1"),
        image(MM, "mono16"),
        image(MM.astype(np.float32), "32FC1"),
        compressed("16UC1; png compressed ", png(MM)),
        compressed("32FC1; tiff compressed ", cv2.imencode(".tiff", MM.astype(np.float32))[1].tobytes()),
        compressed("16UC1; compressedDepth png", HEADER + png(MM)),
        compressed("16UC1; compressedDepth rvl", HEADER + rvl(MM)),
    ):
        got = decode_depth(message, depth_scale=scale)
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.float32
    np.testing.assert_allclose(decode_depth(inverse, depth_scale=scale), in_metres * scale, rtol=1e-6)


@pytest.mark.parametrize("kind", ["16UC1; compressedDepth", "16UC1; compressedDepth png", "16UC1", "png"])
def test_a_png_without_the_transports_header_is_read_whatever_its_format(kind):
    np.testing.assert_array_equal(decode_depth(compressed(kind, png(MM))), (MM / 1000).astype(np.float32))


def test_a_jpeg_is_never_depth():
    jpeg = cv2.imencode(".jpg", np.zeros((8, 8), np.uint8))[1].tobytes()
    with pytest.raises(InvalidInputError, match=r"a JPEG never holds depth: take .*/compressedDepth"):
        decode_depth(compressed("16UC1; jpeg compressed ", jpeg))


@pytest.mark.parametrize("scale", [0, -0.001, math.nan, math.inf, -math.inf, "mm", True, None])
def test_no_scale(scale):
    with pytest.raises(
        InvalidInputError, match=r"expected a depth scale > 0, metres per unit, got .*; " r"for ex"
    ):
        check_depth_scale(scale)
    if scale is not None:
        with pytest.raises(InvalidInputError, match="expected a depth scale"):
            decode_depth(image(MM, "16UC1"), depth_scale=scale)


def test_units_per_metre_are_no_scale():
    with pytest.raises(InvalidInputError, match=r"got 1000; 1000 units per metre are 0\.001"):
        check_depth_scale(1000)
    with pytest.raises(InvalidInputError, match=r"5000 units per metre are 0\.0002"):
        check_depth_scale(5000.0)


def png_of(width, height, bits, colour):
    """A PNG of zeros that says how large it is and holds nothing of it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 64)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("size_wh", [(60_000, 60_000), (10_001, 10_000)])
def test_a_size_that_no_camera_has_is_refused_by_the_header(size_wh, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was unpacked"))
    deep, colour = png_of(*size_wh, 16, 0), png_of(*size_wh, 8, 2)
    for decode, message in (
        (decode_depth, compressed("16UC1; compressedDepth png", HEADER + deep)),
        (decode_depth, compressed("png", deep)),
        (decode_colour, compressed("bgr8; png compressed bgr8", colour)),
    ):
        with pytest.raises(InvalidInputError, match="at most 100 million pixels"):
            decode(message)


def wall(depth):
    return np.full((40, 50), depth, np.float32)


def test_plausible_depth_is_not_remarked_on():
    for depth_m in (wall(0.3), wall(1.0), wall(2.4), wall(0), wall(np.nan), wall(np.inf), wall(-1)):
        assert depth_remark(depth_m) == ""
    assert depth_remark(np.zeros((0, 0), np.float32)) == ""
    room = wall(9.0)
    room[20:] = np.linspace(0.6, 9, 20)[:, None]  # the floor
    room[0, :20] = 0.001  # noise
    room[1] = np.nan
    assert depth_remark(room) == ""


def test_depth_in_another_unit_is_remarked_on():
    assert "the nearest surface is 8 m away, which is farther than" in depth_remark(wall(8))
    assert "800 m away" in depth_remark(wall(800))
    assert "0.0008 m away, which is nearer" in depth_remark(wall(0.0008))
    assert "depth_scale (--depth-scale)" in depth_remark(wall(8))


@pytest.mark.parametrize("name", ["tabletop", "garage"])
def test_the_recordings_of_the_demo_are_plausible_in_their_unit_alone(name):
    for recorded in itertools.islice(read_frames(DEMO / name), 0, None, 9):
        depth_m = recorded.frame.depth_m
        assert depth_remark(depth_m) == ""
        for wrong in (10, 5, 1000, 0.001):  # 0.1 mm and 0.2 mm read as mm; mm read as metres, and back
            assert depth_remark(depth_m * np.float32(wrong))


def test_a_doubt_is_said_once():
    doubt = DepthDoubt()
    assert (doubt(None), doubt(wall(1))) == ("", "")
    assert doubt(wall(8)) == depth_remark(wall(8))
    assert (doubt(wall(8)), doubt(wall(800)), doubt(wall(1))) == ("", "", "")
