"""Cameras beside pictures, from files and from memory."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.cameras import Camera, as_intrinsics, read_camera
from ovseg_ros.files.frames import as_frame, read_frame


def test_intrinsics_from_numbers_and_from_both_kinds_of_file(tmp_path):
    matrix = "[500.0, 0, 320.5, 0, 501, 240, 0, 0, 1]"
    (tmp_path / "calibration.yaml").write_text(
        f"image_width: 640\nimage_height: 480\ncamera_matrix:\n  rows: 3\n  cols: 3\n  data: {matrix}\n"
    )
    (tmp_path / "echo.yaml").write_text(f"header: {{}}\nheight: 480\nwidth: 640\nk: {matrix}\n---\n")
    numbers = (500, 501, 320.5, 240)
    assert read_camera("500, 501,320.5,240") == Camera.of(numbers)
    for name in ("calibration.yaml", "echo.yaml"):
        assert read_camera(str(tmp_path / name)) == Camera.of(numbers, (640, 480))


def test_bad_intrinsics(tmp_path):
    (tmp_path / "no_k.yaml").write_text("width: 640")
    (tmp_path / "text.yaml").write_text("{")
    for text in ("1,2,3", "a,b,c,d", "", "no_k.yaml", "text.yaml", "missing.yaml", "0,1,2,3", "1,nan,2,3"):
        name = str(tmp_path / text) if text.endswith("yaml") else text
        with pytest.raises(InvalidInputError):
            read_camera(name)


def test_the_camera_is_scaled_to_the_picture():
    given = Camera.of((500, 500, 319.5, 239.5), (640, 480))
    camera = given.at((240, 320))
    assert camera == CameraIntrinsics(250, 250, 159.5, 119.5, 320, 240)
    as_given = Camera.of((500, 500, 319.5, 239.5)).at((240, 320))
    assert (as_given.fx, as_given.cx, as_given.width) == (500, 319.5, 320)
    with pytest.raises(InvalidInputError, match="100x480, got 640x480"):
        given.at((480, 100))


def test_a_camera_in_any_form(tmp_path):
    want = CameraIntrinsics(500, 501, 320.5, 240, 640, 480)
    (tmp_path / "a.json").write_text(json.dumps(asdict(want)))
    matrix = [[500, 0, 320.5], [0, 501, 240], [0, 0, 1]]
    numbers = (500, 501, 320.5, 240)
    text, file = "500,501,320.5,240", tmp_path / "a.json"
    for given in (want, Camera.of(numbers), text, file, numbers, matrix, np.array(matrix)):
        assert as_intrinsics(given, (480, 640)) == want
    assert as_intrinsics(want, (240, 320)) == want.resized(320, 240)
    for wrong in ((1, 2, 3), np.eye(4), None, "abcd", (0, 1, 2, 3), {"fx": 1}):
        with pytest.raises(InvalidInputError, match="expected"):
            as_intrinsics(wrong, (480, 640))


ECHO = """header:
  stamp: {sec: 1, nanosec: 2}
  frame_id: camera
height: 960
width: 1280
distortion_model: plumb_bob
d: [0.1, 0.0, 0.0, 0.0, 0.0]
k: [1000.0, 0.0, 640.0, 0.0, 1002.0, 480.0, 0.0, 0.0, 1.0]
r: [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
p: [900.0, 0.0, 600.0, 0.0, 0.0, 902.0, 450.0, 0.0, 0.0, 0.0, 1.0, 0.0]
binning_x: 2
binning_y: 2
roi: {x_offset: 0, y_offset: 0, height: 0, width: 0, do_rectify: false}
---
height: 1
"""


def test_a_recorded_camera_info_is_read_as_the_message(tmp_path):
    file = tmp_path / "echo.yaml"
    file.write_text(ECHO)
    assert read_camera(file).at((480, 640)) == CameraIntrinsics(500, 501, 320, 240, 640, 480)
    assert read_camera(file).at((960, 1280)) == CameraIntrinsics(1000, 1002, 640, 480, 1280, 960)
    rectified = as_intrinsics(file, (480, 640), rectified=True)
    assert rectified == CameraIntrinsics(450, 451, 300, 225, 640, 480)
    cut = "roi: {x_offset: 100, y_offset: 50, height: 200, width: 400"
    file.write_text(ECHO.replace("roi: {x_offset: 0, y_offset: 0, height: 0, width: 0", cut))
    assert read_camera(file).at((100, 200)) == CameraIntrinsics(500, 501, 270, 215, 200, 100)
    k = "k: [1000.0, 0.0, 640.0, 0.0, 1002.0, 480.0, 0.0, 0.0, 1.0]"
    file.write_text(ECHO.replace(k, f"k: {[0.0] * 9}"))
    assert read_camera(file).at((960, 1280)) == CameraIntrinsics(900, 902, 600, 450, 1280, 960)
    file.write_text(ECHO.replace(k, f"k: {[0.0] * 9}").replace("p: [900.0", "p: [0.0"))
    with pytest.raises(InvalidInputError, match=r"echo.yaml: the camera was never calibrated \(K is 0\)"):
        read_camera(file)


def test_a_calibration_whose_k_is_0_is_read_by_its_p(tmp_path):
    p = "[900.0, 0.0, 600.0, 0.0, 0.0, 902.0, 450.0, 0.0, 0.0, 0.0, 1.0, 0.0]"
    (tmp_path / "ost.yaml").write_text(
        f"image_width: 1280\nimage_height: 960\ncamera_matrix: {{rows: 3, cols: 3, data: {[0.0] * 9}}}\n"
        f"projection_matrix: {{rows: 3, cols: 4, data: {p}}}\n"
    )
    assert read_camera(tmp_path / "ost.yaml").at((960, 1280)).fx == 900


@pytest.mark.parametrize(
    "change",
    [
        ("binning_x: 2", "binning_x: two"),
        ("width: 1280", "width: .inf"),
        ("height: 960", "height: [1]"),
        ("k: [1000.0", "k: [.nan"),
        ("k: [1000.0", "k: [x"),
        ("x_offset: 0", "x_offset: [1]"),
        ("---", "depth_scale: 1000\n---"),
    ],
)
def test_a_camera_info_with_odd_values(tmp_path, change):
    (tmp_path / "a.yaml").write_text(ECHO.replace("p: [900.0", "p: [0.0").replace(*change, 1))
    with pytest.raises(InvalidInputError, match="expected"):
        read_camera(tmp_path / "a.yaml")


def test_lists_within_lists_do_not_fill_memory(tmp_path):
    deep = "a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
    deep += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    (tmp_path / "a.yaml").write_text(f"{deep}k: *a11\n")
    (tmp_path / "b.yaml").write_text(f"k: &k [{', '.join(['*k'] * 9)}]\n")
    (tmp_path / "c.yaml").write_text("[" * 50_000)
    for name in "abc":
        with pytest.raises(InvalidInputError, match=rf"{name}\.yaml"):
            read_camera(tmp_path / f"{name}.yaml")


def test_the_cameras_file_may_say_what_its_depth_is_in(tmp_path):
    file, image, depth = tmp_path / "camera.json", np.zeros((2, 3, 3), np.uint8), np.full((2, 3), 5000, "u2")
    file.write_text(json.dumps({"fx": 5, "fy": 5, "cx": 1, "cy": 1, "depth_scale": 0.0002}))
    np.save(tmp_path / "d.npy", depth)
    Image.fromarray(image).save(tmp_path / "a.png")
    camera = read_camera(file)
    assert camera.depth_scale == 0.0002
    for frame in (
        as_frame(image, depth, str(file)),
        as_frame(image, depth, camera),
        read_frame(tmp_path / "a.png", tmp_path / "d.npy", camera),
    ):
        np.testing.assert_allclose(frame.depth_m, 1.0, rtol=1e-6)
    for frame in (  # what is said for the occasion comes first
        as_frame(image, depth, file, depth_scale=0.001),
        read_frame(tmp_path / "a.png", tmp_path / "d.npy", camera, depth_scale=0.001),
    ):
        np.testing.assert_allclose(frame.depth_m, 5.0, rtol=1e-6)
