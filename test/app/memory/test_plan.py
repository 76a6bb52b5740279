"""Which way is up, outlines to scale, and what the paper shows."""

from __future__ import annotations

import numpy as np
import pytest
from memory_entries import entry
from scipy.spatial.transform import Rotation

from ovseg_ros.app.memory.plan import extent_of, grid_step, outline, paper_of


def upright(up: np.ndarray) -> np.ndarray:
    """A quaternion that turns z to `up`."""
    return Rotation.align_vectors([up], [[0.0, 0.0, 1.0]])[0].as_quat()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_top_view_is_seen_from_above(axis, sign):
    up = sign * np.eye(3)[axis]
    paper = paper_of([entry(i, orientation=upright(up)) for i in range(3)])
    right, away = (one[1] * np.eye(3)[one[0]] for one in (paper.right, paper.away))
    np.testing.assert_array_equal(np.cross(right, away), up)


def test_a_map_has_x_to_the_right_and_a_camera_looks_up_the_paper():
    assert paper_of([entry(0, orientation=[0, 0, 0, 1])]).right == (0, 1)
    assert paper_of([entry(0, orientation=[0, 0, 0, 1])]).away == (1, 1)
    camera = paper_of([entry(0, orientation=upright(np.array([0.0, -1.0, 0.0])))])
    assert (camera.right, camera.away) == ((0, 1), (2, 1))  # x right, z away


def test_an_outline_is_the_turned_box_to_scale():
    turn = Rotation.from_euler("z", 30, degrees=True)
    one = entry(0, position=[1, 2, 3], size=[0.4, 0.2, 9.0], orientation=turn.as_quat())
    corners = outline(one, paper_of([one]))
    wanted = np.array([1, 2]) + turn.apply([[x, y, 0] for x in (-0.2, 0.2) for y in (-0.1, 0.1)])[:, :2]
    assert len(corners) == 4
    order = np.lexsort(corners.T.round(9)), np.lexsort(wanted.T.round(9))
    np.testing.assert_allclose(corners[order[0]], wanted[order[1]], atol=1e-12)


def test_what_is_as_thin_as_a_line_has_an_outline():
    one = entry(0, position=[0, 0, 0], size=[0.4, 0.0, 0.0], orientation=[0, 0, 0, 1])
    np.testing.assert_allclose(sorted(outline(one, paper_of([one])).tolist()), [[-0.2, 0], [0.2, 0]])


def test_the_origin_is_shown_where_it_is_near():
    near, far = np.array([[0.5, 0.5], [2.0, 1.0]]), np.array([[50.0, 50.0], [52.0, 51.0]])
    extent, with_origin = extent_of([near])
    assert with_origin
    assert (extent[0] < 0).all()
    extent, with_origin = extent_of([far])
    assert not with_origin
    assert (extent[0] < far[0]).all()
    assert (extent[1] > far[1]).all()
    assert (extent[0] > 49).all()


@pytest.mark.parametrize(("side", "step"), [(0.7, 0.1), (2.4, 0.2), (5.0, 0.5), (11.0, 1.0), (100.0, 10.0)])
def test_a_grid_of_round_metres_with_few_lines(side, step):
    assert grid_step(np.array([[0.0, 0.0], [side, side / 2]])) == step
