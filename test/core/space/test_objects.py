"""Boxes and centroids of things whose pose is known, seen from cameras of many poses."""

import numpy as np
import pytest
from proposals_scenes import Box, Cylinder
from space_scenes import CAMERA, Turned, about, box_iou, camera_at, parts_of, render, up_of

from ovseg_ros.core.space import find_up, object_points, objects_3d
from ovseg_ros.errors import InvalidInputError

CARTON = Box((0.05, 0.02, 0.06), (0.16, 0.08, 0.12))


def seen(things, pose, **how):
    """What is made of each thing that shows, with up as it truly is unless told otherwise."""
    up = how.pop("up", up_of(pose))
    depth, instances = render(things, pose, **how)
    masks = [instances == i + 1 for i in range(len(things))]
    return objects_3d(depth, how.get("camera", CAMERA), masks, parts_of(masks), up=up)


def true_box(box, yaw_deg, pose):
    """Centre, rotation and size of a turned box in the camera's frame."""
    rotation = pose.rotation @ about("z", yaw_deg)
    return rotation @ np.array(box.centre) + pose.translation_m, rotation, np.array(box.size)


@pytest.mark.parametrize("yaw_deg", [0, 17, 45, 100])
@pytest.mark.parametrize(("pitch_deg", "sigma_m"), [(20, 0.0), (40, 0.0015), (65, 0.0015)])
def test_a_box_on_a_table(yaw_deg, pitch_deg, sigma_m):
    pose = camera_at(pitch_deg)
    (found,) = seen([Turned(CARTON, yaw_deg)], pose, sigma_m=sigma_m)
    truth = true_box(CARTON, yaw_deg, pose)
    assert box_iou((found.centre_m, found.rotation, found.size_m), truth) > 0.8
    np.testing.assert_allclose(found.size_m, [0.16, 0.08, 0.12], atol=0.012)
    assert abs(found.rotation[:, 2] @ up_of(pose)) == pytest.approx(1.0)
    assert abs(found.rotation[:, 0] @ truth[1][:, 0]) > np.cos(np.radians(4))


def test_nothing_is_known_without_depth():
    mask = np.zeros((240, 320), bool)
    mask[100:140, 100:150] = True
    part = (slice(100, 140), slice(100, 150))
    for unknown in (0.0, np.nan, np.inf, -1.0):
        depth = np.full((240, 320), unknown, np.float32)
        assert objects_3d(depth, CAMERA, [mask], [part]) == [None]
        assert object_points(depth, CAMERA, mask, part).shape == (0, 3)
        assert find_up(depth, CAMERA) is None
    assert objects_3d(depth, CAMERA, [], []) == []


def test_up_must_be_a_direction():
    mask = np.ones((240, 320), bool)
    for wrong in ((0, 0, 0), (0, 1), (np.nan, 0, 1)):
        with pytest.raises(InvalidInputError, match="want up as a direction"):
            objects_3d(np.ones((240, 320), np.float32), CAMERA, [mask], parts_of([mask]), up=wrong)


@pytest.mark.parametrize(("pitch_deg", "roll_deg"), [(25, 0), (40, 20), (60, -30), (88, 0)])
def test_up_is_the_tables_normal(pitch_deg, roll_deg):
    pose = camera_at(pitch_deg, roll_deg=roll_deg)
    depth, _ = render([CARTON, Cylinder((-0.2, 0.1, 0.0), 0.04, 0.15)], pose, sigma_m=0.001)
    up = find_up(depth, CAMERA)
    assert up @ up_of(pose) > np.cos(np.radians(1.0))
    assert np.array_equal(up, find_up(depth, CAMERA))
