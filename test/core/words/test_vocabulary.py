"""The vocabulary: ids that never change meaning, and names cleaned, counted and refused in words."""

import dataclasses

import pytest

from ovseg_ros.core.words.vocabulary import MAX_LABELS, Label, Vocabulary, clean_label
from ovseg_ros.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("teapot", "teapot"),
        ("  red \t\n mug ", "red mug"),
        ("'teapot!'", "teapot"),
        ("(the) cup", "the) cup"),
        ("cafe\u0301", "caf\u00e9"),
        ("te\u202eap\u200bot\x00", "teapot"),
        ("tea\x07pot", "tea pot"),
        ("7-up", "7-up"),
        ("茶壶", "茶壶"),
        ("🫖", "🫖"),
        ("broken\ud800", "broken"),
        ("a" * 128, "a" * 128),
    ],
)
def test_clean_label(text, label):
    assert clean_label(text) == label


@pytest.mark.parametrize("text", ["", "   ", "\x00", "?!", "…", "\u202e", "a" * 129, "é" * 65, 7, None])
def test_clean_label_refuses(text):
    with pytest.raises(InvalidInputError):
        clean_label(text)


def test_empty_is_valid():
    empty = Vocabulary.empty()
    assert (empty.names, empty.ids, len(empty), empty.version, empty.names_by_id) == ((), (), 0, 0, ())
    assert "teapot" not in empty
    assert empty.replace([]) == (empty, [])


def test_ids_are_for_ever_and_versions_count_changes():
    first, _ = Vocabulary.empty().replace(["teapot", "mug"])
    second, _ = first.replace(["bowl", "mug"])
    third, _ = second.remove(["mug"])
    fourth, _ = third.add(["Teapot", "mug"])
    assert [v.version for v in (first, second, third, fourth)] == [1, 2, 3, 4]
    assert second.names == ("bowl", "mug")
    assert second.ids == (2, 1)
    assert third.names_by_id == ("teapot", "mug", "bowl")
    assert fourth.labels == (Label(2, "bowl"), Label(0, "teapot"), Label(1, "mug"))
    assert first.names == ("teapot", "mug"), "the old one is untouched"


def test_no_change_keeps_the_version():
    first, _ = Vocabulary.empty().replace(["teapot", "mug"], [0.4, None])
    assert first.replace(["TEAPOT", "mug "], [0.4, None])[0] is first
    assert first.add(["mug"])[0] is first
    assert first.replace(["mug", "teapot"], [None, 0.4])[0].version == 2, "another order is a change"


def test_thresholds():
    first, rejected = Vocabulary.empty().replace(["a1", "b1", "c1", "d1"], [0.0, 1.0, float("nan"), 1.5])
    assert [label.threshold for label in first] == [0.0, 1.0, None]
    assert [r.name for r in rejected] == ["d1"]
    assert "1.5" in rejected[0].reason
    again, _ = first.add(["b1", "c1"], [None, 0.3])
    assert [label.threshold for label in again] == [0.0, 1.0, 0.3], "no threshold leaves the one there was"
    with pytest.raises(InvalidInputError, match="one threshold per name"):
        first.add(["e1"], [0.1, 0.2])


def test_a_string_is_not_a_list_of_names():
    with pytest.raises(InvalidInputError, match="parse_query"):
        Vocabulary.empty().replace("teapot")


def test_rejections_name_the_word_and_the_reason():
    vocabulary, rejected = Vocabulary.empty().replace(
        ["Teapot", "teapot", "?", "x" * 200, "STRASSE", "straße"]
    )
    assert vocabulary.names == ("Teapot", "STRASSE")
    assert [(r.name[:8], r.reason.split()[0]) for r in rejected] == [
        ("teapot", "the"),
        ("", "no"),
        ("xxxxxxxx", "want"),
        ("straße", "the"),
    ]
    assert len(rejected[2].name) == 40
    same, unknown = vocabulary.remove(["giraffe"])
    assert same is vocabulary
    assert (unknown[0].name, unknown[0].reason) == ("giraffe", "not in the vocabulary")


def test_the_256th_label_is_refused_by_name():
    names = [f"thing {i}" for i in range(MAX_LABELS + 2)]
    full, rejected = Vocabulary.empty().replace(names)
    assert full.ids == tuple(range(255))
    assert [r.name for r in rejected] == names[255:]
    assert "255" in rejected[0].reason
    smaller, _ = full.replace(names[:1])
    assert smaller.add(["one more"]) == (
        smaller,
        [r for r in smaller.add(["one more"])[1] if r.name == "one more"],
    )
    assert smaller.add(["thing 254"])[0].ids == (0, 254), "an old name still has its id"


def test_lookup_forgives_case_and_space():
    vocabulary, _ = Vocabulary.empty().replace(["Red Mug"])
    assert "red  mug!" in vocabulary
    assert vocabulary.index("RED MUG") == 0
    assert vocabulary.index("mug") is None
    assert 7 not in vocabulary


def test_immutable():
    vocabulary, _ = Vocabulary.empty().replace(["teapot"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        vocabulary.version = 9
