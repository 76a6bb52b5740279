"""Back-projection against the pinhole formula, and boxes that ignore flying pixels."""

import numpy as np
import pytest

from ovseg_ros.core.camera.geometry import back_project, box_3d, mask_boxes_3d, write_cloud
from ovseg_ros.core.frame import CameraIntrinsics
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


LARGE = CameraIntrinsics(fx=500.0, fy=480.0, cx=199.5, cy=150.2, width=400, height=300)


def ellipse(size_hw, centre, half):
    """A mask and the rows and columns of its box."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    mask = ((y - centre[0]) / half[0]) ** 2 + ((x - centre[1]) / half[1]) ** 2 <= 1
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask, (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))


@pytest.mark.parametrize("half", [(12, 20), (3, 2), (0.5, 0.5)])
def test_a_small_mask_has_the_box_of_all_its_points(half):
    rng = np.random.default_rng(1)
    depth = (1.0 + 0.1 * rng.random((300, 400))).astype(np.float32)
    depth[rng.random(depth.shape) < 0.1] = 0.0
    depth[150, 200] = 1.05
    depth[149, 199] = 9.0
    mask, part = ellipse((300, 400), (150, 200), half)
    ((centre, size),) = mask_boxes_3d(depth, LARGE, [mask], [part])
    want_centre, want_size = box_3d(back_project(depth, LARGE)[mask])
    np.testing.assert_allclose(centre, want_centre, atol=1e-5)
    np.testing.assert_allclose(size, want_size, atol=1e-5)


def test_a_large_mask_is_sampled_and_short_by_little():
    depth = np.full((300, 400), 2.0, np.float32)
    mask, part = ellipse((300, 400), (150, 200), (120, 150))
    ((centre, size),) = mask_boxes_3d(depth, LARGE, [mask], [part])
    want_centre, want_size = box_3d(back_project(depth, LARGE)[mask])
    pixel_m = 2.0 / 480
    np.testing.assert_allclose(centre, want_centre, atol=3 * pixel_m)
    np.testing.assert_allclose(size, want_size, atol=6 * pixel_m)


def test_known_depth_is_found_where_the_sample_misses_it():
    depth = np.zeros((300, 400), np.float32)
    mask, part = ellipse((300, 400), (150, 200), (120, 150))
    depth[151, 201] = 1.5
    ((centre, size),) = mask_boxes_3d(depth, LARGE, [mask], [part])
    assert centre[2] == pytest.approx(1.5)
    assert size.tolist() == [0, 0, 0]
    depth[151, 201] = np.inf
    assert mask_boxes_3d(depth, LARGE, [mask], [part]) == [None]


def test_several_masks_at_once():
    rng = np.random.default_rng(3)
    depth = rng.uniform(1, 1.1, (300, 400)).astype(np.float32)
    depth[100:140, 300:380] = 0
    depth[40, 60] = 9.0  # flies off, in the second
    masks, parts = zip(
        *[
            ellipse((300, 400), centre, half)
            for centre, half in [
                ((150, 200), (60, 90)),
                ((40, 60), (12, 20)),
                ((120, 340), (9, 9)),
                ((200, 90), (3, 2)),
            ]
        ],
        strict=True,
    )
    together = mask_boxes_3d(depth, LARGE, masks, parts)
    assert together[2] is None
    for mask, part, box in zip(masks, parts, together, strict=True):
        (alone,) = mask_boxes_3d(depth, LARGE, [mask], [part])
        np.testing.assert_equal(alone, box)
    assert together[1][1][2] < 0.2
    assert mask_boxes_3d(depth, LARGE, [], []) == []


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
