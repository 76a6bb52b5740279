"""Names that tell where, which or how many are told apart from names that merely look so."""

import pytest

from ovseg_ros.core.words.labels import Quoted, read_label
from ovseg_ros.core.words.relations import MAX_READ_CHARACTERS, unread_part
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.models.bundled.wordnet import read_wordnet

UNREAD = [
    ("mug near the teapot", "relations", "near the teapot", "mug"),
    ("the left teapot", "positions", "left", "teapot"),
    ("two teapots", "numbers", "two", "teapots"),
    ("largest mug", "comparisons", "largest", "mug"),
    ("second cup", "places in a row", "second", "cup"),
    ("mug on the table", "relations", "on the table", "mug"),
    ("not the red one", "negations", "not", ""),
    ("the mug without a handle", "negations", "without a handle", "mug"),
    ("mug next to the teapot", "relations", "next to the teapot", "mug"),
    ("cup in the sink", "relations", "in the sink", "cup"),
    ("cup in sink", "relations", "in sink", "cup"),
    ("cup on table", "relations", "on table", "cup"),
    ("teapot behind the mug", "relations", "behind the mug", "teapot"),
    ("between the cups", "relations", "between the cups", ""),
    ("mug to the left of the pot", "relations", "to the left of the pot", "mug"),
    ("leftmost mug", "comparisons", "leftmost", "mug"),
    ("the mug on the left", "relations", "on the left", "mug"),
    ("3 mugs", "numbers", "3", "mugs"),
    ("2 cups", "numbers", "2", "cups"),
    ("a dozen eggs", "numbers", "dozen", "eggs"),
    ("how many mugs", "numbers", "how many", "mugs"),
    ("several mugs", "numbers", "several", "mugs"),
    ("a few plates", "numbers", "few", "plates"),
    ("one mug", "numbers", "one", "mug"),
    ("third red chair", "places in a row", "third", "red chair"),
    ("last plate", "places in a row", "last", "plate"),
    ("the other mug", "comparisons", "other", "mug"),
    ("another cup", "comparisons", "another", "cup"),
    ("same mug", "comparisons", "same", "mug"),
    ("bigger mug", "comparisons", "bigger", "mug"),
    ("mug bigger than the bowl", "comparisons", "bigger than the bowl", "mug"),
    ("most expensive cup", "comparisons", "most", "expensive cup"),
    ("handle of the mug", "relations", "of the mug", "handle"),
    ("leg of a chair", "relations", "of a chair", "leg"),
    ("top shelf", "positions", "top", "shelf"),
    ("bottom drawer", "positions", "bottom", "drawer"),
    ("bottom right drawer", "positions", "bottom right", "drawer"),
    ("front mug", "positions", "front", "mug"),
    ("upper shelf", "positions", "upper", "shelf"),
    ("left shoe", "positions", "left", "shoe"),
    ("mug left", "positions", "left", "mug"),
    ("red one", "references to what was said before", "one", "red"),
    ("the one on the left", "relations", "on the left", ""),
    ("mug that is broken", "relations", "that is broken", "mug"),
    ("cup which is red", "relations", "which is red", "cup"),
    ("mug_near_the_teapot", "relations", "near the teapot", "mug"),
    ("no cups", "negations", "no", ""),
    ("table with no cups", "negations", "no cups", "table"),
    ("plates except the blue one", "negations", "except the blue one", "plates"),
    ("anything but the mug", "negations", "but the mug", ""),
    ("man holding a cup", "relations", "holding a cup", "man"),
    ("table with two chairs", "numbers", "two", "table"),
    ("cup number two", "places in a row", "number two", "cup"),
    ("mug inside", "relations", "inside", "mug"),
    ("what is in the box", "relations", "in the box", ""),
    ("in the box", "relations", "in the box", ""),
    ("under the kitchen table", "relations", "under the kitchen table", ""),
    ("next mug", "places in a row", "next", "mug"),
    ("mug under table", "relations", "under table", "mug"),
    ("lamp by the window", "relations", "by the window", "lamp"),
    ("mugs x2", "numbers", "x2", "mugs"),
    ("2x mugs", "numbers", "2x", "mugs"),
    ("nearby mug", "relations", "nearby", "mug"),
    ("near teapot", "relations", "near", "teapot"),
    ("the nearest red mug", "comparisons", "nearest", "red mug"),
    ("person wearing a hat", "relations", "wearing a hat", "person"),
    ("mug from the shelf", "relations", "from the shelf", "mug"),
    ("mug at the left", "relations", "at the left", "mug"),
    ("top left mug", "positions", "top left", "mug"),
    ("far mug", "positions", "far", "mug"),
    ("cup beside bowl", "relations", "beside bowl", "cup"),
    ("the mug closest to me", "comparisons", "closest", "mug"),
    ("the two red mugs", "numbers", "two", "red mugs"),
    ("mug on top of the box", "relations", "on top of the box", "mug"),
    ("cup in front of the bowl", "relations", "in front of the bowl", "cup"),
    ("left side mirror", "positions", "left", "side mirror"),
    ("lid of my pot", "relations", "of my pot", "lid"),
    ("a couple of mugs", "numbers", "couple of", "mugs"),
    ("at least two mugs", "numbers", "at least", "mugs"),
    ("third from the left", "relations", "from the left", ""),
    ("second to last cup", "places in a row", "second to last", "cup"),
    ("not a mug", "negations", "not", ""),
    ("five people", "numbers", "five", "people"),
    ("ten red mugs", "numbers", "ten", "red mugs"),
    ("box of two mugs", "numbers", "two", "box"),
]
"""Name, kind of what stands in it, the words that tell it, what is to be asked for instead; by hand."""

PLAIN = [
    "salt and pepper shaker",
    "hot dog",
    "remote control",
    "left-handed scissors",
    "left handed scissors",
    "seven up",
    "3d printer",
    "2x4",
    "top hat",
    "knocker_(on_a_door)",
    "saddle_(on_an_animal)",
    "railcar_(part_of_a_train)",
    "bottom",
    "chest of drawers",
    "bottle of water",
    "cup with a handle",
    "frying pan with lid",
    "window",
    "under armour",
    "on off switch",
    "over the ear headphones",
    "over-the-ear headphones",
    "behind the ear hearing aid",
    "in ear headphones",
    "no entry sign",
    "no. 5 perfume",
    "do not enter sign",
    "isle of man flag",
    "jack in the box",
    "corn on the cob",
    "two piece suit",
    "four leaf clover",
    "six pack",
    "three legged stool",
    "9 volt battery",
    "9 volt batteries",
    "50 inch tv",
    "first aid kit",
    "second hand",
    "third rail",
    "front door",
    "back door",
    "back pack",
    "rear view mirror",
    "middle finger",
    "upper arm",
    "right angle ruler",
    "slip on shoes",
    "clip on lamp",
    "walk in closet",
    "built in oven",
    "stand by button",
    "door closer",
    "cigarette lighter",
    "vacuum cleaner",
    "chest",
    "nest",
    "vest",
    "forest",
    "best seller",
    "all in one printer",
    "all in one",
    "xbox one",
    "2 in 1 shampoo",
    "iphone 12",
    "one way sign",
    "one piece swimsuit",
    "mouse_(computer_equipment)",
    "crayon (red)",
    "forget me not",
    "non stick pan",
    "picture of a cat",
    "statue of the virgin",
    "pack of cards",
    "pair of scissors",
    "tuna in oil",
    "woman in red dress",
    "person in a red shirt",
    "the who poster",
    "big mug",
    "small cup",
    "tall glass",
    "second floor button",
    "hand towel",
    "android phone",
    "hello kitty mug",
    "Mr. Coffee machine",
    "plus sign",
    "black-and-white ball",
    "segmented worm",
    "theme park ticket",
    "copyright sign",
    "left turn sign",
    "24 hour clock",
    "5 gallon bucket",
    "bird of paradise",
    "overhead projector",
    "inside out umbrella",
    "table lamp",
    "counter top",
    "desktop",
    "underwear",
    "nearest",
    "left",
    "two",
    "lily of the valley",
    "macaroni and cheese",
    "baker's peel",
    "men's shoe",
    "7 up",
    "number plate",
    "desk organizer",
    "soup of the day",
    "eight ball",
    "8 ball",
    "sign no 5",
    "carry on",
    "baby on board sign",
    "near field speaker",
    "outside light",
    "by pass valve",
    "bath toy",
    "book of matches",
    "oven glove",
    "cup of tea",
    "ball pen",
    "back to back seat",
    "cat's eye",
    "jar with screw on lid",
    "wine opener",
    "under desk treadmill",
    "under the sink cabinet",
    "roll on deodorant",
    "pull over",
    "salad bowl with two tone rim",
    "half",
    "dog house",
    "next generation console",
    "turn right sign",
]


@pytest.mark.parametrize(("name", "kind", "words", "instead"), UNREAD, ids=[row[0] for row in UNREAD])
def test_what_no_mask_can_answer_is_told(name, kind, words, instead):
    unread = unread_part(name)
    assert unread is not None
    assert (unread.kind, unread.words, unread.instead) == (kind, words, instead)


@pytest.mark.parametrize("name", PLAIN)
def test_names_stay_names(name):
    assert unread_part(name) is None
    assert read_label(name) == name


def test_the_sentence_says_what_to_ask():
    with pytest.raises(
        InvalidInputError,
        match=r"relations tell which one is meant.*: ask for 'mug' here, or .*; .* quotation",
    ):
        read_label("mug near the teapot")
    with pytest.raises(InvalidInputError, match=r"negations .*'not'.*: name the thing itself"):
        read_label("not the red one")


@pytest.mark.parametrize(
    "text", ['"left teapot"', "\u201cleft teapot\u201d", "'left teapot'", Quoted("left teapot")]
)
def test_quotation_marks_keep_a_name_unread(text):
    assert read_label(text) == "left teapot"


def test_two_quotations_are_no_quoted_name():
    with pytest.raises(InvalidInputError, match=r"relations"):
        read_label('"mug" near the "pot"')


def test_case_and_underscores_make_no_difference():
    for name in (
        "MUG NEAR THE TEAPOT",
        "mug_near_the_teapot",
        "Mug (near the teapot)",
        "mug, near the teapot",
    ):
        assert unread_part(name).instead.casefold() == "mug", name


def test_what_is_asked_instead_is_itself_plain():
    for name, *_, instead in UNREAD:
        assert not instead or unread_part(instead) is None, name


def test_what_is_no_label_is_not_read():
    assert unread_part("mug near " + "x" * MAX_READ_CHARACTERS) is None


def test_names_of_made_things_are_names():
    """Of all that WordNet knows as made things hardly any may be taken for a relation or a number."""
    data = read_wordnet()._data.decode("utf-8").splitlines()
    lines = [line.split() for line in data if line[:1].isdigit()]
    made = {
        word.replace("_", " ")
        for fields in lines
        if fields[1] == "06"  # WordNet's file of artefacts
        for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    }
    refused = sorted(name for name in made if unread_part(name) is not None)
    assert len(made) > 16_000
    assert len(refused) <= 13, refused
