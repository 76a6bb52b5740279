"""What people and planners type, and the names that must come out."""

import contextlib

import pytest

from ovseg_ros.core.words.labels import Quoted
from ovseg_ros.core.words.query import as_vocabulary, names_in, parse_query
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("find teapot", ["teapot"]),
        ("teapot", ["teapot"]),
        ("FIND ME the Teapot!", ["Teapot"]),
        ("teapot, red mug", ["teapot", "red mug"]),
        ("find the apple and the orange", ["apple", "orange"]),
        ("find an apple, an orange, and some cherries", ["apple", "orange", "cherries"]),
        ("look for my keys", ["keys"]),
        ("search for any mug or bowl", ["mug", "bowl"]),
        ("locate: wine bottle", ["wine bottle"]),
        ("where is my kettle?", ["kettle"]),
        ("Where's the kettle", ["kettle"]),
        ("where are the cups and the plates?", ["cups", "plates"]),
        ("tell me where the teapot is", ["teapot"]),
        ("show me a moka pot, please", ["moka pot"]),
        ("please detect cups", ["cups"]),
        ("could you please segment the frying pan for me?", ["frying pan"]),
        ("is there a giraffe in the image?", ["giraffe"]),
        ("find all of the mugs", ["mugs"]),
        ("cup; plate\nbowl\r\nspoon", ["cup", "plate", "bowl", "spoon"]),
        ("- cup\n* plate\n1. bowl\n2) spoon", ["cup", "plate", "bowl", "spoon"]),
        ("Find the teapot. Then find the mug.", ["teapot", "mug"]),
        ('find "salt and pepper shaker" and cup', ["salt and pepper shaker", "cup"]),
        ("find the “salt, and pepper” shaker", ["salt, and pepper shaker"]),
        ("'the who' poster", ["the who poster"]),
        ('"find"', ["find"]),
        ('find "top shelf", "mug on the table"', ["top shelf", "mug on the table"]),
        ("mouse_(computer_equipment), crayon (red)", ["mouse_(computer_equipment)", "crayon (red)"]),
        ("mug, mugs, MUG", ["mug", "mugs"]),
        ("baker's peel, o'brien's mug", ["baker's peel", "o'brien's mug"]),
        ("teapot, Teapot,teapot", ["teapot"]),
        ("teapot,, ;mug,", ["teapot", "mug"]),
        ("茶壶\uff0c杯子", ["茶壶", "杯子"]),
        ("cafe\u0301 cre\u0300me", ["café crème"]),
    ],
)
def test_names(text, names):
    assert list(parse_query(text)) == names


@pytest.mark.parametrize(
    "name",
    [
        "android",
        "android phone",
        "over the ear headphones",
        "orange",
        "sandwich",
        "theme park ticket",
        "thermos",
        "finder",
        "Mr. Coffee machine",
        "hello kitty mug",
        "plus sign",
        "isle of man flag",
        "anyway sign",
        "no. 5 perfume",
        "black-and-white ball",
        "island",
        "myrtle",
        "segmented worm",
    ],
)
def test_names_keep_their_parts(name):
    assert parse_query(name) == (name,)
    assert parse_query(f"find the {name}") == (name,)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("crayon (red), mouse_(computer_equipment)", ["crayon (red)", "mouse_(computer_equipment)"]),
        ("find the crayon (red) and the mug, please", ["crayon (red)", "mug"]),
        ("tape (cloth, paper or foil); mug", ["tape (cloth, paper or foil)", "mug"]),
        ("tape_(sticky_cloth_or_paper)", ["tape_(sticky_cloth_or_paper)"]),
        ("cup\uff08red\uff0cblue\uff09\u3001bowl", ["cup\uff08red\uff0cblue\uff09", "bowl"]),
        ("knocker_(on_a_door), bath_(no_water)", ["knocker_(on_a_door)", "bath_(no_water)"]),
        ("is there a mouse (computer, wireless)?", ["mouse (computer, wireless)"]),
        ('tape ("x, y"), mug', ["tape (x, y)", "mug"]),
        ("(cup, spoon)", ["cup", "spoon"]),
        ("find (the cup and a spoon), fork", ["cup", "spoon", "fork"]),
        ("((cup, mug), (jug, pot))", ["cup", "mug", "jug", "pot"]),
        ("tape (cloth, paper", ["tape (cloth", "paper"]),
        ("cooker/stove, baker's peel", ["cooker/stove", "baker's peel"]),
    ],
)
def test_what_is_in_a_names_own_brackets_stays_with_it(text, names):
    assert list(parse_query(text)) == names
    assert list(Vocabulary.empty().replace(parse_query(text))[0].names) == names


@pytest.mark.parametrize("name", ["mug (left)", "plate (on the table)"])
def test_what_a_sentence_says_in_brackets_is_read(name):
    with pytest.raises(InvalidInputError, match="tell which one is meant"):
        parse_query(name)


@pytest.mark.parametrize(
    "text", ["(" * 4000, "(a1,b)" * 600, "((a1,b)," * 500, "(," * 2000, "(a1,(b1," * 500]
)
def test_many_brackets_do_no_harm(text):
    try:
        names = parse_query(text)
    except InvalidInputError:
        return
    assert all(name.strip("(),") for name in names)


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_blank_asks_for_nothing(text):
    assert parse_query(text) == ()


@pytest.mark.parametrize(
    "text", ["find", "find the", "Find me!", "where is", "please", "???", "and", '""', "\x00"]
)
def test_a_query_must_name_a_thing(text):
    with pytest.raises(InvalidInputError, match="name a thing"):
        parse_query(text)


def test_size_limit():
    assert parse_query("x" * 4096) == ("x" * 4096,)  # the vocabulary will refuse it by name
    with pytest.raises(InvalidInputError, match="4096"):
        parse_query("x" * 4097)
    with pytest.raises(InvalidInputError, match="10000"):
        parse_query("x " * 5000)
    with pytest.raises(InvalidInputError, match="4096"):
        parse_query("é" * 2049)


def test_only_text():
    with pytest.raises(InvalidInputError, match="bytes"):
        parse_query(b"teapot")


@pytest.mark.parametrize(
    "text", ["find \ud800 cup", "\ue000 cup", '"unclosed cup', "'''cup", "cup " + "'" * 4000]
)
def test_odd_characters_do_no_harm(text):
    (name,) = parse_query(text)
    assert "cup" in name
    name.encode()


@pytest.mark.parametrize(
    "text",
    [
        "find the mug near the teapot",
        "where is the left teapot?",
        "two teapots, please",
        "teapot; the mug on the table",
        "cup between the mug and the teapot",
        "find the mug, not the red one",
        '"salt and pepper shaker" near the teapot',
    ],
)
def test_relations_and_numbers_refuse_the_whole_query(text):
    with pytest.raises(InvalidInputError, match=r"tell which one is meant|are not answered"):
        parse_query(text)


def test_a_quoted_name_is_taken_unread():
    (name,) = parse_query('find the "left teapot"')
    assert isinstance(name, Quoted)
    vocabulary, rejected = Vocabulary.empty().replace([name])
    assert (vocabulary.names, rejected) == (("left teapot",), [])
    assert type(vocabulary.names[0]) is str
    assert as_vocabulary('"left teapot"').names == ("left teapot",)


def test_as_vocabulary_reads_lists_too():
    with pytest.raises(InvalidInputError, match="'two mugs' cannot be looked for: numbers"):
        as_vocabulary(["cup", "two mugs"])
    with pytest.raises(InvalidInputError, match="not English"):
        as_vocabulary(["cup"], refuse=lambda word: "not English")


NASTY = [
    *(
        '"',
        "'",
        "\u201c",
        "\u2018",
        "'a",
        "x ' y ",
        "(",
        "([{",
        "(a)",
        "and ",
        "the ",
        "find ",
        "is are ",
        "too ",
    ),
    *(
        "in the image ",
        "\u0315\u0300\u0316",
        "a\u0301\u0316",
        ".",
        "!",
        "!a",
        ", ",
        "\n",
        "1. ",
        "near the ",
        "_a",
    ),
]


@pytest.mark.parametrize("pattern", NASTY)
def test_reading_takes_time_linear_in_the_text(pattern):
    """A text far beyond the limit: with the square of its length each of these took minutes."""
    with contextlib.suppress(InvalidInputError):
        names_in(pattern * (300_000 // len(pattern)) + "cup")


@pytest.mark.parametrize("pattern", NASTY)
def test_hostile_input_stays_within_the_limit(pattern):
    with contextlib.suppress(InvalidInputError):
        names = parse_query((pattern * 4096)[: 4092 // len(pattern.encode()) * len(pattern)])
        assert all(name == name.strip() for name in names)
