"""Images to arrays: every encoding against a hand-made pixel, padding, byte order, and each refusal."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import cv2
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.images import (
    COLOUR_ENCODINGS,
    colour_from_compressed,
    colour_from_image,
    depth_from_image,
    image_from_array,
)

pytestmark = pytest.mark.ros

ORANGE = (255, 128, 0)


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    rows = pixels.reshape(pixels.shape[0], -1)
    rows = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<"))
    data = b"".join(row.tobytes() + b"\xee" * padding for row in rows)
    image = Image(
        height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=int(big_endian)
    )
    image.step, image.data = len(data) // pixels.shape[0], data
    return image


def plain(order: str, scale: int = 1, dtype: type = np.uint8) -> np.ndarray:
    channel = dict(zip("rgba", (*ORANGE, 255)))
    return np.full((4, 6, len(order)), [channel[c] * scale for c in order], dtype)


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("order", ["rgb", "bgr", "rgba", "bgra"])
def test_colour_orders(order, padding):
    assert (colour_from_image(message(plain(order), f"{order}8", padding)) == ORANGE).all()
    for big_endian in (False, True):
        wide = message(plain(order, 257, np.uint16), f"{order}16", padding, big_endian)
        assert (colour_from_image(wide) == ORANGE).all()


def test_opencv_names_mean_bgr():
    assert (colour_from_image(message(plain("bgr"), "8UC3")) == ORANGE).all()
    assert (colour_from_image(message(plain("bgra"), "8UC4")) == ORANGE).all()


@pytest.mark.parametrize(("encoding", "value"), [("mono8", 77), ("8UC1", 77), ("mono16", 77 * 257)])
def test_grey(encoding, value):
    pixels = np.full((4, 6), value, np.uint8 if encoding != "mono16" else np.uint16)
    assert (colour_from_image(message(pixels, encoding)) == 77).all()


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer(pattern):
    channel = dict(zip("rgb", ORANGE))
    tile = np.array([[channel[c] for c in pattern[:2]], [channel[c] for c in pattern[2:]]])
    mosaic = np.tile(tile, (4, 4))
    assert (
        colour_from_image(message(mosaic.astype(np.uint8), f"bayer_{pattern}8"))[2:-2, 2:-2] == ORANGE
    ).all()
    wide = message((mosaic * 257).astype(np.uint16), f"bayer_{pattern}16")
    assert (colour_from_image(wide)[2:-2, 2:-2] == ORANGE).all()


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv"])
def test_yuv_422(encoding):
    y, u, v = 150, 50, 190  # an orange by BT.601
    pair = [u, y, v, y] if encoding in ("yuv422", "uyvy") else [y, u, y, v]
    pixels = np.tile(np.array(pair, np.uint8), (2, 3)).reshape(2, 6, 2)
    red, green, blue = colour_from_image(message(pixels, encoding))[0, 0].astype(int)
    assert red > 230
    assert 100 < green < 180
    assert blue < 40
    with pytest.raises(InvalidInputError, match="even width"):
        colour_from_image(message(pixels[:, :5], encoding))


def test_every_encoding_of_the_table_has_been_tried():
    tried = {f"{o}{b}" for o in ("rgb", "bgr", "rgba", "bgra") for b in (8, 16)} | {"8UC1", "8UC3", "8UC4"}
    tried |= {f"bayer_{p}{b}" for p in ("rggb", "bggr", "gbrg", "grbg") for b in (8, 16)}
    tried |= {"mono8", "mono16", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"}
    assert tried == set(COLOUR_ENCODINGS)


def test_the_result_is_a_copy_one_may_write_to():
    assert colour_from_image(message(plain("rgb"), "rgb8")).flags.writeable


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "bgr"}, "want a colour image"),
        ({"encoding": ""}, "want a colour image"),
        ({"encoding": "32FC1"}, "that is depth"),
        ({"height": 0}, "6x0"),
        ({"width": 0}, "0x4"),
        ({"step": 17}, "want step >= 18"),
        ({"step": 19}, "want 76 bytes"),
        ({"height": 5}, "want 90 bytes"),
        ({"height": 3}, "want 54 bytes"),
        ({"width": 2**31, "height": 2**31}, "want step"),
    ],
)
def test_contradictions_are_refused(change, reason):
    bad = message(plain("rgb"), "rgb8")
    for name, value in change.items():
        setattr(bad, name, value)
    with pytest.raises(InvalidInputError, match=reason):
        colour_from_image(bad)


def test_depth_by_rep_118():
    millimetres = np.array([[0, 1500], [65535, 1]], np.uint16)
    for big_endian in (False, True):
        metres = depth_from_image(message(millimetres, "16UC1", 2, big_endian))
        assert metres.dtype == np.float32
        assert np.allclose(metres, [[0, 1.5], [65.535, 0.001]])
        floats = message(np.array([[np.nan, 2.5]], np.float32), "32FC1", 0, big_endian)
        assert np.array_equal(depth_from_image(floats), np.array([[np.nan, 2.5]], np.float32), equal_nan=True)
    with pytest.raises(InvalidInputError, match="16UC1"):
        depth_from_image(message(plain("rgb"), "rgb8"))


def test_compressed():
    good = cv2.imencode(".png", np.full((3, 5, 3), ORANGE[::-1], np.uint8))[1].tobytes()
    assert (colour_from_compressed(CompressedImage(format="png", data=good)) == ORANGE).all()
    for data in (b"", b"not an image", good[:20]):
        with pytest.raises(InvalidInputError, match="compressed image"):
            colour_from_compressed(CompressedImage(format="jpeg", data=data))


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.arange(6, dtype=np.uint8).reshape(2, 3), "mono8"),
        (np.arange(6, dtype=np.uint16).reshape(2, 3) * 1000, "16UC1"),
        (np.arange(18, dtype=np.uint8).reshape(2, 3, 3), "rgb8"),
        (np.arange(12, dtype=np.uint8).reshape(2, 6)[:, ::2], "mono8"),
    ],
)
def test_arrays_to_messages(pixels, encoding):
    header = Header(frame_id="f")
    image = image_from_array(header, pixels)
    assert (image.encoding, image.height, image.width, image.header) == (encoding, 2, 3, header)
    assert image.step == len(image.data) // 2
    assert np.array_equal(np.frombuffer(image.data, pixels.dtype).reshape(pixels.shape), pixels)


def test_an_encoding_outside_the_table_goes_through_cv_bridge(monkeypatch):
    asked = []

    class Bridge:
        def imgmsg_to_cv2(self, image, wanted):
            asked.append((image.encoding, wanted))
            return np.full((4, 6, 3), ORANGE, np.uint8)

    module = types.ModuleType("cv_bridge")
    module.CvBridge = Bridge
    monkeypatch.setitem(sys.modules, "cv_bridge", module)
    pixels = colour_from_image(message(np.zeros((4, 6), np.uint8), "nv21"))
    assert asked == [("nv21", "rgb8")]
    assert (pixels == ORANGE).all()


def test_without_cv_bridge_other_encodings_are_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    with pytest.raises(InvalidInputError, match=r"want a colour image.*nv21"):
        colour_from_image(message(np.zeros((4, 6), np.uint8), "nv21"))
