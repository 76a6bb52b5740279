"""Depth that a sensor has smoothed: steps that became ramps, and what must not be taken for one."""

import cv2
import numpy as np
import pytest
from proposals_scenes import Box, Cylinder, as_sensed, best_ious, view

from ovseg_ros.core.frame import Frame
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters
from ovseg_ros.proposals.depth.ramps import sharpen

OPTIONS = {"jump_m": 0.01, "noise_m": 0.0, "focal_px": 600.0}


def step(width=640, at=300, near=0.8, far=0.86):
    return np.tile(np.where(np.arange(width) < at, near, far).astype(np.float32), (40, 1))


def smoothed(depth, width=9):
    return cv2.blur(depth, (width, 1), borderType=cv2.BORDER_REPLICATE)


def in_front(depth):
    return depth < 0.85


@pytest.mark.parametrize("turned", [False, True])
def test_a_ramp_becomes_a_step_again(turned):
    sharp = step(480, 200)
    ramp = smoothed(sharp)
    square = np.tile(ramp[:1], (480, 1))
    if turned:
        square = np.ascontiguousarray(square.T)
    out, smooths = sharpen(square, in_front(square), **OPTIONS)
    truth = np.tile(sharp[:1], (480, 1))
    truth = truth.T if turned else truth
    assert smooths
    assert np.abs(square - truth).max() > 0.02
    assert (np.abs(out - truth) > 0.008).mean() < 0.5 * (np.abs(square - truth) > 0.008).mean()
    between = (out > 0.81) & (out < 0.85)
    assert between.sum() == 0


def test_a_sharp_step_a_slope_and_a_gap_stay_as_they_are():
    columns = np.arange(640, dtype=np.float32)
    slope = np.tile(1 / (1.25 - 0.0012 * columns), (40, 1)).astype(np.float32)  # seen at a grazing angle
    gap = step()
    gap[:, 296:304] = 0
    for depth in (step(), slope, gap, np.zeros((40, 640), np.float32)):
        out, smooths = sharpen(depth, np.ones(depth.shape, bool), **OPTIONS)
        np.testing.assert_array_equal(out, depth)
        assert not smooths


def test_a_ramp_between_parts_of_the_plane_stays():
    ramp = smoothed(step())
    out, _ = sharpen(ramp, np.zeros(ramp.shape, bool), **OPTIONS)
    np.testing.assert_array_equal(out, ramp)


def test_things_one_before_another_are_cut_though_the_sensor_smooths():
    things = [Box((-0.02, -0.06, 0.06), (0.08, 0.04, 0.12)), Box((0.03, 0.02, 0.08), (0.16, 0.05, 0.16))]
    frame, instances = view(things, size_hw=(480, 640), pitch_deg=40, distance=0.8)
    depth = cv2.blur(as_sensed(frame, 0.0005).depth_m, (9, 9))
    known = cv2.erode((frame.depth_m > 0).astype(np.uint8), np.ones((9, 9))) > 0
    blurred = Frame(frame.image_rgb, np.where(known, depth, 0).astype(np.float32), frame.intrinsics)
    masks = DepthClusters().propose(blurred).masks.numpy()
    assert min(best_ious(masks, instances)) > 0.8


def test_a_round_thing_loses_nothing():
    frame, instances = view([Cylinder((0.0, 0.0, 0.0), 0.05, 0.1)], size_hw=(480, 640))
    assert best_ious(DepthClusters().propose(frame).masks.numpy(), instances)[0] > 0.97
