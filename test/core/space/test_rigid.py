"""Rigid motions, quaternions and what a thing in space must be."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from space_scenes import about

from ovseg_ros.core.space import Object3d, Rigid, quaternion_xyzw
from ovseg_ros.errors import InvalidInputError


def thing(**changed):
    fields = {
        "centroid_m": (0.1, 0.2, 1.0),
        "covariance_m2": np.diag([1e-6, 2e-6, 9e-6]),
        "centre_m": (0.1, 0.25, 1.1),
        "rotation": about("y", 30),
        "size_m": (0.3, 0.2, 0.1),
        "distance_m": 1.03,
    }
    return Object3d(**(fields | changed))


def motion(seed):
    rng = np.random.default_rng(seed)
    return Rigid(Rotation.random(random_state=seed).as_matrix(), rng.normal(size=3))


@pytest.mark.parametrize("seed", range(3))
def test_a_thing_moves_as_its_points_do(seed):
    move, before = motion(seed), thing()
    after = move.of_object(before)
    np.testing.assert_allclose(after.corners(), move.of_points(before.corners()), atol=1e-12)
    np.testing.assert_allclose(after.centroid_m, move.of_points(before.centroid_m[None])[0])
    np.testing.assert_allclose(after.size_m, before.size_m)
    assert after.distance_m == before.distance_m  # the camera's, wherever the frame is
    samples = np.random.default_rng(0).multivariate_normal(before.centroid_m, before.covariance_m2, 20000)
    np.testing.assert_allclose(np.cov(move.of_points(samples).T), after.covariance_m2, atol=4e-7)


def test_corners_are_those_of_the_box():
    corners = thing(rotation=np.eye(3)).corners()
    np.testing.assert_allclose(corners.min(axis=0), [0.1 - 0.15, 0.25 - 0.1, 1.1 - 0.05])
    np.testing.assert_allclose(corners.max(axis=0), [0.1 + 0.15, 0.25 + 0.1, 1.1 + 0.05])
    assert len(np.unique(corners.round(9), axis=0)) == 8


def test_points_keep_their_type_and_may_be_none():
    move = motion(1)
    points = np.random.default_rng(2).random((5, 3)).astype(np.float32)
    moved = move.of_points(points)
    assert moved.dtype == np.float32
    for before, after in zip(points, moved, strict=True):
        np.testing.assert_allclose(move.rotation @ before + move.translation_m, after, atol=1e-6)
    assert move.of_points(np.zeros((0, 3), np.float32)).shape == (0, 3)


def test_motions_one_after_another_and_back():
    first, second, points = motion(3), motion(4), np.random.default_rng(5).normal(size=(6, 3))
    both = second.after(first)
    np.testing.assert_allclose(both.of_points(points), second.of_points(first.of_points(points)), atol=1e-12)
    np.testing.assert_allclose(first.inverse().of_points(first.of_points(points)), points, atol=1e-12)


def test_what_is_known_cannot_be_written_to():
    given = np.zeros(3)
    kept = thing(centre_m=given)
    given[0] = 9.0
    assert kept.centre_m[0] == 0.0
    for array in (kept.centroid_m, kept.covariance_m2, kept.centre_m, kept.rotation, kept.size_m):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("centroid_m", (1, 2)),
        ("size_m", (1, np.nan, 2)),
        ("covariance_m2", np.eye(2)),
        ("centre_m", [[1, 2, 3]]),
    ],
)
def test_other_shapes_are_refused(field, value):
    with pytest.raises(InvalidInputError, match=f"expected {field} of shape"):
        thing(**{field: value})


@pytest.mark.parametrize("wrong", [np.diag([1.0, 1.0, -1.0]), 2 * np.eye(3), np.zeros((3, 3))])
def test_what_is_no_rotation_is_refused(wrong):
    for make in (
        lambda: thing(rotation=wrong),
        lambda: Rigid(wrong, np.zeros(3)),
        lambda: quaternion_xyzw(wrong),
    ):
        with pytest.raises(InvalidInputError, match="expected a rotation matrix"):
            make()


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("angle_deg", [0, 35, 90, 180, 250, 359])
def test_quaternions_are_half_angles_about_the_axis(axis, angle_deg):
    found = quaternion_xyzw(about(axis, angle_deg))
    half = np.radians(angle_deg) / 2
    want = np.append(np.sin(half) * np.eye(3)["xyz".index(axis)], np.cos(half))
    want = want if want[3] >= 0 else -want
    assert found[3] >= 0
    assert np.linalg.norm(found) == pytest.approx(1.0)
    np.testing.assert_allclose(abs(found @ want), 1.0)  # at half a turn both signs are right


@pytest.mark.parametrize("seed", range(20))
def test_quaternions_are_scipys(seed):
    rotation = Rotation.random(random_state=seed).as_matrix()
    want = Rotation.from_matrix(rotation).as_quat(canonical=True)
    np.testing.assert_allclose(quaternion_xyzw(rotation), want, atol=1e-12)
    np.testing.assert_allclose(thing(rotation=rotation).quaternion_xyzw, want, atol=1e-12)
