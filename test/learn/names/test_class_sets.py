"""Words of a small WordNet, counted by hand."""

from __future__ import annotations

import json
from typing import ClassVar

from repository import ROOT

from ovseg_ros.core.words import Sense
from ovseg_ros.learn.names.class_sets import words_of_classes


class SmallNouns:
    """Five senses: a thing, a dog, a puppy, Fido, and a chap who is called a dog."""

    SENSES: ClassVar = {
        10: Sense(10, "Tops", ("thing",), ()),
        20: Sense(20, "animal", ("dog", "Domestic_dog"), (10,)),
        30: Sense(30, "animal", ("puppy",), (20,)),
        40: Sense(40, "animal", ("Fido",), (20,), is_name=True),
        50: Sense(50, "person", ("dog",), (10,)),
    }
    OF: ClassVar = {"dog": (50, 20), "domestic_dog": (20,), "fido": (40,), "puppy": (30,), "thing": (10,)}

    def senses_of(self, lemma):
        return self.OF.get(lemma, ()), 1

    def sense(self, number):
        return self.SENSES[number]

    def irregular(self, plural):
        return ()


def test_a_word_means_the_classes_at_and_below_its_senses():
    got = words_of_classes(SmallNouns(), [30, 40])
    assert got == {
        "dog": [[], [0, 1]],
        "domestic dog": [[0, 1]],
        "fido": [[1]],
        "puppy": [[0]],
        "thing": [[0, 1]],
    }


def test_the_shipped_table():
    words = json.loads((ROOT / "ovseg_ros/models/weights/imagenet_words.json").read_text())["words"]
    assert words["dog"][0] == list(range(151, 269)), "118 breeds"
    assert words["couch"][0] == words["sofa"][0] == [831]
    assert [found for found in words["mouse"] if found] == [[673]]
    assert "giraffe" not in words
    assert all(any(senses) for senses in words.values())
