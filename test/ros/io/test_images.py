"""Images of rclpy to arrays, what cv_bridge is asked for, and arrays to messages."""

from __future__ import annotations

import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import cv2
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from ovseg_ros.core.camera import camera_info_intrinsics, decode_depth
from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.io.images import colour_from_message, image_from_array

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


@pytest.mark.parametrize("padding", [0, 5])
def test_messages_of_rclpy_are_decoded(padding):
    rgb = np.tile(np.array(ORANGE, np.uint8), (4, 6, 1))
    for encoding, pixels in (("rgb8", rgb), ("bgr8", rgb[..., ::-1]), ("rgb16", rgb.astype(np.uint16) * 257)):
        assert (colour_from_message(message(pixels, encoding, padding)) == ORANGE).all()
    assert (decode_depth(message(np.full((4, 6), 1500, np.uint16), "16UC1", padding)) == 1.5).all()
    png = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
    assert (colour_from_message(CompressedImage(format="png", data=png)) == ORANGE).all()


@pytest.mark.parametrize(
    ("encoding", "padding", "shared"), [("rgb8", 0, True), ("rgb8", 5, False), ("bgr8", 0, False)]
)
def test_only_whole_rgb8_stays_in_the_message(encoding, padding, shared):
    sent = message(np.full((4, 6, 3), 7, np.uint8), encoding, padding)
    received = deserialize_message(serialize_message(sent), Image)
    pixels = colour_from_message(received)
    assert (pixels == 7).all()
    assert pixels.flags.c_contiguous
    assert pixels.flags.writeable
    assert np.shares_memory(pixels, np.frombuffer(received.data, np.uint8)) is shared


def test_pixels_that_cannot_be_written_to_are_copied():
    """torch warns of such arrays."""
    sent = SimpleNamespace(height=4, width=6, step=18, encoding="rgb8", is_bigendian=0, data=bytes(72))
    pixels = colour_from_message(sent)
    assert pixels.flags.writeable
    assert pixels.shape == (4, 6, 3)


def test_what_is_no_colour_image_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)
    bad = message(np.zeros((4, 6), np.float32), "32FC1")
    with pytest.raises(InvalidInputError, match="that is depth"):
        colour_from_message(bad)
    with pytest.raises(InvalidInputError, match="compressed image"):
        colour_from_message(CompressedImage(format="jpeg", data=b"not an image"))
    for encoding in ("", "nv21"):
        bad.encoding = encoding
        with pytest.raises(InvalidInputError, match=rf"expected a colour image.*{encoding}"):
            colour_from_message(bad)


def test_the_camera_info_of_rclpy_is_read():
    info = CameraInfo(width=12, height=8, k=[5.0, 0.0, 3.0, 0.0, 7.0, 2.0, 0.0, 0.0, 1.0], binning_x=2)
    info.binning_y = 2
    assert camera_info_intrinsics(info, (4, 6)) == CameraIntrinsics(2.5, 3.5, 1.5, 1.0, 6, 4)
    with pytest.raises(InvalidInputError, match="never calibrated"):
        camera_info_intrinsics(CameraInfo(width=6, height=4), (4, 6))


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
    pixels = colour_from_message(message(np.zeros((4, 6), np.uint8), "nv21"))
    assert asked == [("nv21", "rgb8")]
    assert (pixels == ORANGE).all()
