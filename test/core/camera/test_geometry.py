"""Clouds and boxes against the pinhole formula, and boxes that ignore flying pixels."""

import numpy as np
import pytest
from camera_oracles import back_project

from ovseg_ros.core.camera.geometry import mask_boxes_3d, write_cloud
from ovseg_ros.core.frame import CameraIntrinsics


def box_3d(points):
    """As documented, with NumPy's percentiles: centre and size of (M, 3) points."""
    finite = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    low, high = np.percentile(finite, (2, 98), axis=0)
    margin = 0.1 * (high - low)
    inside = ((finite >= low - margin) & (finite <= high + margin)).all(axis=1)
    kept = finite[inside] if inside.any() else finite
    return (kept.min(axis=0) + kept.max(axis=0)) / 2, np.ptp(kept, axis=0)


def test_back_projection_against_a_loop():
    camera = CameraIntrinsics(fx=50.0, fy=40.0, cx=3.5, cy=2.0, width=8, height=5)
    depth = np.random.default_rng(0).uniform(0.5, 3.0, (5, 8)).astype(np.float32)
    points = back_project(depth, camera)
    for v in range(5):
        for u in range(8):
            z = float(depth[v, u])
            np.testing.assert_allclose(points[v, u], [(u - 3.5) * z / 50, (v - 2) * z / 40, z], atol=1e-6)


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
