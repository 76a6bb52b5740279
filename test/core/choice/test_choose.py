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
    assert choice.decided_from == ("" if text in ("mug", "all mugs", "two mugs") else "depth")


IN_THE_IMAGE_TOO = [
    row for row in RIGHT_ANSWERS if row[0] not in ("the mug near the teapot", "the tallest mug")
]


@pytest.mark.parametrize(("text", "wanted"), IN_THE_IMAGE_TOO, ids=[row[0] for row in IN_THE_IMAGE_TOO])
def test_in_the_image(text, wanted):
    choice = ask(text, without_depth(TABLE))
    assert sorted(choice.indices) == sorted(wanted)
    assert choice.decided_from == ("" if text in ("mug", "all mugs", "two mugs") else "image")


def test_what_is_left_of_the_nearer_of_two_readings_comes_first():
    items = [thing("mug", -0.5, 0.7), thing("mug", -0.2, 0.72), thing("teapot", 0.0, 0.7)]
    assert ask("the mug left of the teapot", items).indices == (1, 0)


def test_the_anchor_is_the_one_of_the_best_answer():
    # A handle that came apart from the pot looks like a teapot too, left of all mugs.
    items = [
        thing("mug", -0.2, 0.7),
        thing("teapot", 0.1, 0.7, score=0.6),
        thing("teapot", -0.5, 0.7, score=0.2),
    ]
    assert ask("how many mugs are right of the teapot", items).indices == (0,)
    items[0] = thing("mug", 0.3, 0.7)
    assert ask("the mug right of the teapot", items).indices == (0,)


@pytest.mark.parametrize(
    ("text", "count", "why"),
    [
        ("the mug left of the kettle", 0, "no kettle was found that the mug could be left of"),
        ("the kettle left of the mug", 0, "no kettle was found"),
        ("the teapot in front of the plate", 0, "no teapot of 1 is in front of the plate"),
        ("the fifth mug from the left", 0, "there are 3 mug, too few for the fifth leftmost"),
        ("four mugs", 3, "mugs: 3 found, 4 wanted"),
        ("two teapots", 1, "teapots: 1 found, 2 wanted"),
        ("the mug nearest the kettle", 0, "no kettle was found to measure from"),
        ("the bowl between the teapots", 0, "there are no two teapots that the bowl could be between"),
        ("how many kettles", 0, "no kettles was found"),
    ],
)
def test_why_there_is_nothing(text, count, why):
    choice = ask(text, TABLE)
    assert (choice.indices, choice.found, choice.count) == ((), False, count)
    assert choice.reason.startswith(why)


def test_it_says_what_it_went_by():
    assert ask("the left mug", TABLE).reason == "leftmost mug: 1 found, decided from depth"
    flat = ask("the nearest mug", without_depth(TABLE))
    assert flat.reason == (
        "nearest mug: 1 found, decided from the image: what reaches further down in it was taken for nearer"
    )
    mixed = [*TABLE[:2], without_depth(TABLE)[2], *TABLE[3:]]
    assert ask("the left mug", mixed).reason.endswith(
        "decided from the image, as 1 of 3 things have no depth"
    )
    assert ask("the left egg", mixed).decided_from == "depth"  # the mug without depth is not asked for
    assert ask("mug", TABLE).reason == ""


def test_several_wishes_alternate_the_best_first():
    choice = ask("mugs right of the teapot, the egg in the bowl, spoon", TABLE)
    assert choice.indices == (1, 6, 2)
    assert (choice.count, choice.decided_from) == (3, "depth")
    assert "no spoon was found" in choice.reason


def test_a_red_mug_is_a_mug_and_no_mug_is_a_red_one():
    items = [thing("red mug", -0.2, 0.7), thing("mug", 0.2, 0.7)]
    assert ask("the left mug", items).indices == (0,)
    assert ask("the left red mug", items).indices == (0,)
    assert ask("how many mugs", items).count == 2


def test_two_masks_of_one_thing_are_one_thing():
    whole, part = np.zeros(SIZE_HW, bool), np.zeros(SIZE_HW, bool)
    whole[100:200, 100:200], part[120:180, 150:210] = True, True
    other = np.zeros(SIZE_HW, bool)
    other[100:200, 300:400] = True
    items = [
        Item("mug", 0.6, (100, 100, 200, 200), mask=whole),
        Item("mug", 0.2, (150, 120, 210, 180), mask=part),
        Item("mug", 0.4, (300, 100, 400, 200), mask=other),
    ]
    assert ask("how many mugs", items).count == 2
    assert ask("the second mug from the left", items).indices == (2,)
    assert ask("two mugs", items).indices == (0, 2)


def test_what_may_be_no_answer_may_still_be_related_to():
    allowed = [item.label != "teapot" for item in TABLE]
    assert ask("the mug left of the teapot", TABLE, allowed=allowed).indices == (0,)
    choice = ask("teapot", TABLE, allowed=allowed)
    assert (choice.indices, choice.reason) == ((), "no teapot was found within the limits of the request")


def test_the_two_readings_of_a_chain():
    items = [thing("mug", -0.4, 0.5), thing("box", -0.2, 0.5), thing("teapot", 0.1, 0.5)]
    assert ask("the mug left of the box left of the teapot", items).indices == (0,)
    # No box is left of the teapot; a mug near the box is.
    items = [thing("mug", -0.14, 0.52), thing("box", 0.02, 0.5), thing("teapot", 0.0, 0.8)]
    assert ask("the mug near the box left of the teapot", items).indices == (0,)


def test_one_teapot_is_one_for_all_mugs():
    items = [thing("mug", 0.3, 0.7), thing("mug", -0.2, 0.7)]
    items += [thing("teapot", 0.1, 0.7, score=0.6), thing("teapot", -0.5, 0.7, score=0.2)]
    assert ask("the mug right of the teapot", items).indices == (0,)
    assert set(ask("the mug right of the teapots", items).indices) == {0, 1}  # of any of them


def test_directions_go_by_the_line_of_sight():
    # Far to the right, what is further away on the same line is behind, as the picture shows it.
    items = [thing("teapot", 0.6, 0.6), thing("mug", 0.9, 0.9)]
    assert ask("the mug behind the teapot", items).indices == (1,)
    assert not ask("the mug right of the teapot", items).found


def test_what_is_in_a_deep_bowl_is_not_on_it():
    items = [
        thing("bowl", 0.0, 0.7, size=(0.2, 0.2, 0.2)),
        thing("egg", 0.0, 0.7, size=(0.05, 0.05, 0.06), above=0.02),
    ]
    assert ask("the egg in the bowl", items).found
    assert not ask("the egg on the bowl", items).found


def test_above_and_below():
    shelf = thing("shelf", 0.0, 0.9, size=(0.6, 0.2, 0.02), above=0.4)
    high, low = thing("mug", 0.1, 0.9, above=0.42), thing("mug", 0.1, 0.9)
    assert ask("the mug above the shelf", [shelf, high, low]).indices == (1,)
    assert ask("the mug below the shelf", [shelf, high, low]).indices == (2,)
    assert ask("the mug on the shelf", [shelf, high, low]).indices == (1,)
    table = thing("table", 0.0, 0.9, size=(0.8, 0.6, 0.5))
    assert ask("the ball under the table", [table, thing("ball", 0.1, 0.9)]).indices == (1,)


def test_a_rolled_camera_is_no_matter_in_space():
    turn = math.radians(30)
    roll = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
    items = []
    for item in TABLE:
        solid = item.solid
        turned = Object3d(
            roll @ solid.centroid_m,
            solid.covariance_m2,
            roll @ solid.centre_m,
            roll @ solid.rotation,
            solid.size_m,
            solid.distance_m,
        )
        items.append(Item(item.label, item.score, item.box_xyxy, turned))
    for text, wanted in RIGHT_ANSWERS:
        if text != "the mugs on the left":  # which half of the image is the image's
            assert sorted(ask(text, items).indices) == sorted(wanted), text


def test_nothing_at_all():
    assert ask("the mug left of the teapot", []) == Choice((), 0, "", "no mug was found")
    assert ask("mug", []) == Choice((), 0, "", "no mug was found")
    assert choose((), [], size_hw=SIZE_HW) == Choice((), 0, "", "")
