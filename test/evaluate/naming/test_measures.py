"""Figures of names: hand-worked cases, and loops over everything on random trials."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.evaluate.naming import Answer, NamedMask, answer_figures, mask_figures
from ovseg_ros.evaluate.naming.measures import f1_of


def mask(best, score=0.9, named=True, truth=(), thing=-1) -> NamedMask:
    return NamedMask(best, score, named, truth, thing)


def test_a_hand_worked_table():
    # a cup with two masks named rightly, a jug named cup, a bowl without a label, a bowl without a mask
    masks = [
        mask("cup", 0.9, truth=("cup",), thing=0),
        mask("cup", 0.8, truth=("cup",), thing=0),
        mask("cup", 0.7, truth=("jug",), thing=1),
        mask("bowl", 0.3, named=False, truth=("bowl",), thing=2),
        mask("bowl", 0.6),  # of nothing
    ]
    found = mask_figures(masks, {0: "cup", 1: "jug", 2: "bowl", 3: "bowl"})
    assert (found.masks, found.named, found.objects, found.matched) == (5, 4, 4, 4)
    assert found.precision == 2 / 4
    assert found.recall == 1 / 4  # two masks of one cup find one cup
    assert found.f1 == pytest.approx(1 / 3)
    assert found.top1 == 3 / 4
    assert found.top1_mean == pytest.approx((1.0 + 0.0 + 1.0) / 3)
    assert found.per_word["cup"] == {"objects": 1, "found": 1, "named": 3, "right": 2, "top1": 1.0}
    assert found.per_word["bowl"] == {"objects": 2, "found": 0, "named": 1, "right": 0, "top1": 1.0}
    assert found.per_word["jug"]["top1"] == 0.0
    assert found.calibration.count == 4


def test_any_word_of_an_object_is_right():
    found = mask_figures([mask("mug", truth=("cup", "mug"), thing=0)], {0: "cup"})
    assert (found.precision, found.recall, found.top1) == (1.0, 1.0, 1.0)
    assert found.per_word["cup"]["found"] == 1


def test_an_object_too_small_may_be_named_and_is_not_missed():
    found = mask_figures([mask("cup", truth=("cup",), thing=-1)], {})
    assert (found.precision, found.recall, found.objects, found.matched) == (1.0, None, 0, 0)


def test_nothing_tried_is_neither_0_nor_1():
    found = mask_figures([], {})
    assert (found.precision, found.recall, found.f1, found.top1, found.top1_mean) == (None,) * 5
    assert found.curve.average_precision is None
    answers = answer_figures([])
    assert (answers.precision, answers.precision_in_view, answers.recall) == (None,) * 3
    assert answers.false_found == {"near": None, "far": None, "elsewhere": None}
    assert f1_of(0.0, 0.0) == 0.0


def test_masks_as_loops_count_them():
    draw = random.Random(3)
    words = ["cup", "jug", "bowl"]
    objects = {k: draw.choice(words) for k in range(12)}
    masks = []
    for _ in range(60):
        thing = draw.choice([*objects, -1])
        truth = (objects[thing],) if thing >= 0 else draw.choice([(), ("jug",)])
        masks.append(mask(draw.choice(words), draw.random(), draw.random() < 0.6, truth, thing))
    named = right = 0
    seen = set()
    for one in masks:
        if one.named:
            named += 1
            if one.best in one.truth:
                right += 1
                if one.thing in objects:
                    seen.add(one.thing)
    found = mask_figures(masks, objects)
    assert found.precision == right / named
    assert found.recall == len(seen) / len(objects)
    shares = []
    for word in words:
        of = [one.best == word for one in masks if one.thing >= 0 and objects[one.thing] == word]
        if of:
            shares.append(sum(of) / len(of))
    assert found.top1_mean == pytest.approx(sum(shares) / len(shares))


def answer(kind="present", found=True, score=0.9, right=True, in_view=True, word="cup") -> Answer:
    return Answer(word, kind, found, score, right, in_view)


def test_precision_of_found_both_ways_and_false_found_by_kind():
    answers = [
        answer(),
        answer(right=False),  # found on a wrong mask
        answer(found=False, score=0.2),  # its best mask would have been right
        answer(found=False, score=0.1, right=False),
        answer("near", right=False, in_view=False, word="jug"),
        answer("near", found=False, right=False, in_view=False, word="jug"),
        answer("near", found=False, right=False, in_view=False, word="vase"),
        answer("far", found=False, right=False, in_view=False, word="giraffe"),
    ]
    figures = answer_figures(answers)
    assert figures.trials == {"present": 4, "near": 3, "far": 1, "elsewhere": 0}
    assert figures.found == 3
    assert figures.precision == 1 / 3
    assert figures.precision_in_view == 2 / 3
    assert figures.recall == 1 / 4
    assert figures.f1 == pytest.approx(2 / 7)
    assert figures.false_found == {"near": 1 / 3, "far": 0.0, "elsewhere": None}
    assert figures.false_words == {"jug": 1}
    assert figures.calibration.count == 3
    assert figures.calibration_of_all.count == 8
