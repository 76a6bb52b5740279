"""The vocabulary: ids keep their meaning while anyone may need it; names are cleaned, counted and refused."""

import dataclasses

import pytest

from ovseg_ros.core.words.labels import Label, Rejected, clean_label
from ovseg_ros.core.words.vocabulary import MAX_LABELS, Vocabulary
from ovseg_ros.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("teapot", "teapot"),
        ("  red \t\n mug ", "red mug"),
        ("'teapot!'", "teapot"),
        ("(the) cup", "(the) cup"),
        ("(cup)!", "cup"),
        ("crayon (red)", "crayon (red)"),
        ("mouse_(computer_equipment)", "mouse_(computer_equipment)"),
        ("crayon (red).", "crayon (red)"),
        ("mug)", "mug"),
        ("(mug", "mug"),
        ("mug ()", "mug"),
        ("[(mug [big])]", "mug [big]"),
        ("杯子\uff08红\uff09", "杯子\uff08红\uff09"),
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


def test_ids_stay_with_their_words_and_versions_count_changes():
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
        ("xxxxxxxx", "expected"),
        ("straße", "the"),
    ]
    assert len(rejected[2].name) == 40
    same, unknown = vocabulary.remove(["giraffe"])
    assert same is vocabulary
    assert (unknown[0].name, unknown[0].reason) == ("giraffe", "not in the vocabulary")


def test_raw_length_is_looked_at_first():
    """Unicode's normal form of the first takes seconds."""
    accents = "\u0315\u0300\u0316" * 20_000
    vocabulary, rejected = Vocabulary.empty().replace([accents, "x" * 513, "\u00e9" * 257, "x" * 512, "mug"])
    assert vocabulary.names == ("mug",)
    assert [word.reason for word in rejected] == ["expected at most 128 bytes, got more than 512"] * 3 + [
        "expected at most 128 bytes, got 512"
    ]
    assert vocabulary.index(accents) is None
    assert vocabulary.remove([accents])[1][0].reason == "not in the vocabulary"


def test_a_row_of_accents_is_cut():
    assert clean_label("e" + "\u0301" * 60) == "\u00e9" + "\u0301" * 29


def test_words_that_are_all_refused_change_nothing():
    vocabulary, _ = Vocabulary.empty().replace(["teapot"])
    for words in (["?"], ["left mug", ""], ["two mugs"]):
        same, rejected = vocabulary.replace(words)
        assert same is vocabulary
        assert len(rejected) == len(words)
    some, rejected = vocabulary.replace(["?", "mug"])
    assert (some.names, len(rejected)) == (("mug",), 1)
    assert vocabulary.replace([])[0].names == (), "no words at all are a wish"


def test_a_word_can_be_refused_by_others():
    reasons = {"чайник": "unknown"}
    vocabulary, rejected = Vocabulary.empty().add(["mug", "чайник"], refuse=lambda w: reasons.get(w, ""))
    assert vocabulary.names == ("mug",)
    assert rejected == [Rejected("чайник", "unknown")]


def full(now_s=None):
    """All 255 ids given, thing 0 to thing 254 active."""
    return Vocabulary.empty().replace([f"thing {i}" for i in range(MAX_LABELS)], now_s=now_s)[0]


def test_the_256th_label_is_refused_by_name():
    names = [f"thing {i}" for i in range(MAX_LABELS + 2)]
    taken, rejected = Vocabulary.empty().replace(names)
    assert taken.ids == tuple(range(255))
    assert [r.name for r in rejected] == names[255:]
    assert "255" in rejected[0].reason
    assert "remove a word first" in rejected[0].reason


def test_replacing_all_the_labels_says_that_their_ids_rest_first():
    same, rejected = full(now_s=100.0).replace(["mug"], now_s=200.0)
    assert len(same) == MAX_LABELS
    assert "remove these words first, and add new ones after 10 s" in rejected[0].reason
    assert "after 128 changes" in full().replace(["mug"])[1][0].reason
    cleared, _ = same.replace([], now_s=200.0)
    assert "try again in 10 s" in cleared.add(["mug"], now_s=200.0)[1][0].reason
    assert cleared.add(["mug"], now_s=210.0)[0].names == ("mug",), "as the message says"


def test_ids_rest_by_the_clock():
    smaller, _ = full(now_s=100.0).replace(["thing 0", "thing 7"], now_s=200.0)
    same, rejected = smaller.add(["mug"], now_s=203.5)
    assert same is smaller, "a message with the id may still be on its way"
    assert "try again in 6 s" in rejected[0].reason
    assert smaller.add(["thing 254"], now_s=203.5)[0].ids == (0, 7, 254), "an old name still has its id"
    after, rejected = smaller.add(["mug", "bowl"], now_s=210.0)
    assert (after.ids, rejected) == ((0, 7, 1, 2), [])
    assert after.names_by_id[:4] == ("thing 0", "mug", "bowl", "thing 3")
    assert after.version == smaller.version + 1
    assert after.add(["thing 1"], now_s=210.0)[0].ids[-1] == 3, "it lost its id and gets another"
    assert smaller.names_by_id[1] == "thing 1", "the old one is untouched"


def test_the_id_unused_longest_is_given_first():
    vocabulary = full(now_s=0.0)
    for now_s, gone in ((10.0, "thing 9"), (20.0, "thing 4"), (30.0, "thing 6")):
        vocabulary, _ = vocabulary.remove([gone], now_s=now_s)
    for name, label_id in (("a1", 9), ("b1", 4)):
        vocabulary, rejected = vocabulary.add([name], now_s=35.0)
        assert (vocabulary.ids[-1], rejected) == (label_id, [])
    assert "try again in 5 s" in vocabulary.add(["c1"], now_s=35.0)[1][0].reason


def test_a_word_that_comes_back_in_the_same_breath_keeps_its_id():
    resting, _ = full(now_s=0.0).replace(["thing 0"], now_s=1.0)
    changed, _ = resting.replace(["mug", "thing 1"], now_s=60.0)
    assert changed.names == ("mug", "thing 1")
    assert changed.ids == (2, 1), "1 is wanted by its own word, 0 was active a moment ago"


def test_without_a_clock_ids_rest_by_changes():
    vocabulary, _ = full().replace(["thing 0"])
    start = vocabulary.version
    for turn in range(128):
        assert vocabulary.version - start == turn
        assert vocabulary.add(["mug"])[1], "too soon"
        vocabulary, _ = vocabulary.replace([f"thing {1 - turn % 2}"])
    changed, rejected = vocabulary.add(["mug"])
    assert (changed.names_by_id[2], rejected) == ("mug", [])


def test_a_robot_that_talks_all_day_does_not_run_out():
    vocabulary, meaning = Vocabulary.empty(), {}
    for second in range(0, 3000):
        now_s = second * 0.2
        vocabulary, rejected = vocabulary.replace([f"word {second}", "mug"], now_s=now_s)
        assert not rejected
        for label in vocabulary:
            name, since = meaning.get(label.id, (label.name, now_s))
            assert name == label.name or now_s - since >= 10.0, "an id changed its meaning too soon"
            meaning[label.id] = (label.name, now_s)
    assert len(vocabulary.names_by_id) == MAX_LABELS
    assert vocabulary.version == 3000


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
