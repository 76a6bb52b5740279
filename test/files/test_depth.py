"""Depth and cameras beside pictures, from files and from memory."""

from __future__ import annotations

import json
import math
import unicodedata
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera, as_intrinsics, read_camera
from ovseg_ros.files.depth import as_depth, find_depth, read_depth


def test_depth_in_millimetres_and_metres(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 1500, 65535]], np.uint16))
    np.save(tmp_path / "m.npy", np.array([[0.5, np.nan]]))
    np.save(tmp_path / "mm.npy", np.array([[500]], np.int32))
    np.testing.assert_allclose(read_depth(tmp_path / "a.png"), [[0, 1.5, 65.535]], rtol=1e-6)
    np.testing.assert_allclose(read_depth(tmp_path / "m.npy"), [[0.5, np.nan]])
    np.testing.assert_allclose(read_depth(tmp_path / "mm.npy"), [[0.5]])
    assert read_depth(tmp_path / "m.npy").dtype == np.float32


def test_bad_depth_is_refused_by_name(tmp_path):
    cv2.imwrite(str(tmp_path / "eight.png"), np.zeros((2, 2), np.uint8))
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((2, 2, 3), np.uint16))
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "bool.npy", np.zeros((2, 2), bool))
    said = {
        "eight.png": "16-bit millimetres",
        "colour.png": "shape",
        "empty.png": "empty",
        "text.npy": "cannot be read",
        "flat.npy": "shape",
        "bool.npy": "bool",
        "missing.npy": "not there",
    }
    for name, words in said.items():
        with pytest.raises(InvalidInputError, match=words) as caught:
            read_depth(tmp_path / name)
        assert name in str(caught.value)


def test_depth_in_memory_and_in_other_units(tmp_path):
    np.testing.assert_allclose(as_depth(np.array([[1500, 0]], np.uint16)), [[1.5, 0]])
    np.testing.assert_allclose(as_depth(np.array([[1500]], np.uint16), 1e-4), [[0.15]], rtol=1e-6)
    np.testing.assert_allclose(as_depth(np.array([[1.5]]), 0.01), [[0.015]], rtol=1e-6)
    np.save(tmp_path / "a.npy", np.array([[8]], np.uint16))
    np.testing.assert_allclose(as_depth(str(tmp_path / "a.npy"), 0.25), [[2.0]])
    for scale in (0, -1, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="depth scale"):
            as_depth(np.ones((2, 2)), scale)
    with pytest.raises(InvalidInputError, match="the depth given holds uint8"):
        as_depth(np.ones((2, 2), np.uint8))


def test_depth_is_found_by_the_pictures_name(tmp_path):
    (tmp_path / "depth" / "b").mkdir(parents=True)
    for name in ("a.npy", "b/a.png"):
        (tmp_path / "depth" / name).touch()
    found = find_depth(
        tmp_path / "depth", tmp_path / "rgb/b/a.jpg", below=(tmp_path / "b/a.jpg").relative_to(tmp_path)
    )
    assert found == tmp_path / "depth/b/a.png"
    assert (
        find_depth(tmp_path / "depth", tmp_path / "a.jpg", (tmp_path / "a.jpg").relative_to(tmp_path)).name
        == "a.npy"
    )
    assert find_depth(found, tmp_path / "any.jpg", found) == found
    with pytest.raises(InvalidInputError, match=r"c\.jpg.*c\.png, c\.npy"):
        find_depth(tmp_path / "depth", tmp_path / "c.jpg", (tmp_path / "c.jpg").relative_to(tmp_path))


def test_intrinsics_from_numbers_and_from_both_kinds_of_file(tmp_path):
    matrix = "[500.0, 0, 320.5, 0, 501, 240, 0, 0, 1]"
    (tmp_path / "calibration.yaml").write_text(
        f"image_width: 640\nimage_height: 480\ncamera_matrix:\n  rows: 3\n  cols: 3\n  data: {matrix}\n"
    )
    (tmp_path / "echo.yaml").write_text(f"header: {{}}\nheight: 480\nwidth: 640\nk: {matrix}\n---\n")
    assert read_camera("500, 501,320.5,240") == ((500, 501, 320.5, 240), None)
    for name in ("calibration.yaml", "echo.yaml"):
        assert read_camera(str(tmp_path / name)) == ((500, 501, 320.5, 240), (640, 480))


def test_bad_intrinsics(tmp_path):
    (tmp_path / "no_k.yaml").write_text("width: 640")
    (tmp_path / "text.yaml").write_text("{")
    for text in ("1,2,3", "a,b,c,d", "", "no_k.yaml", "text.yaml", "missing.yaml", "0,1,2,3", "1,nan,2,3"):
        name = str(tmp_path / text) if text.endswith("yaml") else text
        with pytest.raises(InvalidInputError):
            read_camera(name)


def test_the_camera_is_scaled_to_the_picture():
    given = Camera((500, 500, 319.5, 239.5), (640, 480))
    camera = given.at((240, 320))
    assert camera == CameraIntrinsics(250, 250, 159.5, 119.5, 320, 240)
    as_given = Camera(given.numbers).at((240, 320))
    assert (as_given.fx, as_given.cx, as_given.width) == (500, 319.5, 320)
    with pytest.raises(InvalidInputError, match="640x480, got 100x480"):
        given.at((480, 100))


def test_a_camera_in_any_form(tmp_path):
    want = CameraIntrinsics(500, 501, 320.5, 240, 640, 480)
    (tmp_path / "a.json").write_text(json.dumps(asdict(want)))
    matrix = [[500, 0, 320.5], [0, 501, 240], [0, 0, 1]]
    numbers = (500, 501, 320.5, 240)
    text, file = "500,501,320.5,240", tmp_path / "a.json"
    for given in (want, Camera(numbers), text, file, numbers, matrix, np.array(matrix)):
        assert as_intrinsics(given, (480, 640)) == want
    assert as_intrinsics(want, (240, 320)) == want.resized(320, 240)
    for wrong in ((1, 2, 3), np.eye(4), None, "abcd", (0, 1, 2, 3), {"fx": 1}):
        with pytest.raises(InvalidInputError, match="want"):
            as_intrinsics(wrong, (480, 640))


def test_depth_is_found_by_canonically_equal_names(tmp_path):
    """What macOS unpacked has decomposed names, a picture from elsewhere may have a composed one."""
    composed, decomposed = (unicodedata.normalize(form, "Küche") for form in ("NFC", "NFD"))
    depth = tmp_path / "depth"
    (depth / decomposed).mkdir(parents=True)
    for file in (depth / f"{decomposed}.png", depth / decomposed / "a.PNG"):
        cv2.imwrite(str(file), np.ones((2, 2), np.uint16))
    assert (
        find_depth(depth, tmp_path / f"{composed}.jpg", Path(f"{composed}.jpg")).name == f"{decomposed}.png"
    )
    assert find_depth(depth, tmp_path / "a.jpg", Path(f"{composed}/a.jpg")).name == "a.PNG"
    cv2.imwrite(str(depth / "a.PNG"), np.ones((2, 2), np.uint16))
    cv2.imwrite(str(depth / "a.Png"), np.ones((2, 2), np.uint16))
    with pytest.raises(InvalidInputError, match="equally near"):
        find_depth(depth, tmp_path / "a.jpg", Path("a.jpg"))
