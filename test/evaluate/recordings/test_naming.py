"""Precision and recall on a tiny recording, and which words are asked of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from evaluate_fixtures import recorded, segmenter

from ovseg_ros.evaluate.naming import TrueObject
from ovseg_ros.evaluate.recordings.charts import write_charts
from ovseg_ros.evaluate.recordings.demo import summarise
from ovseg_ros.evaluate.recordings.measures import measure
from ovseg_ros.evaluate.recordings.naming import FrameTruth, words_to_ask


def about(objects, scene_words, far=("giraffe", "shoe")) -> FrameTruth:
    known = {name for one in objects for name in one.names} | set(scene_words)
    return FrameTruth(objects, np.zeros((0, len(objects))), scene_words, known, far, 1)


def test_words_to_ask():
    teapot = TrueObject(("teapot", "kettle"))
    asked = words_to_ask(
        about([teapot, TrueObject(("bowl",), False)], ["teapot", "bowl", "white mug", "kettle"])
    )
    assert asked["teapot"] == "present"
    assert "bowl" not in asked  # too small to be asked for, and there
    assert "kettle" not in asked  # the teapot's other word, though a thing of its own elsewhere
    assert asked["white mug"] == "elsewhere"
    assert asked["vase"] == asked["colander"] == "near"
    assert asked["giraffe"] == "far"


def test_a_head_noun_of_what_is_there_is_no_absent_word():
    asked = words_to_ask(
        about([TrueObject(("plate",)), TrueObject(("wooden tray",))], ["plate", "wooden tray"])
    )
    assert "tray" not in asked
    assert asked["frisbee"] == "near"


def test_a_near_word_is_not_asked_as_a_far_one():
    asked = words_to_ask(about([TrueObject(("teapot",))], ["teapot"], far=("vase", "shoe")))
    assert (asked["vase"], asked["shoe"]) == ("near", "far")


def test_all_masks_count_and_not_the_best_alone():
    frames = [recorded(0), recorded(1, shown=(2,))]
    naming = summarise(measure(segmenter(), frames, absent_words=("yak",)))["naming"]
    assert (naming["all_words"]["precision"], naming["all_words"]["recall"]) == (1.0, 1.0)
    assert naming["all_words"]["masks"] == 4
    assert naming["all_words"]["objects"] == 3  # the blue one is too small
    two = naming["any_two"]
    assert two["masks"] == 3 * 4  # three pairs of three words, in both frames
    # with red and blue, or red and green, each of its words finds its own box; nothing else gets a name
    assert (two["precision"], two["recall"]) == (1.0, 1.0)
    assert two["objects"] == 2 * 2 + 2
    answers = naming["answers"]
    assert answers["trials"] == {
        "present": 3,
        "near": 0,
        "far": 2,
        "elsewhere": 1,
    }  # red; the green box is "blue" too
    assert answers["false_found"] == {"near": None, "far": 0.0, "elsewhere": 0.0}


def test_a_wrong_name_costs_precision_and_recall():
    # the red box is called green and the green one red: both names are wrong
    frames = [recorded(0, names={1: "green", 2: "red", 3: "blue"})]
    naming = summarise(measure(segmenter(), frames, absent_words=()))["naming"]
    assert naming["all_words"]["precision"] == pytest.approx(1 / 3)  # the blue one
    assert naming["all_words"]["recall"] == 0.0
    assert naming["answers"]["precision_in_view"] == 1.0
    assert naming["answers"]["precision"] == 0.0


def test_charts(tmp_path):
    summary = summarise(measure(segmenter(), [recorded(0)], absent_words=("yak",)))
    write_charts(tmp_path, {"suites": {"tiny": {"preset": "colours", **summary}}})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "tiny_precision_recall.png",
        "tiny_reliability.png",
    ]
