"""Which absent words are asked."""

from __future__ import annotations

import pytest

from ovseg_ros.evaluate.naming import far_words, near_words, one_to_one
from ovseg_ros.evaluate.naming.absent import CONFUSED, TAKEN_FOR

COCO = tuple(dict.fromkeys(word for group in CONFUSED for word in group))


def test_near_is_what_a_thing_is_taken_for():
    assert "vase" in near_words("teapot")
    assert near_words("no such word") == ()
    assert near_words("cup", COCO) == ("bottle", "wine glass", "fork", "knife", "spoon", "bowl")
    assert near_words("cup", ("fork", "dog")) == ("fork",)
    assert near_words("x", ("x", "y", "z"), [("x", "y")]) == ("y",)


def test_far_is_neither_there_nor_near():
    far = far_words(["cup", "dog"], COCO)
    assert not set(far) & {"cup", "dog", "cat", "fork", "giraffe"}
    assert {"airplane", "couch", "pizza"} <= set(far)


def test_the_tables_hold_together():
    assert len(COCO) == 80
    for word, near in TAKEN_FOR.items():
        assert word not in near
        assert len(set(near)) == len(near)


@pytest.mark.parametrize("present", [["cup"], ["cup", "dog"], ["cup", "dog", "chair", "tv", "person"]])
def test_as_many_absent_words_as_present_ones(present):
    in_view = {*present, "fork"}
    asked = one_to_one(present, in_view, COCO, "seed")
    words = [one.word for one in asked]
    absent = [one for one in asked if one.kind != "present"]
    assert [one.word for one in asked if one.kind == "present"] == present
    assert len(absent) == len(present) == len(set(words)) - len(present)
    assert not {one.word for one in absent} & in_view
    near = {other for word in in_view for other in near_words(word, COCO)}
    assert all((one.word in near) == (one.kind == "near") for one in absent)
    assert sum(one.kind == "near" for one in absent) == (len(present) + 1) // 2
    assert asked == one_to_one(present, in_view, COCO, "seed")


def test_another_picture_has_other_words():
    present = ["cup", "dog", "chair"]
    assert one_to_one(present, present, COCO, "a") != one_to_one(present, present, COCO, "b")


def test_where_words_run_out():
    assert [one.kind for one in one_to_one(["x"], ["x"], ["x"], "s")] == ["present"]
    both = one_to_one(["x", "y"], ["x", "y"], ["x", "y", "z"], "s", [("x", "z")])
    assert [one.kind for one in both] == ["present", "present", "near"]
    far = one_to_one(["x", "y"], ["x", "y"], ["x", "y", "v", "w"], "s")
    assert [one.kind for one in far] == ["present", "present", "far", "far"]
    near = one_to_one(["x", "y"], ["x", "y"], ["x", "y", "v", "w"], "s", [("x", "v", "w")])
    assert [one.kind for one in near][2:] == ["near", "near"]
    assert one_to_one([], [], COCO, "s") == []
