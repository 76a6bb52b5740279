"""The parts of depth_clusters by themselves: planes, jumps, fragments, edges."""

import numpy as np
import pytest
from proposals_scenes import Box, Cylinder, as_sensed, table, view

from ovseg_ros.core.space import Plane, choose_support, find_planes
from ovseg_ros.proposals.depth import clusters, refine
from ovseg_ros.proposals.depth.fragments import describe, roots

GREY = np.full((80, 80, 3), 128, np.uint8)  # colour tells nothing
FLOOR = Box((0.0, 0.0, -0.80), (8.0, 8.0, 0.02))


def planes_of(frame, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return find_planes(
        frame.depth_m, frame.intrinsics, tolerance_m=0.007, pixel_noise_m=noise, min_support=0.08, rng=rng
    )


def joined(labels, heights, seams=None, image=GREY):
    """Fragments whose label image is itself the view from above, 2 mm a pixel."""
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]]
    feet = np.stack([columns, rows], axis=-1).astype(np.float32) * 0.002
    count = int(labels.max())
    into = roots(count, describe(labels, count, feet, heights, image), seams or {}, reach_px=3)
    return len(np.unique(into[1:]))


def squares(*boxes, shape=(80, 80)):
    labels = np.zeros(shape, np.int32)
    for label, (top, bottom, left, right) in enumerate(boxes, 1):
        labels[top:bottom, left:right] = label
    return labels


@pytest.mark.parametrize("pitch_deg", [15.0, 45.0, 90.0])
def test_the_table_is_found_where_it_is(pitch_deg):
    frame, _ = view([], pitch_deg=pitch_deg, distance=0.9)
    plane = choose_support(planes_of(frame))
    assert plane.distance_m == pytest.approx(0.9 * np.sin(np.radians(pitch_deg)), abs=1e-3)
    normal = -plane.m * plane.distance_m
    np.testing.assert_allclose(
        normal, [0, -np.cos(np.radians(pitch_deg)), -np.sin(np.radians(pitch_deg))], atol=2e-3
    )


def test_of_table_and_floor_the_table_carries():
    frame, _ = view([], ground=(table(0.35, -0.3, 0.3), FLOOR), pitch_deg=35, distance=1.0)
    planes = planes_of(frame)
    assert len(planes) == 2
    assert planes[0].distance_m > 1.1  # the floor shows more pixels
    assert choose_support(planes).distance_m == pytest.approx(np.sin(np.radians(35)), abs=2e-3)


def test_a_wall_ahead_of_a_camera_that_looks_down_carries_nothing():
    wall = Plane(np.array([0.0, -0.5, 0.8]), 0.001, 0.0, 0.2)
    side = Plane(np.array([0.9, 0.1, 0.2]), 0.001, 0.0, 0.9)
    assert choose_support([wall, side]) is None
    assert choose_support([]) is None


def test_a_plane_that_fills_the_view_carries_even_if_it_faces_down_for_the_camera():
    table_from_behind = Plane(np.array([0.0, -0.5, 0.8]), 0.001, 0.0, 0.5)
    floor = Plane(np.array([0.0, 0.5, 0.8]), 0.001, 0.0, 0.1)
    assert choose_support([table_from_behind]) is table_from_behind
    assert choose_support([table_from_behind, floor]) is floor


def test_a_small_level_carries_where_it_is_as_high_as_furniture():
    down = np.array([0.0, 0.6, 0.8])
    floor = Plane(down / 1.3, 0.001, 0.0, 0.5)
    desk = Plane(down / 0.9, 0.001, 0.0, 0.1)  # a fifth of the floor's pixels
    box_top = Plane(down / 1.2, 0.001, 0.0, 0.1)
    assert choose_support([floor, desk]) is desk
    assert choose_support([floor, box_top]) is floor


def test_a_slice_through_many_things_has_little_support():
    heights = np.random.default_rng(0).uniform(0.05, 0.4, 77)
    places = [(x, y) for x in np.linspace(-0.5, 0.5, 11) for y in np.linspace(-0.3, 0.3, 7)]
    posts = [Cylinder((x, y, 0.0), 0.03, height) for (x, y), height in zip(places, heights)]
    frame, instances = view(posts, pitch_deg=30, distance=1.2, size_hw=(480, 640))
    depth = np.where(instances > 0, frame.depth_m, 0).astype(np.float32)  # no table: only sides of posts
    rng = np.random.default_rng(0)
    planes = find_planes(
        depth, frame.intrinsics, tolerance_m=0.03, pixel_noise_m=0.0, min_support=0.05, rng=rng
    )
    level = [plane for plane in planes if plane.up > 0.7]
    assert all(plane.support < 0.05 for plane in level)
    whole, _ = view([], pitch_deg=30, distance=1.2)
    assert choose_support(planes_of(whole)).support > 0.9


def test_heights_and_feet_are_metres_on_and_over_the_plane():
    frame, instances = view([Box((0.0, 0.0, 0.05), (0.2, 0.1, 0.1))], pitch_deg=60)
    plane = choose_support(planes_of(frame))
    heights = plane.heights(frame.depth_m, frame.intrinsics)
    assert heights[instances == 1].max() == pytest.approx(0.1, abs=2e-3)
    assert np.abs(heights[(instances == 0) & (frame.depth_m > 0)]).max() < 2e-3
    feet = plane.feet(frame.depth_m, frame.intrinsics)[instances == 1]
    spans = np.sort([np.ptp(feet @ np.array([np.cos(a), np.sin(a)])) for a in np.radians(range(0, 180, 2))])
    assert spans[0] == pytest.approx(0.1, abs=0.01)  # the narrowest width of its outline


def test_pixel_noise_is_measured_at_one_metre():
    frame, _ = view([], pitch_deg=50)
    assert clusters.pixel_noise(frame.depth_m) < 1e-5
    for sigma in (0.001, 0.003):
        noisy = as_sensed(frame, sigma, quantum_m=1e-5).depth_m
        assert clusters.pixel_noise(noisy) == pytest.approx(sigma, rel=0.15)
    assert clusters.pixel_noise(np.zeros((40, 40), np.float32)) == 0.0


def test_a_slanted_surface_is_no_jump_and_a_step_is():
    columns = np.arange(60, dtype=np.float32)
    slope = np.tile(1.0 / (1.5 - 0.015 * columns), (20, 1)).astype(np.float32)  # 60 degrees and more
    inside = np.ones_like(slope, bool)
    options = {"jump_m": 0.01, "noise_m": 0.0, "focal_px": 300.0}
    assert not clusters.depth_jumps(slope, inside, **options).any()
    step = slope.copy()
    step[:, 30:] += 0.05
    jumps = clusters.depth_jumps(step, inside, **options)
    np.testing.assert_array_equal(np.unique(np.nonzero(jumps)[1]), [30])  # the farther side
    assert not clusters.depth_jumps(step, np.broadcast_to(columns < 30, step.shape), **options).any()


def test_what_stands_within_an_outline_is_joined_and_what_stands_beside_is_not():
    flat = np.zeros((80, 80), np.float32)
    assert joined(squares((10, 60, 10, 60), (20, 50, 20, 50)), flat) == 1
    assert joined(squares((10, 60, 10, 40), (10, 60, 50, 80)), flat) == 2  # 20 mm apart


def test_what_hangs_beside_is_joined_and_what_reaches_the_table_is_not():
    labels = squares((10, 60, 10, 50), (25, 40, 51, 62))
    heights = np.where(labels == 2, np.float32(0.05), np.float32(0.0))
    heights[labels == 1] = np.linspace(0, 0.1, int((labels == 1).sum()), dtype=np.float32)
    assert joined(labels, heights) == 1
    standing = np.where(labels == 2, np.linspace(0, 0.05, 80, dtype=np.float32)[:, None] * 0, heights)
    assert joined(labels, standing) == 2


def test_a_small_piece_that_hangs_far_from_a_thing_of_its_colour_is_its_limb():
    labels = squares((10, 60, 10, 60), (25, 35, 62, 72))
    rows, columns = np.mgrid[:80, :80]
    feet = np.stack([columns, rows], axis=-1).astype(np.float32) * 0.002
    feet[labels == 2] += np.float32((0.03, 0))  # behind, as a spout is
    heights = np.zeros(labels.shape, np.float32)
    heights[labels == 1] = np.linspace(0, 0.1, 2500, dtype=np.float32)

    def pieces(lowest, colour):
        heights[labels == 2] = np.float32(lowest)
        image = GREY.copy()
        image[labels == 2] = colour
        return len(np.unique(roots(2, describe(labels, 2, feet, heights, image), {}, reach_px=3)[1:]))

    assert pieces(0.06, (120, 130, 128)) == 1
    assert pieces(0.06, (200, 130, 128)) == 2  # another colour: a bottle behind
    assert pieces(0.0, (120, 130, 128)) == 2  # it stands on the table itself
    assert pieces(0.2, (120, 130, 128)) == 2  # higher than what would carry it


def test_of_two_a_fragment_joins_the_one_with_the_better_reason():
    labels = squares((10, 40, 10, 30), (25, 75, 31, 45), (10, 40, 46, 79))
    heights = np.where(labels == 2, np.float32(0.05), np.float32(0.0))  # hangs between two that stand
    assert joined(labels, heights) == 2
    assert joined(labels, heights, {(1, 2): 20}) == 2
    assert (
        joined(labels, np.zeros_like(heights), {(1, 2): 2}) == 3
    )  # it stands by itself; a short seam is a neck
    assert joined(labels, np.zeros_like(heights), {(1, 2): 40}) == 2


def test_seams_are_counted_by_pairs():
    labels = np.array([[1, 1, 2], [1, 3, 2], [0, 3, 2]], np.int32)
    assert clusters.seam_lengths(labels) == {(1, 2): 1, (1, 3): 2, (2, 3): 2}
    assert clusters.seam_lengths(np.zeros((3, 3), np.int32)) == {}


def test_no_fragments_and_one():
    assert joined(np.zeros((10, 10), np.int32), np.zeros((10, 10), np.float32)) == 0
    assert joined(squares((2, 8, 2, 8)), np.zeros((80, 80), np.float32)) == 1


def test_a_pans_bottom_within_the_noise_is_filled_and_the_table_through_a_handle_is_not():
    labels = squares((10, 60, 10, 60))
    labels[20:50, 20:50] = 0
    limits = np.full(labels.shape, 0.004, np.float32)
    noise = np.random.default_rng(0).normal(0, 0.0013, labels.shape).astype(np.float32)
    known = np.ones(labels.shape, bool)
    pan = refine.fill_holes(GREY, labels, noise + np.float32(0.002), limits, known)
    assert (pan[20:50, 20:50] == 1).all()
    handle = refine.fill_holes(GREY, labels, noise, limits, known)
    assert (handle[20:50, 20:50] == 0).all()
    behind = refine.fill_holes(GREY, labels, noise + np.float32(0.2), limits, known)
    assert (behind[20:50, 20:50] == 0).all()
    np.testing.assert_array_equal(pan == 0, squares((10, 60, 10, 60)) == 0)


@pytest.mark.parametrize("mouth", [0, 8])
def test_a_glossy_bowl_is_filled_by_its_colour_and_the_table_in_a_ring_is_not(mouth):
    ring = squares((10, 60, 10, 60))
    ring[20:50, 20:50] = 0
    ring[50:, 35 : 35 + mouth] = 0  # the near rim is lost too
    flat, limits = np.zeros(ring.shape, np.float32), np.full(ring.shape, 0.004, np.float32)
    known = np.ones(ring.shape, bool)
    image = np.full((80, 80, 3), (120, 90, 60), np.uint8)
    image[ring > 0] = 240
    table = refine.fill_holes(image, ring, flat, limits, known)
    np.testing.assert_array_equal(table, ring)
    image[10:60, 10:60] = 240
    bowl = refine.fill_holes(image, ring, flat, limits, known)
    assert (bowl[20:50, 20:50] == 1).all()
    assert (bowl[60:] == 0).all()


def test_a_wide_bay_is_not_filled():
    corner = squares((10, 60, 10, 20))
    corner[50:60, 10:60] = 1
    image = np.full((80, 80, 3), 240, np.uint8)
    image[70:] = 60
    flat, limits = np.zeros(corner.shape, np.float32), np.full(corner.shape, 0.004, np.float32)
    filled = refine.fill_holes(image, corner, flat, limits, np.ones(corner.shape, bool))
    np.testing.assert_array_equal(filled, corner)


def test_colour_decides_only_in_the_band_of_doubt():
    labels = squares((20, 60, 20, 60))
    image = np.where(squares((20, 60, 20, 62))[..., None] > 0, 200, 50).astype(np.uint8) * np.ones(
        3, np.uint8
    )
    limits = np.full(labels.shape, 0.002, np.float32)
    heights = np.where(labels > 0, np.float32(0.05), np.float32(0.0))
    known = np.ones(labels.shape, bool)
    kept = refine.refine_edges(image, labels, heights, limits, known, band_px=3)
    np.testing.assert_array_equal(kept, labels)  # depth is sure
    heights[20:60, 60:62] = 0.001
    grown = refine.refine_edges(image, labels, heights, limits, known, band_px=3)
    np.testing.assert_array_equal(grown > 0, image[..., 0] > 100)
    empty = np.zeros_like(labels)
    np.testing.assert_array_equal(refine.refine_edges(image, empty, heights, limits, known, band_px=3), empty)
