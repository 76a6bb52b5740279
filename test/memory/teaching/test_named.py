"""Taught names among words: asked for as they stand, given to one mask alone, words beside them as ever."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import names_of, parse_request
from ovseg_ros.memory.teaching import looks_of, quoted, taught, with_taught, without_taught


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("find my mug", ("my mug",)),
        ("where is My Mug?", ("My Mug",)),
        ("find my mug and the teapot", ("my mug", "teapot")),
        ("find my mugs", ("mugs",)),
        ('find "my mug"', ("my mug",)),
        ("my mug's handle", ("mug's handle",)),
        ("Anna's cup", ("Anna's cup",)),
    ],
)
def test_a_taught_name_is_a_name_as_it_stands(query, names):
    assert names_of(parse_request(quoted(query, ["my mug", "mug of mine", "Anna's cup"]))) == names


def frame(left, right):
    image = np.full((24, 48, 3), 90, np.uint8)
    image[4:20, 4:20], image[4:20, 28:44] = left, right
    return Frame(image)


@pytest.fixture
def segmenter():
    masks = torch.zeros((2, 24, 48), dtype=torch.bool)
    masks[0, 4:20, 4:20], masks[1, 4:20, 28:44] = True, True
    options = SegmenterOptions(min_mask_pixels=1, threshold=0.4, templates=("{}",))
    return OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), options)


@pytest.fixture(autouse=True)
def weights(monkeypatch):
    """Made up: what is as red as the example is it."""
    plain = taught.Weights(-14, 0, 10, 0, 10, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(taught.WEIGHTS, "colours", (plain, plain))


RED, DARK, BLUE = (255, 0, 0), (120, 0, 0), (0, 0, 255)


def shown(segmenter, space="space"):
    looks = looks_of(segmenter.embed(frame(RED, BLUE)), space)
    return {"my red": [looks.example(0, "my red", 1.0)]}


def named(segmenter, picture, taught_names, *labels):
    vocabulary = words(*labels)
    rest = without_taught(vocabulary, taught_names)
    plain = segmenter.label(segmenter.embed(picture), rest)
    found = with_taught(plain, vocabulary, taught_names, "colours", "space")
    return [labels[i] if i >= 0 else "" for i in found.label_index.tolist()], found


def test_the_thing_that_was_shown_has_its_name_wherever_it_is(segmenter):
    known = shown(segmenter)
    assert named(segmenter, frame(RED, BLUE), known, "My Red")[0] == ["My Red", ""]
    assert named(segmenter, frame(BLUE, RED), known, "my red")[0] == ["", "my red"]


def test_what_is_merely_alike_is_not_it(segmenter):
    assert named(segmenter, frame(BLUE, DARK), shown(segmenter), "my red")[0] == ["", ""]
    assert named(segmenter, frame(RED, RED), shown(segmenter), "my red")[0] == ["", ""]  # which of the two?


def test_plain_words_are_what_they_are_without_it(segmenter):
    picture, known = frame(RED, BLUE), shown(segmenter)
    labels, found = named(segmenter, picture, known, "blue", "my red", "green")
    assert labels == ["my red", "blue"]
    alone = segmenter.label(segmenter.embed(picture), words("blue", "green"))
    torch.testing.assert_close(found.probs[:, [0, 2]], alone.probs)
    assert found.vocabulary.names == ("blue", "my red", "green")


def test_a_name_taught_to_another_model_is_in_no_frame(segmenter):
    assert named(segmenter, frame(RED, BLUE), shown(segmenter, "another"), "my red")[0] == ["", ""]


def test_examples_of_other_names_are_rivals(segmenter):
    known = shown(segmenter)
    known["her red"] = [dataclasses.replace(known["my red"][0], name="her red")]
    assert named(segmenter, frame(RED, BLUE), known, "my red")[0] == ["", ""]  # of both equally
