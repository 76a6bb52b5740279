"""Which pixels of a mask are points of the thing, against a loop over them."""

import numpy as np
import pytest
from camera_oracles import back_project
from space_scenes import CAMERA, parts_of

from ovseg_ros.core.space import object_points
from ovseg_ros.core.space.points import axial_noise_m, look

SHAPE = (240, 320)


def square(rows=(100, 140), columns=(100, 150)):
    mask = np.zeros(SHAPE, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def points_slowly(depth, mask):
    """Pixels whose four neighbours are in the mask, and that do not jump away from both of a pair."""
    cloud, found = back_project(depth, CAMERA), []
    for v, u in np.argwhere(mask):
        z = depth[v, u]
        jump = 8 * z / CAMERA.fx + 4 * axial_noise_m(z)
        left, right, above, below = depth[v, u - 1], depth[v, u + 1], depth[v - 1, u], depth[v + 1, u]
        far = [not abs(other - z) < jump for other in (left, right, above, below)]
        eroded = not (mask[v, u - 1] and mask[v, u + 1] and mask[v - 1, u] and mask[v + 1, u])
        if z > 0 and not eroded and not (far[0] and far[1]) and not (far[2] and far[3]):
            found.append(cloud[v, u])
    return np.array(found)


def test_against_a_loop():
    rng = np.random.default_rng(0)
    depth = (1.0 + 0.002 * rng.standard_normal(SHAPE)).astype(np.float32)
    depth[:, :100] = 2.0
    mask = square((100, 130), (96, 136))  # a strip of it is on the wall
    depth[rng.random(SHAPE) < 0.02] = 0.0
    flying = (rng.random(SHAPE) < 0.03) & mask & (depth > 0)
    depth[flying] = 1.5
    found = object_points(depth, CAMERA, mask, *parts_of([mask]))
    assert found.dtype == np.float32
    assert found.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(found, points_slowly(depth, mask), atol=1e-6)


def test_flying_pixels_between_a_thing_and_the_wall_are_no_points():
    depth = np.full(SHAPE, 2.0, np.float32)
    depth[100:140, 100:150] = 1.0
    depth[100:140, 98:100] = (1.7, 1.3)  # smeared over two pixels, as time of flight does
    depth[98:100, 100:150] = np.array([[1.7], [1.3]])
    mask = square((98, 140), (98, 150))
    z = object_points(depth, CAMERA, mask, *parts_of([mask]))[:, 2]
    assert len(z) > 900  # every second column is looked at
    assert set(z.tolist()) <= {1.0}


@pytest.mark.parametrize(
    ("rows", "columns"), [((100, 220), (160, 162)), ((120, 121), (20, 300)), ((7, 8), (9, 10))]
)
def test_thin_things_keep_their_points(rows, columns):
    depth = np.full(SHAPE, 2.0, np.float32)
    mask = square(rows, columns)
    depth[mask] = 1.0
    found = object_points(depth, CAMERA, mask, *parts_of([mask]))
    assert len(found) == mask.sum()
    assert (found[:, 2] == 1.0).all()


def test_a_large_mask_is_sampled_evenly():
    depth = np.full(SHAPE, 1.0, np.float32)
    mask = np.ones(SHAPE, bool)
    found = object_points(depth, CAMERA, mask, *parts_of([mask]))
    assert 1000 < len(found) <= 2300
    np.testing.assert_allclose(found.mean(axis=0), [0, 0, 1], atol=0.01)
    np.testing.assert_allclose(np.ptp(found, axis=0)[:2], [319 / 300, 239 / 300], atol=0.05)


def test_known_depth_is_found_where_the_sample_misses_it():
    depth = np.zeros(SHAPE, np.float32)
    depth[151, 201] = 1.5
    mask = np.ones(SHAPE, bool)
    np.testing.assert_allclose(
        object_points(depth, CAMERA, mask, *parts_of([mask])),
        [[(201 - 159.5) / 200, (151 - 119.5) / 200, 1.5]],
    )


def test_masks_at_the_images_edge_have_points_there():
    depth = np.full(SHAPE, 1.0, np.float32)
    for rows, columns in (((0, 20), (0, 20)), ((220, 240), (300, 320))):
        mask = square(rows, columns)
        (found,) = look(depth, CAMERA, [mask], parts_of([mask]))
        assert found.points.shape == (3, 400)
        assert found.inner.sum() == 19 * 19  # nothing says that the thing ends with the image


def test_masks_looked_at_together_are_as_each_alone():
    rng = np.random.default_rng(3)
    depth = (1.5 + 0.1 * rng.random(SHAPE)).astype(np.float32)
    depth[rng.random(SHAPE) < 0.05] = 0.0
    depth[:40, :40] = 0.0
    masks = [square((60, 200), (50, 300)), square((0, 40), (0, 40)), square((100, 101), (100, 108))]
    for together, mask, part in zip(
        look(depth, CAMERA, masks, parts_of(masks), 500), masks, parts_of(masks), strict=True
    ):
        (alone,) = look(depth, CAMERA, [mask], [part], 500)
        assert (together is None) == (alone is None) == (mask is masks[1])
        if alone is not None:
            np.testing.assert_array_equal(together.points, alone.points)
            np.testing.assert_array_equal(together.inner, alone.inner)
            assert together.steps == alone.steps
