"""Which words mean the same: by spelling alone, and by a small dictionary written by hand."""

from __future__ import annotations

import itertools

import pytest

from ovseg_ros.core.words import DictionaryMeanings, Sense, SpellingMeanings
from ovseg_ros.core.words import meaning as rules
from ovseg_ros.core.words.senses import LIKELY_THINGS, MAX_THINGS

# number: (domain, words, parents)
SENSES = {
    1: ("Tops", "physical_entity", ()),
    2: ("Tops", "object", (1,)),
    3: ("artifact", "container", (2,)),
    4: ("artifact", "bottle", (3,)),
    5: ("artifact", "wine_bottle", (4,)),
    6: ("artifact", "sofa couch", (20,)),
    7: ("animal", "dog", (8,)),
    8: ("animal", "animal", (2,)),
    9: ("food", "frankfurter dog", (2,)),
    10: ("person", "cad dog", (11,)),
    11: ("person", "person", (1,)),
    12: ("person", "driver", (11,)),
    13: ("artifact", "driver", (2,)),
    14: ("person", "speaker", (11,)),
    15: ("artifact", "loudspeaker speaker", (2,)),
    16: ("cognition", "idea driver", ()),
    17: ("artifact", "knife", (2,)),
    18: ("artifact", "Monitor", (2,)),
    19: ("artifact", "monitor display", (2,)),
    20: ("artifact", "furniture", (2,)),
    21: ("cognition", "cup_of_tea", ()),
    22: ("artifact", "cup", (3,)),
    23: ("food", "tea", (2,)),
    24: ("artifact", "chest", (3,)),
    25: ("body", "chest", (2,)),
    26: ("artifact", "chest", (20,)),
    27: ("artifact", "chest", (2,)),
    28: ("artifact", "chest", (2,)),
    29: ("cognition", "thought idea", ()),
    30: ("artifact", "box", (3,)),
    31: ("artifact", "place_mat", (2,)),
    32: ("artifact", "t-shirt", (2,)),
    33: ("food", "hot_dog", (2,)),
}
INDEX = {  # lemma: senses in order, how many are in tagged texts
    "dog": ((7, 10, 9), 1),
    "driver": ((16, 12, 13), 2),
    "speaker": ((14, 15), 2),
    "monitor": ((18, 19), 0),
    "chest": ((24, 25, 26, 27, 28), 5),
    "idea": ((16, 29), 2),
}


class Small:
    """The dictionary of `SENSES`."""

    def senses_of(self, lemma):
        found = tuple(n for n, (_, words, _) in SENSES.items() if lemma in words.lower().split())
        return INDEX.get(lemma, (found, len(found)))

    def sense(self, number):
        domain, words, parents = SENSES[number]
        return Sense(number, domain, tuple(words.split()), parents)

    def irregular(self, plural):
        return {"dogges": ("dog",)}.get(plural, ())


@pytest.fixture
def meanings():
    return DictionaryMeanings(Small())


SAME = [
    ("sofa", "couch"),
    ("Sofas", "the couch"),
    ("dogges", "dog"),
    ("knives", "Knife"),
    ("red bottle", "bottle"),
    ("red bottle", "wine bottle"),
    ("wine bottles", "bottle"),
    ("dog", "animal"),
    ("sofa", "furniture"),
    ("driver", "person"),
    ("kitchen bottle", "bottle"),
    ("cup of tea", "cup"),
    ("bottle with a red cap", "bottle"),
    ("place mat", "placemat"),
    ("T shirt", "t-shirt"),
    ("gray bottle", "grey bottle"),
    ("xyzzy", "Xyzzys"),
    ("old xyzzy", "xyzzy"),
    ("container", "containers"),
]
DIFFERENT = [
    ("dog", "hot dog"),
    ("dog", "person"),
    ("speaker", "person"),
    ("bottle", "container"),
    ("bottle", "box"),
    ("bottle", "object"),
    ("red bottle", "white bottle"),
    ("kitchen bottle", "wine bottle"),
    ("driver", "idea"),
    ("sofa", "dog"),
    ("xyzzy", "dog"),
    ("cup of tea", "tea"),
    ("", "dog"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_the_same(meanings, a, b):
    assert meanings.same(a, b)
    assert meanings.same(b, a)


@pytest.mark.parametrize(("a", "b"), DIFFERENT)
def test_not_the_same(meanings, a, b):
    assert not meanings.same(a, b)
    assert not meanings.same(b, a)


def test_every_word_is_the_same_as_itself(meanings):
    words = {word for pair in SAME + DIFFERENT for word in pair}
    assert [word for word in words if not meanings.same(word, word)] == []


def naive_same(a: str, b: str) -> bool:
    """One is the other or above it, walked step by step; for single nouns that are in `SENSES` once."""

    def up(number):
        return {number}.union(*(up(parent) for parent in SENSES[number][2]))

    def number(word):
        (found,) = [n for n, (_, words, _) in SENSES.items() if word in words.split()]
        return found

    general = {number(word) for word in ("physical_entity", "object", "container")}
    a, b = number(a), number(b)
    return a == b or b in up(a) - general or a in up(b) - general


def test_like_walking_up_by_hand(meanings):
    words = ["sofa", "couch", "bottle", "wine_bottle", "animal", "furniture", "container", "knife", "box"]
    for a, b in itertools.product(words, words):
        assert meanings.same(a, b) == naive_same(a, b), (a, b)


@pytest.mark.parametrize(
    ("word", "kind", "is_one"),
    [
        ("bottle", "container", True),  # too general for `same`
        ("wine bottles", "containers", True),
        ("kitchen bottle", "container", True),  # by its head
        ("couch", "sofa", True),
        ("couch", "furniture", True),
        ("furniture", "couch", False),  # unlike `same` it has a direction
        ("container", "bottle", False),
        ("dog", "container", False),
        ("xyzzy", "container", False),
    ],
)
def test_a_kind_of(meanings, word, kind, is_one):
    assert meanings.is_kind(word, kind) == is_one


def test_a_kind_of_by_spelling_alone():
    meanings = SpellingMeanings()
    assert meanings.is_kind("coffee mugs", "mug")
    assert not meanings.is_kind("mug", "coffee mug")
    assert not meanings.is_kind("mug", "container")


def test_senses_that_people_mean(meanings):
    assert meanings.meant_senses("dog") == (7, 9)  # not the man
    assert meanings.meant_senses("driver") == (12,)  # a person first, and the thing is in no tagged text
    assert meanings.meant_senses("speaker") == (15,)  # the thing is in tagged texts too
    assert meanings.meant_senses("monitor") == (19,)  # not the ship, which is written with a capital
    assert meanings.meant_senses("idea") == (16, 29)  # nothing that can be seen
    assert meanings.meant_senses("chest") == (24, 25, 26, 27)
    assert meanings.meant_senses("xyzzy") == ()
    assert (LIKELY_THINGS, MAX_THINGS) == (2, 4)


def test_synonyms_and_hypernyms(meanings):
    assert meanings.synonyms("sofas") == ("sofa", "couch")
    assert meanings.synonyms("sofa") == ("couch",)
    assert meanings.hypernyms("sofa") == ("furniture",)
    assert meanings.hypernyms("wine bottle") == ("bottle",)
    assert meanings.synonyms("xyzzy") == meanings.hypernyms("xyzzy") == ()


@pytest.mark.parametrize(
    ("word", "known"),
    [("dog", True), ("red dog", True), ("xyzzy dog", True), ("idea", True), ("xyzzy", False), ("", False)],
)
def test_knows(meanings, word, known):
    assert meanings.knows(word) is known


def test_remembered_words_do_not_grow_without_end(meanings, monkeypatch):
    monkeypatch.setattr("ovseg_ros.core.words.senses.MAX_CACHED", 3)
    monkeypatch.setattr(rules, "MAX_CACHED", 3)
    for model in (meanings, SpellingMeanings()):
        for i in range(10):
            assert model.same(f"dog {i}", f"dog {i}")
        assert len(model._entries) <= 3


class TestSpelling:
    """Without a dictionary."""

    @pytest.mark.parametrize(
        ("a", "b"),
        [
            ("mug", "Mugs"),
            ("red mug", "mug"),
            ("red mug", "coffee mug"),
            ("wine_bottle", "bottle"),
            ("knives", "knife"),
            ("placemat with cutlery", "placemat"),
            ("hot dog", "dog"),
            ("", ""),
        ],
    )
    def test_the_same(self, a, b):
        assert SpellingMeanings().same(a, b)
        assert SpellingMeanings().same(b, a)

    @pytest.mark.parametrize(
        ("a", "b"), [("sofa", "couch"), ("red mug", "white mug"), ("wine bottle", "beer bottle"), ("", "mug")]
    )
    def test_not_the_same(self, a, b):
        assert not SpellingMeanings().same(a, b)
        assert not SpellingMeanings().same(b, a)

    def test_says_only_what_letters_say(self):
        meanings = SpellingMeanings()
        assert meanings.knows("xyzzy")
        assert not meanings.knows("12")
        assert meanings.synonyms("sofa") == ()
        assert meanings.hypernyms("red coffee mugs") == ("coffee mug", "mug")
