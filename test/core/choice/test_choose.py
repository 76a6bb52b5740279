"""Which of several things is meant, on tables laid by hand."""

import math

import numpy as np
import pytest

from ovseg_ros.core.choice import Choice, Item, choose, parse_request
from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space import Object3d

CAMERA = CameraIntrinsics(500.0, 500.0, 320.0, 240.0, 640, 480)
SIZE_HW = (480, 640)
PITCH = math.radians(35)  # the camera looks down at the table
UP = np.array([0.0, -math.cos(PITCH), -math.sin(PITCH)])
AHEAD = np.array([0.0, -math.sin(PITCH), math.cos(PITCH)])
RIGHT = np.array([1.0, 0.0, 0.0])
HEIGHT_M = 0.6  # of the camera above the table


def thing(
    label: str,
    right: float,
    ahead: float,
    *,
    size: tuple[float, float, float] = (0.08, 0.08, 0.1),
    above: float = 0.0,
    score: float = 0.5,
    deep: bool = True,
) -> Item:
    """A box on the table (or `above` it) as the camera sees it: metres right of and ahead of the camera."""
    x, y, z = size
    centre = right * RIGHT + ahead * AHEAD + (above + z / 2 - HEIGHT_M) * UP
    rotation = np.stack([RIGHT, AHEAD, UP], axis=1)
    corners = np.array([[i, j, k] for i in (-x, x) for j in (-y, y) for k in (-z, z)]) / 2
    seen = corners @ rotation.T + centre
    u = CAMERA.fx * seen[:, 0] / seen[:, 2] + CAMERA.cx
    v = CAMERA.fy * seen[:, 1] / seen[:, 2] + CAMERA.cy
    box = (round(u.min()), round(v.min()), round(u.max()), round(v.max()))
    distance = float(np.linalg.norm(centre))
    solid = Object3d(centre, np.eye(3) * 1e-6, centre, rotation, np.array(size), distance)
    return Item(label, score, box, solid if deep else None)


def without_depth(items: list[Item]) -> list[Item]:
    return [Item(item.label, item.score, item.box_xyxy) for item in items]


def ask(text: str, items: list[Item], **options) -> Choice:
    return choose(parse_request(text), items, size_hw=SIZE_HW, **options)


PLATE = (0.24, 0.24, 0.02)
BOWL = (0.18, 0.18, 0.08)
TABLE = [
    thing("mug", -0.30, 0.70),  # 0
    thing("mug", 0.05, 0.60, size=(0.10, 0.10, 0.13), score=0.6),  # 1: the largest, the likeliest
    thing("mug", 0.32, 0.95, score=0.4),  # 2: the farthest
    thing("teapot", -0.12, 0.75, size=(0.18, 0.14, 0.15)),  # 3
    thing("plate", 0.05, 0.60, size=PLATE),  # 4: under mug 1
    thing("bowl", 0.30, 0.60, size=BOWL),  # 5
    thing("egg", 0.30, 0.60, size=(0.05, 0.05, 0.06), above=0.01),  # 6: in the bowl
    thing("egg", -0.02, 0.45, size=(0.05, 0.05, 0.05)),  # 7: on the table
]
TABLE[1] = thing("mug", 0.05, 0.60, size=(0.10, 0.10, 0.13), above=0.02, score=0.6)

RIGHT_ANSWERS = [
    ("the mug left of the teapot", [0]),
    ("mugs right of the teapot", [1, 2]),
    ("how many mugs are right of the teapot", [1, 2]),
    ("the left mug", [0]),
    ("the right mug", [2]),
    ("the second mug from the left", [1]),
    ("the second mug from the right", [1]),
    ("the last mug", [2]),
    ("the mug in the middle", [1]),
    ("the nearest mug", [1]),
    ("the farthest mug", [2]),
    ("the largest mug", [1]),
    ("the tallest mug", [1]),
    ("the mug on the plate", [1]),
    ("the egg in the bowl", [6]),
    ("the egg nearest the bowl", [6]),
    ("the egg farthest from the bowl", [7]),
    ("the mug behind the bowl", [2]),
    ("the egg in front of the plate", [7]),
    ("the mug near the teapot", [0, 1]),
    ("the plate between the teapot and the bowl", [4]),
    ("the mug on the plate right of the teapot", [1]),
    ("the mug left of the bowl and on the plate", [1]),
    ("two mugs", [1, 0]),
    ("all mugs", [1, 0, 2]),
    ("the mugs on the left", [0]),
    ("the mug larger than the egg", [1, 0, 2]),
    ("mug", [1, 0, 2]),
]


@pytest.mark.parametrize(("text", "wanted"), RIGHT_ANSWERS, ids=[row[0] for row in RIGHT_ANSWERS])
def test_in_space(text, wanted):
    choice = ask(text, TABLE)
    assert list(choice.indices) == wanted or sorted(choice.indices) == wanted
    assert choice.count == len(wanted) or text == "two mugs"
    assert choice.decided_from == ("" if text in ("mug", "all mugs") else "depth")


IN_THE_IMAGE_TOO = [
    row for row in RIGHT_ANSWERS if row[0] not in ("the mug near the teapot", "the tallest mug")
]


@pytest.mark.parametrize(("text", "wanted"), IN_THE_IMAGE_TOO, ids=[row[0] for row in IN_THE_IMAGE_TOO])
def test_in_the_image(text, wanted):
    choice = ask(text, without_depth(TABLE))
    assert sorted(choice.indices) == sorted(wanted)
    assert choice.decided_from == ("" if text in ("mug", "all mugs") else "image")
