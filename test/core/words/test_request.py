"""What planners ask for beyond a name, and what is read in it."""

import pytest

from ovseg_ros.core.words import By, Quoted, Where, as_request, is_called, parse_query, parse_request
from ovseg_ros.core.words.requests import MAX_COUNT, MAX_DEPTH
from ovseg_ros.errors import InvalidInputError


def one(text: str):
    (wanted,) = parse_request(text)
    return wanted


@pytest.mark.parametrize(
    ("text", "name", "where", "anchors"),
    [
        ("the mug near the pot", "mug", Where.NEAR, ["pot"]),
        ("mug next to the teapot", "mug", Where.NEAR, ["teapot"]),
        ("mug right next to the teapot", "mug", Where.NEAR, ["teapot"]),
        ("lamp by the window", "lamp", Where.NEAR, ["window"]),
        ("cup beside bowl", "cup", Where.NEAR, ["bowl"]),
        ("find the mug left of the teapot, please", "mug", Where.LEFT, ["teapot"]),
        ("mug to the left of the pot", "mug", Where.LEFT, ["pot"]),
        ("the mug on the left side of the bowl", "mug", Where.LEFT, ["bowl"]),
        ("mug on the right hand side of the bowl", "mug", Where.RIGHT, ["bowl"]),
        ("mug just right of a red bowl", "mug", Where.RIGHT, ["red bowl"]),
        ("teapot behind the mug", "teapot", Where.BEHIND, ["mug"]),
        ("mug directly in front of the moka pot", "mug", Where.IN_FRONT, ["moka pot"]),
        ("mug on the plate", "mug", Where.ON, ["plate"]),
        ("mug on top of the box", "mug", Where.ON, ["box"]),
        ("mug that is standing on the plate", "mug", Where.ON, ["plate"]),
        ("is there an egg in the bowl?", "egg", Where.IN, ["bowl"]),
        ("cup inside of the sink", "cup", Where.IN, ["sink"]),
        ("lamp above the table", "lamp", Where.ABOVE, ["table"]),
        ("ball under the kitchen table", "ball", Where.BELOW, ["kitchen table"]),
        ("the mug between the pot and the bowl", "mug", Where.BETWEEN, ["pot", "bowl"]),
        ("mug in between the bowl and the plate", "mug", Where.BETWEEN, ["bowl", "plate"]),
        ("mug between the two teapots", "mug", Where.BETWEEN, ["teapots"]),
        ("mug bigger than the bowl", "mug", Where.LARGER, ["bowl"]),
        ("the bottle that is taller than the vase", "bottle", Where.TALLER, ["vase"]),
        ("mug_near_the_teapot", "mug", Where.NEAR, ["teapot"]),
        ("MUG NEAR THE TEAPOT", "MUG", Where.NEAR, ["TEAPOT"]),
        ("woman in a red dress left of the car", "woman in a red dress", Where.LEFT, ["car"]),
        ("jack in the box left of the top hat", "jack in the box", Where.LEFT, ["top hat"]),
        ("frying pan with lid near the seven up", "frying pan with lid", Where.NEAR, ["seven up"]),
        (
            "knocker_(on_a_door) by the mouse_(computer)",
            "knocker_(on_a_door)",
            Where.NEAR,
            ["mouse_(computer)"],
        ),
        ("crayon (red) near the mug", "crayon (red)", Where.NEAR, ["mug"]),
        ("the mug left of the soup can", "mug", Where.LEFT, ["soup can"]),
    ],
)
def test_relations(text, name, where, anchors):
    wanted = one(text)
    (relation,) = wanted.relations
    assert (wanted.name, relation.where) == (name, where)
    assert [anchor.name for anchor in relation.anchors] == anchors
    assert wanted.names == (name, *anchors)
    assert (wanted.order, wanted.count, wanted.how_many) == (None, None, False)


@pytest.mark.parametrize(
    ("text", "by", "place", "anchor"),
    [
        ("the left mug", [By.LEFT], 1, None),
        ("leftmost mug", [By.LEFT], 1, None),
        ("mug on my left", [By.LEFT], 1, None),
        ("the mug on the left side", [By.LEFT], 1, None),
        ("top right mug", [By.TOP, By.RIGHT], 1, None),
        ("mug in the top left corner", [By.TOP, By.LEFT], 1, None),
        ("mug in the middle", [By.MIDDLE], 1, None),
        ("lowest mug", [By.BOTTOM], 1, None),
        ("nearest mug", [By.NEAREST], 1, None),
        ("nearby mug", [By.NEAREST], 1, None),
        ("the mug closest to me", [By.NEAREST], 1, None),
        ("mug near the camera", [By.NEAREST], 1, None),
        ("far mug", [By.FARTHEST], 1, None),
        ("the mug nearest the teapot", [By.NEAREST], 1, "teapot"),
        ("the nearest mug to the teapot", [By.NEAREST], 1, "teapot"),
        ("mug farthest from the teapot", [By.FARTHEST], 1, "teapot"),
        ("mug far away from the teapot", [By.FARTHEST], 1, "teapot"),
        ("the largest mug", [By.LARGEST], 1, None),
        ("which mug is the biggest?", [By.LARGEST], 1, None),
        ("largest of the mugs", [By.LARGEST], 1, None),
        ("smallest mug", [By.SMALLEST], 1, None),
        ("the taller mug", [By.TALLEST], 1, None),
        ("third largest mug", [By.LARGEST], 3, None),
        ("the second mug from the left", [By.LEFT], 2, None),
        ("second from the right of the mugs", [By.RIGHT], 2, None),
        ("the second from the left mug", [By.LEFT], 2, None),
        ("mug third from the back", [By.BACK], 3, None),
        ("second mug", [By.LEFT], 2, None),
        ("mug number two", [By.LEFT], 2, None),
        ("last mug", [By.LEFT], -1, None),
        ("second to last mug", [By.LEFT], -2, None),
    ],
)
def test_places_in_a_row(text, by, place, anchor):
    wanted = one(text)
    order = wanted.order
    assert (list(order.by), order.place) == (by, place)
    assert (order.anchor and order.anchor.name) == anchor
    assert wanted.name in ("mug", "mugs")
    assert not wanted.every


@pytest.mark.parametrize(
    ("text", "name", "count", "every", "how_many"),
    [
        ("two teapots", "teapots", 2, False, False),
        ("3 mugs", "mugs", 3, False, False),
        ("2x mugs", "mugs", 2, False, False),
        ("mugs x2", "mugs", 2, False, False),
        ("one mug", "mug", 1, False, False),
        ("a couple of red mugs", "red mugs", 2, False, False),
        ("a dozen eggs", "eggs", 12, False, False),
        ("both mugs", "mugs", 2, False, False),
        ("two of the mugs", "mugs", 2, False, False),
        ("all mugs", "mugs", None, True, False),
        ("find every mug", "mug", None, True, False),
        ("several mugs", "mugs", None, True, False),
        ("how many plates", "plates", None, False, True),
        ("how many plates are there in the image?", "plates", None, False, True),
        ("how many plates can you see?", "plates", None, False, True),
        ("count the plates", "plates", None, False, True),
        ("number of plates", "plates", None, False, True),
    ],
)
def test_numbers(text, name, count, every, how_many):
    wanted = one(text)
    assert (wanted.name, wanted.count, wanted.every, wanted.how_many) == (name, count, every, how_many)
    assert not wanted.relations
    assert wanted.order is None


def test_parts_go_together():
    wanted = one("the two largest red mugs on the plate left of the teapot")
    assert str(wanted) == "largest red mugs on the plate left of the teapot"
    assert (wanted.count, wanted.order.by) == (2, (By.LARGEST,))
    (relation,) = wanted.relations
    assert str(relation.anchors[0].relations[0]) == "left of the teapot"
    assert one("how many mugs are on the table").how_many
    assert one("the mugs on the left").every  # several are asked for


def test_a_relation_goes_on_with_the_thing_before():
    mug, spoon = parse_request("the mug left of the teapot and near the bowl, a spoon")
    assert str(mug) == "mug left of the teapot near the bowl"
    assert str(spoon) == "spoon"
    assert [str(wanted) for wanted in parse_request("mug and the bowl left of the pot")] == [
        "mug",
        "bowl left of the pot",
    ]


def test_singular_and_plural_are_one_thing_to_look_for():
    assert one("mug near two mugs").names == ("mug",)
    assert [wanted.name for wanted in parse_request("mug, mugs")] == ["mug", "mugs"]  # as parse_query has it


def test_quotation_marks_keep_a_name():
    wanted = one('the "top shelf" left of the "salt and pepper shaker"')
    assert wanted.names == ("top shelf", "salt and pepper shaker")
    assert all(isinstance(name, Quoted) for name in wanted.names)


def test_plain_names_are_what_a_query_reads():
    text = "find the apple, my top hat and a frying pan with lid; mug (red), 'left teapot'"
    assert tuple(wanted.name for wanted in parse_request(text)) == parse_query(text)
    assert all(wanted.is_plain for wanted in parse_request(text))
    assert parse_request(" ") == ()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("the mug left of of the", "I read 'mug left of', and then 'of the' names no thing"),
        ("mug left of the", "I read 'mug left of', and then 'the' names no thing"),
        ("between the cups", "'between the cups' names no thing"),
        ("what is in the box", "I read 'what', and then 'is in the box' names no thing"),
        ("the second from the left", "'second from the left' names no thing"),
        ("cup between the bowl", "and then 'the bowl' is one thing, and 'between' wants two"),
        ("heaviest mug", "'heaviest' is nothing that can be measured"),
        ("most expensive cup", "'most' is nothing that can be measured"),
        ("handle of the mug", "'of the mug' asks for a part"),
        ("mug holding a spoon", "I read 'mug', and then 'holding a spoon' is not understood"),
        ("mug from the shelf", "I read 'mug', and then 'from the shelf' is not understood"),
        ("mug that is broken", "'that is broken' is not understood"),
        ("mug older than the bowl on the left", "'older"),
        ("mug without a handle", "'without a handle' is not answered"),
        ("the other mug", "'other' depends on what was said before"),
        ("next mug", "'next' depends on what was said before"),
        ("the red one", "'one' is not answered"),
        ("table with two chairs", "'two chairs' is not understood"),
        ("at least two mugs", "'at least' is no number"),
        ("0 mugs", f"'0' is no number from 1 to {MAX_COUNT}"),
        ("two three mugs", "is a second number"),
        ("left mug on the right", "'left' comes on top of 'rightmost'"),
        ("mug on the plate left of the teapot near the bowl", f"more than the {MAX_DEPTH} that I follow"),
        ("mug left of how many pots", "asks how many"),
        ("mug near", "'near' is followed by no thing"),
        ("mug near the bowl to", "'to' leads to no thing"),
        ("near mug near pot nearest largest of the first", ""),
        ("find the", "name a thing"),
        ("x " * 3000, "4096"),
    ],
)
def test_what_is_not_understood_is_told(text, why):
    with pytest.raises(InvalidInputError) as told:
        parse_request(text)
    assert why in str(told.value)


def test_a_request_is_text():
    with pytest.raises(InvalidInputError, match="expected a query as text"):
        parse_request(7)


def test_words_in_any_form_are_asked_for():
    asked = as_request(["tape (cloth, paper)", "the mug left of the teapot", "two plates near a mug"])
    assert asked.names == ("tape (cloth, paper)", "mug", "plates")
    assert asked.vocabulary.names == ("tape (cloth, paper)", "mug", "plates", "teapot")
    assert [one.is_plain for one in asked.wanted] == [True, False, False]
    plain = as_request("find the cup and the spoon")
    assert (plain.wanted, plain.names, plain.vocabulary.names) == ((), ("cup", "spoon"), ("cup", "spoon"))
    assert as_request('"left teapot"').vocabulary.names == ("left teapot",)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["cup", "another mug"], "'another mug' cannot be looked for: 'another' depends on"),
        (["cup", 3], "3 cannot be looked for: expected a label as text"),
        ([], "name at least one thing"),
        (b"cup", "expected words as a list or as text"),
        ("the mug left of the ключ", "'ключ' cannot be looked for: not English"),
        ("the mug left of the " + "x" * 200, "expected at most 128 bytes"),
    ],
)
def test_what_cannot_be_asked_for_is_told(words, why):
    with pytest.raises(InvalidInputError, match=why):
        as_request(words, refuse=lambda word: "" if word.isascii() else "not English")


def test_a_label_is_called_by_its_noun():
    assert is_called("white red mug", "mug")
    assert is_called("coffee mugs", "coffee mug")
    assert not is_called("coffee mug", "mug")  # coffee says which kind
    assert not is_called("mug", "red mug")
    assert not is_called("mug", "")
