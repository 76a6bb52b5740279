"""From labelled masks and the truth to trials."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate_fixtures import recorded, segmenter

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.naming import TrueObject, ask_alone, name_all
from ovseg_ros.evaluate.naming.trials import vocabulary_of

RED, GREEN, SMALL_BLUE = TrueObject(("red", "crimson")), TrueObject(("green",)), TrueObject(("blue",), False)


@pytest.fixture
def frame():
    """A segmenter, and three embedded masks: red, green and blue."""
    chain = segmenter()
    return chain, chain.embed(recorded(0).frame)


def test_each_mask_has_the_truth_of_the_object_it_fits(frame):
    chain, embedded = frame
    iou = np.array([[0.5, 0.0, 0.0], [0.0, 0.49, 0.0], [0.1, 0.0, 0.9]])
    labelled = chain.label(embedded, vocabulary_of("crimson", "green", "blue"))
    red, green, blue = name_all(labelled, iou, [RED, GREEN, SMALL_BLUE], first_thing=7)
    assert (red.best, red.named, red.truth, red.thing, red.right) == (
        "crimson",
        True,
        ("red", "crimson"),
        7,
        True,
    )
    assert (green.best, green.truth, green.thing, green.right) == ("green", (), -1, False)
    assert (blue.truth, blue.thing, blue.right) == (("blue",), -1, True)  # right, and nothing to be found
    assert red.score == pytest.approx(float(labelled.scores[0]))


def test_masks_in_crowds_count_for_nothing_unless_they_fit_an_object(frame):
    chain, embedded = frame
    labelled = chain.label(embedded, vocabulary_of("red"))
    iou = np.array([[0.9], [0.0], [0.0]])
    found = name_all(labelled, iou, [RED], ignored=np.array([True, True, False]))
    assert [one.thing for one in found] == [0, -1]


def test_without_objects_and_without_words(frame):
    chain, embedded = frame
    found = name_all(chain.label(embedded, vocabulary_of()), np.zeros((3, 0)), [])
    assert [(one.best, one.named, one.truth) for one in found] == [("", False, ())] * 3


def test_a_word_alone_is_right_with_the_right_mask_only(frame):
    chain, embedded = frame
    asked = {"red": "present", "green": "present", "yak": "far"}
    iou = np.array([[0.8, 0.0], [0.0, 0.4], [0.0, 0.0]])
    red, green, yak = ask_alone(chain, embedded, asked, iou, [RED, GREEN])
    assert (red.found, red.right, red.in_view) == (True, True, True)
    assert (green.found, green.right, green.in_view) == (True, False, True)
    assert (yak.kind, yak.found, yak.right, yak.in_view) == ("far", False, False, False)
    assert 0 <= yak.score < 0.6


def test_a_word_that_is_answered_in_a_crowd_is_left_out(frame):
    chain, embedded = frame
    excused = np.array([False, True, False])
    iou = np.array([[0.8, 0.0], [0.0, 0.4], [0.0, 0.0]])
    found = ask_alone(
        chain, embedded, {"red": "present", "green": "present"}, iou, [RED, GREEN], excused=excused
    )
    assert [one.word for one in found] == ["red"]


def test_a_frame_without_masks(frame):
    chain, _ = frame
    empty = chain.embed(recorded(0, shown=()).frame)
    (answer,) = ask_alone(chain, empty, {"red": "present"}, np.zeros((0, 1)), [RED])
    assert (answer.found, answer.score, answer.right) == (False, 0.0, False)


def test_words_that_cannot_be_asked():
    with pytest.raises(InvalidInputError, match="cannot be looked for"):
        vocabulary_of("red", " ")
