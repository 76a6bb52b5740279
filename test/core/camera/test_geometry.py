"""Clouds against the pinhole formula."""

import numpy as np
import pytest
from camera_oracles import back_project

from ovseg_ros.core.camera.geometry import write_cloud
from ovseg_ros.core.frame import CameraIntrinsics


def test_back_projection_against_a_loop():
    camera = CameraIntrinsics(fx=50.0, fy=40.0, cx=3.5, cy=2.0, width=8, height=5)
    depth = np.random.default_rng(0).uniform(0.5, 3.0, (5, 8)).astype(np.float32)
    points = back_project(depth, camera)
    for v in range(5):
        for u in range(8):
            z = float(depth[v, u])
            np.testing.assert_allclose(points[v, u], [(u - 3.5) * z / 50, (v - 2) * z / 40, z], atol=1e-6)


LARGE = CameraIntrinsics(fx=500.0, fy=480.0, cx=199.5, cy=150.2, width=400, height=300)


@pytest.mark.parametrize(
    "unknown", [[0.0], [np.nan], [0.0, np.inf], [0.0, -1.0, -0.0], [0.0, np.inf, -1.0, np.nan]]
)
def test_the_cloud_against_back_projection(unknown):
    rng = np.random.default_rng(2)
    depth = rng.random((300, 400)).astype(np.float32)
    holes = rng.random(depth.shape) < 0.1
    depth[holes] = rng.choice(np.array(unknown, np.float32), int(holes.sum()))
    image = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    labels = rng.integers(0, 256, (300, 400), dtype=np.uint8)
    instances = rng.integers(0, 65536, (300, 400), dtype=np.uint16)
    cloud = np.zeros((300, 400, 5), np.float32)
    write_cloud(cloud, depth, LARGE, image, labels, instances)
    np.testing.assert_array_equal(cloud[..., :3], back_project(depth, LARGE))
    red, green, blue = (image[..., i].astype(np.uint32) for i in range(3))
    np.testing.assert_array_equal(cloud.view(np.uint32)[..., 3], red << 16 | green << 8 | blue)
    np.testing.assert_array_equal(cloud.view(np.uint16)[..., 8], labels)
    np.testing.assert_array_equal(cloud.view(np.uint16)[..., 9], instances)
