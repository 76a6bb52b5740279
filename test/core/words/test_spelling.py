"""How words are written: separators, plurals, and where the head of a phrase is."""

from __future__ import annotations

import pytest

from ovseg_ros.core.words.spelling import IRREGULAR, MAX_WORDS, singulars, without_what_follows, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mug", ("mug",)),
        ("  the Red-coffee_Mug ", ("red", "coffee", "mug")),
        ("mouse_(computer_equipment)", ("mouse",)),
        ("crayon (red)", ("crayon",)),
        ("(red)", ("red",)),
        ("a", ("a",)),
        ("the the mug", ("mug",)),
        ("jack-o'-lantern", ("jack", "o", "lantern")),
        ("", ()),
        (" -_ ", ()),
        ("mug.", ("mug",)),
        ("Gray mug", ("grey", "mug")),
        ("tasse à café", ("tasse", "à", "café")),
    ],
)
def test_words_of(text, words):
    assert words_of(text) == words


def test_long_phrases_keep_their_end():
    assert words_of("very " * 1000 + "red mug") == (*["very"] * (MAX_WORDS - 2), "red", "mug")


@pytest.mark.parametrize(
    ("plural", "first"),
    [
        ("mugs", "mug"),
        ("boxes", "box"),
        ("dishes", "dish"),
        ("glasses", None),
        ("vases", "vase"),
        ("cherries", "cherry"),
        ("knives", "knife"),
        ("women", "woman"),
        ("policemen", "policeman"),
        ("tomatoes", "tomato"),
        ("shoes", "shoe"),
        ("bus", None),
        ("dress", None),
        ("tennis", None),
        ("scissors", None),
        ("omen", None),
        ("gas", None),
        ("", None),
    ],
)
def test_singulars(plural, first):
    assert next(iter(singulars(plural)), None) == first


def test_irregular_plurals_come_first():
    assert all(singulars(plural) == (singular,) for plural, singular in IRREGULAR.items())


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("placemat with cutlery", "placemat"),
        ("cup of tea", "cup"),
        ("slice of pizza", "pizza"),
        ("two pieces of cake on a plate", "cake"),
        ("of mugs", "of mugs"),
        ("mug of", "mug of"),
        ("mug", "mug"),
    ],
)
def test_without_what_follows(phrase, head):
    assert without_what_follows(tuple(phrase.split())) == tuple(head.split())
