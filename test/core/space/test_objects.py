"""Boxes and centroids of things whose pose is known, seen from cameras of many poses."""

import cv2
import numpy as np
import pytest
from camera_oracles import back_project
from proposals_scenes import Box, Cylinder, Sphere, table
from space_scenes import CAMERA, TABLE, Turned, about, box_iou, camera_at, parts_of, render, up_of

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


@pytest.mark.parametrize("pitch_deg", [30, 50])
def test_the_hidden_half_of_a_bottle_is_in_its_box(pitch_deg):
    pose = camera_at(pitch_deg)
    (found,) = seen([Cylinder((0.0, 0.0, 0.0), 0.04, 0.22)], pose, sigma_m=0.001)
    np.testing.assert_allclose(found.size_m, [0.08, 0.08, 0.22], atol=0.01)
    np.testing.assert_allclose(found.centre_m, pose.of_points(np.array([[0, 0, 0.11]]))[0], atol=0.006)


def test_some_of_the_hidden_half_of_a_ball_is_in_its_box():
    (found,) = seen([Sphere((0.0, 0.0, 0.0), 0.08)], camera_at(5), ground=())
    assert 0.10 < found.size_m[1] <= 0.16  # 0.087 of it shows
    np.testing.assert_allclose(found.size_m[[0, 2]], [0.16, 0.16], atol=0.01)


def test_a_width_is_not_short_by_the_pixels_left_out():
    found = seen([Cylinder((0.0, 0.0, 0.0), 0.15, 0.2)], camera_at(40))[0]
    assert found.size_m[0] == pytest.approx(0.3, abs=0.003)  # as many millimetres as a pixel


def test_a_surface_far_behind_a_thing_does_not_carry_it():
    lamp, shelf = Cylinder((0.0, 0.0, 0.15), 0.06, 0.08), Box((0.0, 0.35, 0.06), (0.6, 0.2, 0.12))
    (found,) = seen([lamp], camera_at(25, distance_m=1.2), ground=(*TABLE, shelf))
    assert found.size_m[2] == pytest.approx(0.08, abs=0.012)


@pytest.mark.parametrize("yaw_deg", [30, 50])
def test_the_hidden_sides_of_a_carton_seen_from_its_own_height(yaw_deg):
    pose = camera_at(0, distance_m=1.0)  # its top is no pixel
    carton = Box((0.0, 0.0, 0.0), (0.2, 0.12, 0.2))
    (found,) = seen([Turned(carton, yaw_deg)], pose, ground=())
    assert box_iou((found.centre_m, found.rotation, found.size_m), true_box(carton, yaw_deg, pose)) > 0.85


def test_a_cupboard_seen_from_the_front_is_as_deep_as_its_front():
    (found,) = seen([Box((0.0, 0.1, 0.0), (0.4, 0.2, 0.5))], camera_at(0, distance_m=1.5), ground=())
    np.testing.assert_allclose(found.size_m, [0.4, 0.0, 0.5], atol=0.02)


def test_a_pan_is_not_mirrored_by_its_handle():
    pan = Turned(Cylinder((-0.1, 0.0, 0.0), 0.09, 0.05), 60)
    handle = Turned(Box((0.07, 0.0, 0.04), (0.18, 0.02, 0.015)), 60)
    pose = camera_at(40)
    depth, instances = render([pan, handle], pose)
    mask = instances > 0
    (found,) = objects_3d(depth, CAMERA, [mask], parts_of([mask]), up=up_of(pose))
    around = np.radians(range(360))
    outline = np.stack([0.09 * np.cos(around) - 0.1, 0.09 * np.sin(around)], axis=1)
    corners = [[x, y] for x in (-0.02, 0.16) for y in (-0.01, 0.01)]
    _, sides, _ = cv2.minAreaRect(np.concatenate([outline, corners]).astype(np.float32))
    np.testing.assert_allclose(found.size_m, [*sorted(sides, reverse=True), 0.05], atol=0.012)


def test_what_hides_a_things_foot_hides_no_height():
    """The lower edge of a bowl is off the table: the box reaches down to it."""
    pose = camera_at(40)
    cut = Cylinder((0.0, 0.0, 0.02), 0.06, 0.08)
    (found,) = seen([cut], pose)
    assert found.size_m[2] == pytest.approx(0.10, abs=0.004)


@pytest.mark.parametrize("height_m", [0.15, 0.25])
def test_what_hangs_does_not_stand(height_m):
    lamp = Cylinder((0.0, 0.0, height_m), 0.06, 0.08)
    (found,) = seen([lamp], camera_at(25, distance_m=1.2))
    assert found.size_m[2] == pytest.approx(0.08, abs=0.015)


def test_on_a_shelf_the_shelf_carries_and_not_the_floor():
    shelf = Box((0.0, 0.05, -0.01), (0.9, 0.3, 0.02))
    floor, wall = table(3.0, -3.0, 3.0), Box((0.0, 0.4, 0.0), (3.0, 0.02, 3.0))
    floor = Box((0.0, 0.0, -0.9), floor.size)
    pose = camera_at(20, distance_m=1.2)
    (found,) = seen([Cylinder((0.0, 0.05, 0.015), 0.05, 0.1)], pose, ground=(shelf, floor, wall))
    bottom = pose.rotation.T @ (found.centre_m - pose.translation_m) @ [0, 0, 1] - found.size_m[2] / 2
    assert bottom == pytest.approx(0.0, abs=0.004)


def test_a_picture_on_a_wall_is_flat_and_upright():
    wall = Box((0.0, 0.52, 0.0), (4.0, 0.04, 4.0))
    picture = Box((0.05, 0.49, 0.1), (0.4, 0.02, 0.3))
    pose = camera_at(10, distance_m=1.3)
    (found,) = seen([picture], pose, ground=(wall,))
    np.testing.assert_allclose(found.size_m, [0.4, 0.0, 0.3], atol=0.02)
    assert found.rotation[:, 2] @ up_of(pose) == pytest.approx(1.0)


def test_a_tilted_thing_is_in_an_upright_box():
    tilted = Turned(Box((0.0, 0.0, 0.12), (0.3, 0.04, 0.04)), 0, tilt_deg=0)
    leaning = Turned(Box((0.0, 0.0, 0.0), (0.04, 0.3, 0.04)), 0, tilt_deg=40)
    pose = camera_at(20, azimuth_deg=90)
    (found,) = seen([leaning], pose, ground=())
    rise, run = 0.3 * np.sin(np.radians(40)), 0.3 * np.cos(np.radians(40))
    assert found.size_m[2] == pytest.approx(rise + 0.04 * np.cos(np.radians(40)), abs=0.02)
    assert found.size_m[0] == pytest.approx(run + 0.04 * np.sin(np.radians(40)), abs=0.02)
    (level,) = seen([tilted], pose, ground=())
    assert level.size_m[2] == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize("roll_deg", [15, -40, 90])
def test_a_turned_camera_sees_the_same_box(roll_deg):
    things = [Turned(CARTON, 25)]
    (level,), (rolled,) = (seen(things, camera_at(40, roll_deg=roll)) for roll in (0, roll_deg))
    np.testing.assert_allclose(rolled.size_m, level.size_m, atol=0.008)
    np.testing.assert_allclose(rolled.centre_m, about("z", roll_deg) @ level.centre_m, atol=0.006)
    np.testing.assert_allclose(rolled.centroid_m, about("z", roll_deg) @ level.centroid_m, atol=0.003)
    assert rolled.distance_m == pytest.approx(level.distance_m, abs=0.003)


def test_boxes_are_as_promised():
    rng = np.random.default_rng(5)
    pose = camera_at(45)
    for yaw_deg in rng.uniform(0, 360, 6):
        (found,) = seen([Turned(CARTON, yaw_deg)], pose, sigma_m=0.002)
        assert found.size_m[0] >= found.size_m[1]
        assert np.linalg.det(found.rotation) == pytest.approx(1.0)
        np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)
        assert found.distance_m == pytest.approx(np.linalg.norm(found.centroid_m))


def test_the_centroid_is_the_middle_of_what_shows():
    pose = camera_at(40)
    depth, instances = render([CARTON], pose)
    mask = instances == 1
    truth = back_project(depth, CAMERA)[mask].mean(axis=0)
    noisy, _ = render([CARTON], pose, sigma_m=0.003)
    (found,) = objects_3d(noisy, CAMERA, [mask], parts_of([mask]), up=up_of(pose))
    np.testing.assert_allclose(found.centroid_m, truth, atol=0.003)


def test_a_mask_that_spills_onto_the_wall_moves_nothing():
    pose = camera_at(30)
    wall = Box((0.0, 0.9, 0.0), (4.0, 0.04, 4.0))
    depth, instances = render([CARTON], pose, ground=(*TABLE, wall))
    mask = instances == 1
    (clean,) = objects_3d(depth, CAMERA, [mask], parts_of([mask]), up=up_of(pose))
    spilt, top = mask.copy(), np.flatnonzero(mask.any(axis=1))[0]
    column = int(np.flatnonzero(mask.any(axis=0)).mean())
    depth[top - 12 : top - 4, column : column + 10] = 1.8
    spilt[top - 12 : top - 4, column : column + 10] = True
    (found,) = objects_3d(depth, CAMERA, [spilt], parts_of([spilt]), up=up_of(pose))
    np.testing.assert_allclose(found.size_m, clean.size_m, atol=0.01)
    np.testing.assert_allclose(found.centroid_m, clean.centroid_m, atol=0.002)


def test_a_mask_that_spills_onto_the_table_makes_the_box_no_wider():
    pose = camera_at(50)
    depth, instances = render([CARTON], pose, sigma_m=0.001)
    mask = cv2.dilate((instances == 1).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    (found,) = objects_3d(depth, CAMERA, [mask], parts_of([mask]), up=up_of(pose))
    np.testing.assert_allclose(found.size_m, [0.16, 0.08, 0.12], atol=0.02)


def test_uncertainty_grows_with_distance_and_shrinks_with_pixels():
    deviations = []
    for distance_m in (0.6, 1.2, 2.4, 4.8):
        (found,) = seen([CARTON], camera_at(40, distance_m=distance_m))
        covariance = found.covariance_m2
        np.testing.assert_allclose(covariance, covariance.T)
        values, axes = np.linalg.eigh(covariance)
        assert (values > 0).all()
        deviations.append(np.sqrt(values))
    assert (np.diff(np.array(deviations)[:, 2]) > 0).all()
    ray = found.centroid_m / found.distance_m
    assert abs(axes[:, 2] @ ray) > 0.9  # far off, noise along the ray is most of it
    large, small = (np.zeros((240, 320), bool) for _ in range(2))
    large[80:160, 100:220] = small[110:130, 150:170] = True
    wall = np.full((240, 320), 2.0, np.float32)
    of_large, of_small = objects_3d(wall, CAMERA, [large, small], parts_of([large, small]))
    assert of_large.covariance_m2[2, 2] < of_small.covariance_m2[2, 2]


@pytest.mark.parametrize("pixels", [1, 2])
def test_a_pixel_or_two_have_a_place(pixels):
    depth = np.full((240, 320), 1.0, np.float32)
    mask = np.zeros((240, 320), bool)
    mask[100, 150 : 150 + pixels] = True
    (found,) = objects_3d(depth, CAMERA, [mask], parts_of([mask]), up=(0, -1, 0))
    assert found.centroid_m[2] == pytest.approx(1.0)
    assert (pixels - 1) / 300 - 1e-6 < found.size_m[0] <= pixels / 300 + 1e-6
    assert np.isfinite(found.covariance_m2).all()


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
        with pytest.raises(InvalidInputError, match="expected up as a direction"):
            objects_3d(np.ones((240, 320), np.float32), CAMERA, [mask], parts_of([mask]), up=wrong)


@pytest.mark.parametrize(("pitch_deg", "roll_deg"), [(25, 0), (40, 20), (60, -30), (88, 0)])
def test_up_is_the_tables_normal(pitch_deg, roll_deg):
    pose = camera_at(pitch_deg, roll_deg=roll_deg)
    depth, _ = render([CARTON, Cylinder((-0.2, 0.1, 0.0), 0.04, 0.15)], pose, sigma_m=0.001)
    up = find_up(depth, CAMERA)
    assert up @ up_of(pose) > np.cos(np.radians(1.0))
    assert np.array_equal(up, find_up(depth, CAMERA))


def test_up_is_the_same_whatever_says_that_depth_is_unknown():
    depth, _ = render([CARTON], camera_at(40), sigma_m=0.001)
    unknown = np.random.default_rng(1).random(depth.shape) < 0.2
    depth[unknown] = 0.0
    want = find_up(depth, CAMERA)
    for value in (np.nan, np.inf, -1.0):
        depth[unknown] = value
        np.testing.assert_array_equal(find_up(depth, CAMERA), want)


@pytest.mark.parametrize(("distance_m", "table"), [(0.8, True), (2.5, False)])
def test_what_faces_the_camera_is_a_table_within_reach_and_a_wall_beyond(distance_m, table):
    up = find_up(np.full((240, 320), distance_m, np.float32), CAMERA)
    if table:
        np.testing.assert_allclose(up, [0, 0, -1], atol=1e-6)
    else:
        assert up is None
        mask = np.zeros((240, 320), bool)
        mask[100:140, 100:150] = True
        (found,) = objects_3d(np.full((240, 320), distance_m, np.float32), CAMERA, [mask], parts_of([mask]))
        assert found.rotation[:, 2] == pytest.approx((0, -1, 0))
