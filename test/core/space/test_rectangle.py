"""The direction of the smallest rectangle, against trying every angle."""

import numpy as np
import pytest

from ovseg_ros.core.space.rectangle import best_angle


def area_at(points, angle):
    cos, sin = np.cos(angle), np.sin(angle)
    return np.ptp(np.array([[cos, sin], [-sin, cos]]) @ points, axis=1).prod()


def turned(points, angle_deg):
    cos, sin = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return (np.array([[cos, -sin], [sin, cos]]) @ points).astype(np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_no_angle_has_a_smaller_rectangle(seed):
    rng = np.random.default_rng(seed)
    points = turned(rng.normal(size=(2, 60)) * [[0.3], [0.05]], rng.uniform(0, 180))
    every = [area_at(points, angle) for angle in np.linspace(0, np.pi / 2, 2000)]
    assert area_at(points, best_angle(points)) <= 1.04 * min(every) + 1e-9


@pytest.mark.parametrize("angle_deg", [0, 20, 44, 70])
def test_the_two_visible_sides_of_a_box_are_its_sides(angle_deg):
    along = np.linspace(0, 1, 100)
    corner = np.concatenate([[0.3 * along, 0 * along], [0 * along, 0.2 * along]], axis=1)
    found = np.degrees(best_angle(turned(corner, angle_deg)))  # the rectangle on the diagonal is as small
    assert min((found - angle_deg) % 90, (angle_deg - found) % 90) < 0.5


def test_round_things_lie_as_they_are_seen():
    around = np.linspace(0, 2 * np.pi, 200)
    disc = np.stack([np.cos(around), np.sin(around)]).astype(np.float32)
    assert best_angle(disc) == 0.0
    assert best_angle(turned(disc * [[1.0], [1.02]], 30)) == 0.0


def test_one_point_and_a_line_have_a_direction():
    assert best_angle(np.array([[0.1], [0.2]], np.float32)) == 0.0
    line = turned(np.stack([np.linspace(0, 1, 9), np.zeros(9)]), 25)
    assert np.degrees(best_angle(line)) % 180 == pytest.approx(25, abs=0.01)
