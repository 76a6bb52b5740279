"""What an answer has to keep to."""

import math

import numpy as np
import pytest

from ovseg_ros.core.choice import Item, Limits
from ovseg_ros.core.space import Object3d
from ovseg_ros.errors import InvalidInputError


def at(x: float, y: float, z: float, size: float = 0.2) -> Object3d:
    middle = np.array([x, y, z], np.float64)
    sides = np.array([size, size / 2, size / 4])
    return Object3d(middle, np.eye(3) * 1e-6, middle, np.eye(3), sides, float(np.linalg.norm(middle)))


MUG = Item("mug", 0.5, (100, 50, 140, 90), at(0.0, 0.0, 0.8))
FLAT = Item("mug", 0.5, (100, 50, 140, 90))


def test_none_keeps_all():
    assert Limits().are_none
    assert Limits().keeps(MUG)
    assert Limits().keeps(FLAT)
    assert Limits(region=(5, 5, 0, 0)).are_none  # no room: all of the image


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        (Limits(region=(110, 60, 20, 20)), True),
        (Limits(region=(120, 70, 1, 1)), True),  # the middle of the box
        (Limits(region=(121, 70, 50, 50)), False),
        (Limits(region=(0, 0, 120, 480)), False),
        (Limits(distance_m=(0.5, 1.0)), True),
        (Limits(distance_m=(0.9, 0.0)), False),
        (Limits(distance_m=(0.0, 0.7)), False),
        (Limits(size_m=(0.1, 0.2)), True),
        (Limits(size_m=(0.21, 0.0)), False),
        (Limits(size_m=(0.0, 0.19)), False),
        (Limits(box_m=((-0.1, -0.1, 0.7), (0.1, 0.1, 0.9))), True),
        (Limits(box_m=((0.1, 0.1, 0.9), (-0.1, -0.1, 0.7))), True),  # any two opposite corners
        (Limits(box_m=((0.1, -0.1, 0.7), (0.2, 0.1, 0.9))), False),
        (Limits(region=(110, 60, 20, 20), distance_m=(0.0, 0.5)), False),
    ],
)
def test_each_limit(limits, kept):
    assert limits.keeps(MUG) is kept
    assert not limits.are_none
    assert limits.keeps(FLAT) is (kept and not limits.needs_depth)


def test_the_box_is_in_the_frame_of_the_thing():
    limits = Limits(box_m=((0.9, -0.1, 0.0), (1.1, 0.1, 0.2)))
    assert not limits.keeps(MUG)
    assert limits.keeps(MUG, at(1.0, 0.0, 0.1))  # the same thing in the robot's frame


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"distance_m": (math.nan, 0.0)}, "finite"),
        ({"distance_m": (0.0, math.inf)}, "finite"),
        ({"size_m": (-0.1, 0.0)}, "at least 0"),
        ({"size_m": (0.3, 0.2)}, "least size not above the most"),
        ({"region": (-1, 0, 5, 5)}, "region"),
        ({"box_m": ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))}, "flat along z"),
        ({"box_m": ((0.0, math.nan, 0.0), (1.0, 1.0, 1.0))}, "finite corners"),
    ],
)
def test_limits_that_cannot_be(numbers, why):
    with pytest.raises(InvalidInputError, match=why):
        Limits(**numbers)
