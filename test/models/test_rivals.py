"""The words that compete: known, each thing once, and what everyday words need among them."""

from __future__ import annotations

from itertools import combinations

import pytest

from ovseg_ros.evaluate.datasets.class_names import CLASS_LISTS
from ovseg_ros.models import rivals
from ovseg_ros.models.bundled.wordnet import load_meanings
from ovseg_ros.models.rivals import rival_list

RIVALS = rival_list()


def names_in(text: str) -> list[str]:
    return text.split(", ")


COCO = names_in(
    "person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, "
    "stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, "
    "backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball "
    "bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, "
    "spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, "
    "couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, "
    "microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, "
    "toothbrush"
)

MINI = names_in(
    "teapot, moka pot, mug, bowl, plate, frying pan, ramekin, basket, dish rack, wine bottle, book, desk "
    "caddy, storage box, wooden tray, shelf, wine rack, plastic bin, placemat with cutlery, soup can, "
    "tomato sauce, barbecue sauce, ketchup bottle, salad dressing, milk carton, orange juice, butter, "
    "chocolate pudding, cookies, cream cheese, macaroni and cheese, popcorn, wall, empty table top"
)


@pytest.fixture(scope="module")
def meanings():
    return load_meanings()


def covered(meanings, names):
    return any(meanings.same(name, rival) for name in names for rival in RIVALS)


def test_980_lower_case_sorted_each_once():
    assert len(RIVALS) == 980, "as the messages and docs say"
    assert list(RIVALS) == sorted(set(RIVALS))
    assert all(word == word.lower().strip() and word.isascii() for word in RIVALS)


def test_the_file_says_how_it_was_made():
    first = rivals.OBJECTS.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")


def test_wordnet_knows_every_one(meanings):
    assert [word for word in RIVALS if not meanings.knows(word)] == []


def test_no_two_are_the_same_lemma_or_synonyms(meanings):
    named = {word: {word, *meanings.synonyms(word)} for word in RIVALS}
    doubles = [
        (a, b)
        for a, b in combinations(RIVALS, 2)
        if a in named[b] and b in named[a] and not (a.endswith(b) or b.endswith(a))
    ]  # "steering wheel" and "wheel" are two things, although "wheel" may mean either
    assert doubles == []


@pytest.mark.parametrize("name", COCO)
def test_names_of_coco_have_a_rival_that_means_them(meanings, name):
    assert covered(meanings, [name])


@pytest.mark.parametrize(
    ("list_name", "at_most"), [("voc_20", 0), ("ade20k_150", 12), ("pascal_context_59", 2)]
)
def test_few_names_of_the_class_lists_have_none(meanings, list_name, at_most):
    lines = (CLASS_LISTS / f"{list_name}.txt").read_text(encoding="utf-8").splitlines()
    classes = [line.split("\t")[-1].split(", ") for line in lines if not line.startswith("#")]
    missing = [names[0] for names in classes if not covered(meanings, names)]
    assert len(missing) <= at_most, missing


@pytest.mark.parametrize("name", MINI)
def test_what_mini_was_trained_on_has_rivals(meanings, name):
    assert covered(meanings, [name])
