"""Depth cameras' faults on arrays small enough to work out by hand."""

import numpy as np
import pytest

from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees
from ovseg_ros.learn.tabletop.sensors import (
    SENSORS,
    Surface,
    faults,
    kinect1,
    kinect2,
    realsense_filtered,
    surfaces,
)

FOCAL_PX = 600.0


def step(near_m, far_m=0.84, width=120, start=40, stop=80):
    """(60, width) a near upright strip before a far wall."""
    depth = np.full((60, width), far_m, np.float32)
    depth[:, start:stop] = near_m
    return depth


def test_a_device_on_the_right_throws_a_shadow_on_the_left_as_wide_as_the_disparity_step():
    depth = step(0.5, 1.0)
    hidden = faults.shadow(depth, FOCAL_PX, 0.0108)  # 6.48 px / z: a step of 6.48 pixels
    assert np.flatnonzero(hidden[0]).tolist() == list(range(34, 40))
    mirrored = faults.shadow(depth, FOCAL_PX, -0.0108)
    assert np.flatnonzero(mirrored[0]).tolist() == list(range(80, 86))
    assert not faults.shadow(np.full((4, 9), 1.0, np.float32), FOCAL_PX, 0.05).any()


def test_recursive_averaging_keeps_large_steps_and_ramps_small_ones():
    values = np.zeros((1, 8), np.float32)
    values[0] = [0, 1, 1, 1, 2, 2, 2, 9]
    smooth = faults.edge_preserving(values, alpha=0.5, delta=1.5, rounds=1)
    there = [1, 1, 1, 1.5, 1.75, 1.875]  # columns 1 to 6, from left to right
    back = there.copy()
    for n in range(4, -1, -1):
        back[n] = 0.5 * there[n] + 0.5 * back[n + 1]
    assert smooth[0, 0] == 0
    assert smooth[0, 1:7] == pytest.approx(back)
    assert smooth[0, 7] == 9
    upright = faults.edge_preserving(np.ascontiguousarray(values.T), alpha=0.5, delta=1.5, rounds=1)
    assert np.array_equal(upright.T, smooth)


def test_short_unknown_runs_take_the_smaller_end():
    values = np.array([[0, 5, 0, 0, 3, 0, 0, 0, 7, 0]], np.float32)
    assert faults.fill_runs(values, 2).tolist() == [[0, 5, 3, 3, 3, 0, 0, 0, 7, 0]]


def test_flying_pixels_lie_between_and_some_are_dropped():
    got = faults.flying_pixels(step(0.5, 1.0), np.random.default_rng(0), dropped=0.5)
    edge = got[:, [39, 40, 79, 80]]
    assert 0.3 < (edge == 0).mean() < 0.7
    between = edge[edge > 0]
    assert between.min() >= 0.5
    assert between.max() <= 1
    assert np.ptp(between) > 0.3
    assert np.array_equal(got[:, 41:79], np.full((60, 38), 0.5, np.float32))


def test_frayed_edges_move_by_about_the_given_pixels():
    got = faults.frayed(step(0.5, 1.0), 0.8, np.random.default_rng(0))
    assert set(np.unique(got)) == {np.float32(0.5), np.float32(1.0)}
    near = (got == 0.5).sum(axis=1)
    assert near.std() > 0.4
    assert np.array_equal(got[:, 50:70], step(0.5, 1.0)[:, 50:70])


def test_a_slanted_plane_faces_away_by_its_angle():
    angle = np.radians(60)
    x = (np.arange(81, dtype=np.float32) - 40) / FOCAL_PX
    depth = np.broadcast_to(1 / (np.cos(angle) + np.sin(angle) * x), (61, 81)).astype(np.float32)
    got = surfaces.facing(depth, FOCAL_PX)
    assert got[30, 40] == pytest.approx(np.cos(angle), abs=0.003)
    assert surfaces.facing(np.full((9, 9), 1.0, np.float32), FOCAL_PX)[4, 4] == pytest.approx(1)


@pytest.mark.parametrize("material", [Surface.GLOSSY, Surface.DARK, Surface.TRANSPARENT])
def test_what_no_light_comes_back_from_has_holes(material):
    depth = step(1.2, 2.0)
    kinds = np.where(depth < 2, material, Surface.MATT).astype(np.uint8)
    got = surfaces.without_returns(depth, depth, FOCAL_PX, np.random.default_rng(0), kinds)
    thing = kinds == material
    assert (got[thing] == 0).mean() > 0.3
    assert np.array_equal(got[~thing], depth[~thing])
    if material == Surface.TRANSPARENT:
        assert set(np.unique(got[thing])) == {0, 2}  # nothing, or what is behind
        assert (got[thing] == 2).mean() == pytest.approx(0.35, abs=0.02)


def test_a_mirroring_table_has_a_halo_of_5_to_20_pixels():
    depth = np.full((120, 160), 1.0, np.float32)
    kinds = np.full(depth.shape, Surface.MIRRORING, np.uint8)
    kinds[50:70, 70:90] = Surface.MATT
    got = surfaces.without_returns(depth, depth, FOCAL_PX, np.random.default_rng(0), kinds)
    assert (got[50:70, 70:90] == 1).all()
    assert (got[46:50, 70:90] == 0).all()
    assert (got[70:74, 70:90] == 0).all()
    assert (got[:29] == 1).all()
    assert 0 < (got[50:70, 52:66] == 0).mean() < 1


def test_a_filtered_realsense_makes_ramps_of_small_jumps_and_keeps_large_ones():
    got = realsense_filtered(step(0.763), 613.0, np.random.default_rng(0))
    right = got[30, 70:95]
    assert ((right > 0.768) & (right < 0.835)).sum() >= 6  # metres: neither near nor far
    assert np.abs(np.diff(right)).max() < 0.02
    assert 0 in got[30, 30:40]  # the left side lies in the imagers' shadow
    sharp = realsense_filtered(step(0.55), 613.0, np.random.default_rng(0))[30, 70:95]
    assert ((sharp > 0.56) & (sharp < 0.83)).sum() == 0
    inner = got[:, 50:70] * 1000
    assert np.array_equal(inner, np.round(inner))
    assert np.abs(np.diff(inner, n=2, axis=1)).max() <= 2  # no noise from pixel to pixel


def test_a_kinect_1_steps_by_the_square_of_the_distance_and_has_shadows_on_both_sides():
    for z, step_m in ((1.0, 0.0028), (2.0, 0.0111)):
        flat = np.full((80, 80), z, np.float32)
        levels = np.unique(kinect1(flat, FOCAL_PX, np.random.default_rng(0)))
        assert np.diff(levels).mean() == pytest.approx(step_m, abs=0.0006)
    got = kinect1(step(0.6, 1.0), FOCAL_PX, np.random.default_rng(0))
    left, right = (got[:, 15:40] == 0).sum(axis=1).mean(), (got[:, 80:105] == 0).sum(axis=1).mean()
    assert left == pytest.approx(20, abs=3)  # 600 px * 0.05 m * (1/0.6 - 1/1)
    assert right == pytest.approx(10, abs=3)
    assert not kinect1(np.full((9, 9), 0.4, np.float32), FOCAL_PX, np.random.default_rng(0)).any()


def test_a_kinect_2_is_finer_and_noisier_off_its_axis():
    got = kinect2(np.full((424, 512), 1.0, np.float32), 365.0, np.random.default_rng(0))
    middle, corner = got[180:240, 220:290].std(), got[:40, :40].std()
    assert middle == pytest.approx(0.0012, rel=0.1)
    assert corner > 1.5 * middle


@pytest.mark.parametrize("name", SENSORS)
def test_every_sensor_repeats_itself_and_keeps_size_and_type(name):
    depth = step(0.7)
    kinds = np.where(depth < 0.8, Surface.GLOSSY, Surface.MATT).astype(np.uint8)
    first, again = (SENSORS[name](depth, FOCAL_PX, np.random.default_rng(5), kinds) for _ in range(2))
    assert np.array_equal(first, again)
    assert first.dtype == np.float32
    assert first.shape == depth.shape
    assert first.min() >= 0
    assert np.isfinite(first).all()


def test_the_default_sensor_is_the_one_of_the_training_data():
    depth = step(0.7)
    ours = SENSORS["active_stereo"](depth, FOCAL_PX, np.random.default_rng(5))
    assert np.array_equal(ours, as_a_sensor_sees(depth, np.random.default_rng(5)))
