"""Back-projection against the pinhole formula, and boxes that ignore flying pixels."""

import numpy as np
import pytest

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.core.geometry import back_project, box_3d
from ovseg_ros.errors import InvalidInputError

CAMERA = CameraIntrinsics(fx=50.0, fy=40.0, cx=3.5, cy=2.0, width=8, height=5)


def test_back_projection_against_a_loop():
    depth = np.random.default_rng(0).uniform(0.5, 3.0, (5, 8)).astype(np.float32)
    points = back_project(depth, CAMERA)
    assert (points.shape, points.dtype) == ((5, 8, 3), np.float32)
    for v in range(5):
        for u in range(8):
            z = float(depth[v, u])
            np.testing.assert_allclose(points[v, u], [(u - 3.5) * z / 50, (v - 2) * z / 40, z], atol=1e-6)


def test_unknown_depth_is_nan():
    depth = np.ones((5, 8), dtype=np.float32)
    depth[0, :4] = [0.0, np.nan, np.inf, -1.0]
    points = back_project(depth, CAMERA)
    assert np.isnan(points[0, :4]).all()
    assert np.isfinite(points[0, 4:]).all()
    assert np.isfinite(points[1:]).all()


def test_sizes_must_agree():
    with pytest.raises(InvalidInputError, match="camera_info"):
        back_project(np.ones((5, 9), dtype=np.float32), CAMERA)


def test_box_of_a_clean_cloud_is_tight():
    rng = np.random.default_rng(0)
    points = rng.uniform([-1, 0, 2], [1, 0.5, 2.2], (5000, 3))
    centre, size = box_3d(points)
    np.testing.assert_allclose(centre, [0, 0.25, 2.1], atol=0.005)
    np.testing.assert_allclose(size, [2, 0.5, 0.2], atol=0.005)


def test_flying_pixels_do_not_stretch_the_box():
    points = np.random.default_rng(0).uniform([0, 0, 1], [0.2, 0.2, 1.2], (1000, 3))
    points[:15, 2] = 4.0
    points[15:25, 0] = np.nan
    centre, size = box_3d(points)
    np.testing.assert_allclose(centre, [0.1, 0.1, 1.1], atol=0.01)
    np.testing.assert_allclose(size, [0.2, 0.2, 0.2], atol=0.01)


def test_one_point_and_none():
    centre, size = box_3d(np.array([[1.0, 2.0, 3.0]], dtype=np.float32))
    assert (centre.tolist(), size.tolist()) == ([1, 2, 3], [0, 0, 0])
    for points in (np.zeros((0, 3)), np.full((4, 3), np.nan), np.zeros((4, 2))):
        with pytest.raises(InvalidInputError, match="want"):
            box_3d(points)
