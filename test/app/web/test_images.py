"""Uploads to `ovseg web`: every kind of picture, depth, cameras; what cannot be used is refused in words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from web_fixtures import HEIGHT, WIDTH, colours, save

from ovseg_ros.app.web.images import read_camera, read_frame, read_picture, read_registered_depth, shrink
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import InvalidInputError

GREY = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 20


@pytest.mark.parametrize(
    ("pixels", "remark"),
    [
        (colours(), None),
        (colours()[:, :, 0], "grey"),
        (np.dstack([colours(), np.full((HEIGHT, WIDTH), 128, np.uint8)]), "transparency"),
        (np.dstack([colours()[:, :, 0]] * 2), "grey"),
        (GREY, "16-bit grey"),
    ],
    ids=["rgb", "grey", "rgba", "grey with alpha", "16 bit"],
)
def test_each_kind_of_picture_is_taken_and_said(tmp_path, pixels, remark):
    image, remarks = read_picture(save(tmp_path / "a.png", pixels))
    assert (image.shape, image.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert (remark is None and remarks == []) or remark in remarks[0]


@pytest.mark.parametrize("size", [(1, 1), (31, 400), (400, 31)])
def test_too_small(tmp_path, size):
    path = save(tmp_path / "a.png", np.zeros((*size, 3), np.uint8))
    with pytest.raises(InvalidInputError, match=rf"too small, {size[1]}x{size[0]}: expected at least 32"):
        read_picture(path)


def test_too_large_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "a.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "b.png")  # Pillow itself refuses this one
    monkeypatch.setattr(PngImageFile, "load", lambda self: pytest.fail("decoded"))
    for name, size in (("a.png", "10000x10000"), ("b.png", "20000x20000")):
        with pytest.raises(InvalidInputError, match=f"at most 50 million pixels, the image has .*{size}"):
            read_picture(tmp_path / name)


def test_what_is_no_picture(tmp_path):
    whole = save(tmp_path / "whole.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:3000])
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.ones((64, 64), np.float32)).save(tmp_path / "float.tiff")
    for name, part in (
        ("cut.png", "the image cannot be read, it is damaged"),
        ("text.png", "expected a picture"),
        ("empty.png", "expected a picture"),
        ("float.tiff", "floating-point"),
    ):
        with pytest.raises(InvalidInputError, match=part) as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)  # where the server keeps it is nobody's business


@pytest.mark.parametrize(
    ("pixels", "part"),
    [
        (GREY[:-1], "the depth image is 64x47, the image 64x48"),
        (GREY * 0, "no distance is known"),
        (colours(), "shape"),
        (colours()[:, :, 0], "16-bit millimetres"),
        (None, "the depth image is in no format that is read"),
    ],
    ids=["another size", "nothing known", "colours", "8 bit", "damaged"],
)
def test_depth_that_cannot_be_used(tmp_path, pixels, part):
    path = tmp_path / "d.png"
    path.write_text("no") if pixels is None else save(path, pixels)
    with pytest.raises(InvalidInputError, match=part) as caught:
        read_registered_depth(path, (HEIGHT, WIDTH))
    assert "depth image" in str(caught.value)
    assert "the the" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_depth_lies_in_the_stored_pixels(tmp_path):
    """EXIF turns the picture for people; depth has no orientation and would be another pixel's."""
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(colours()).save(tmp_path / "a.png", exif=exif)
    save(tmp_path / "d.png", GREY)
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png")[0].image_rgb, colours()[::-1, ::-1])
    np.testing.assert_array_equal(read_frame(tmp_path / "a.png", tmp_path / "d.png")[0].image_rgb, colours())


def test_a_server_s_paths_stay_with_it_whatever_an_upload_is(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("folder.png", "none.png"):
        with pytest.raises(InvalidInputError, match="the image is") as caught:
            read_picture(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_camera_from_the_field_of_view():
    camera = read_camera("", 90.0, 640, 480)
    assert (camera.fx, camera.fy) == pytest.approx((320.0, 320.0))
    assert (camera.cx, camera.cy, camera.width, camera.height) == (319.5, 239.5, 640, 480)
    guess = read_camera(" ", None, 640, 480)
    assert guess.fx == pytest.approx(320 / math.tan(math.radians(30)))
    for degrees in (0.0, 9.9, 171.0, float("nan")):
        with pytest.raises(InvalidInputError, match="field of view of 10 to 170"):
            read_camera("", degrees, 640, 480)


@pytest.mark.parametrize("text", ["580, 581, 320, 240", "580 581 320 240", "[580;581;320;240]"])
def test_camera_as_stated_wins(text):
    assert read_camera(text, 90.0, 640, 480) == CameraIntrinsics(580, 581, 320, 240, 640, 480)


@pytest.mark.parametrize(
    "text", ["580", "580,581,320", "a,b,c,d", "0,580,320,240", "580,580,9000,240", "inf,1,1,1"]
)
def test_camera_that_is_none(text):
    with pytest.raises(InvalidInputError, match="fx, fy, cx, cy"):
        read_camera(text, None, 640, 480)


@pytest.mark.parametrize(
    "camera", ["depth_scale 0.0001", "50,50,31.5,23.5, depth_scale=0.0001", "depth_scale: 1e-4"]
)
def test_depth_in_another_unit(tmp_path, camera):
    image, depth = save(tmp_path / "a.png", colours()), save(tmp_path / "d.png", GREY * 0 + 8000)
    frame, remarks = read_frame(image, depth, None, camera)
    np.testing.assert_allclose(frame.depth_m, 0.8, rtol=1e-6)
    assert frame.intrinsics.fx == pytest.approx(50 if "," in camera else 32 / math.tan(math.radians(30)))
    assert remarks == []
    _, remarks = read_frame(image, depth)
    assert len(remarks) == 1
    assert "the nearest surface is 8 m away" in remarks[0]


@pytest.mark.parametrize("scale", ["", "mm", "0", "1000"])
def test_no_scale_of_depth(tmp_path, scale):
    image, depth = save(tmp_path / "a.png", colours()), save(tmp_path / "d.png", GREY * 0 + 8000)
    with pytest.raises(InvalidInputError, match=r"expected depth_scale and|expected a depth scale > 0"):
        read_frame(image, depth, None, f"50,50,31.5,23.5 depth_scale {scale}")


def test_large_pictures_are_shrunk_with_depth_and_camera(tmp_path):
    depth = np.full((1000, 2000), 1500, np.uint16)
    image = save(tmp_path / "a.png", np.zeros((1000, 2000, 3), np.uint8))
    frame, remarks = read_frame(image, save(tmp_path / "d.png", depth), None, "1000, 1000, 999.5, 499.5")
    assert frame.size_hw == (640, 1280)
    assert remarks == ["shrunk from 2000x1000 to 1280x640"]
    np.testing.assert_allclose(frame.depth_m, 1.5)
    assert frame.depth_m.dtype == np.float32
    camera = frame.intrinsics  # the middle stays the middle
    assert (camera.fx, camera.cx, camera.cy) == pytest.approx((640.0, 639.5, 319.5))
    assert (camera.width, camera.height) == (1280, 640)


def test_small_ones_stay_and_depth_is_optional(tmp_path):
    frame, remarks = read_frame(save(tmp_path / "a.png", colours()))
    np.testing.assert_array_equal(frame.image_rgb, colours())
    assert (frame.depth_m, frame.intrinsics, remarks) == (None, None, [])
    small = Frame(colours())
    assert shrink(small) is small
