"""Whatever people type becomes words, or is refused with a word; and numbers keep what they mean."""

from __future__ import annotations

import unicodedata

from hostile import any_text, floats
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from property_cases import answered, cases, machine_cases

from ovseg_ros.core.words import (
    MAX_LABELS,
    REST_S,
    UNLABELLED_ID,
    Rejected,
    Vocabulary,
    as_vocabulary,
    parse_query,
    parse_request,
    read_label,
)
from ovseg_ros.core.words.labels import MAX_LABEL_BYTES, key_of
from ovseg_ros.errors import OvsegError

PIECES = [
    *("find", "the", "a", "please", "where is", "left", "two", "not", "and", "or", "in this image", "of"),
    *(
        "mug",
        "red mug",
        "teapot",
        "café",
        "cafe\u0301",
        "чайник",
        "急須",
        "إبريق",
        "👩\u200d🍳",
        "ﬁsh",
        "ß",
        "İ",
    ),
    *(
        ",",
        ";",
        ".",
        "?!",
        "'",
        '"',
        "\u201c",
        "\u201d",
        "«",
        "»",
        "(",
        ")",
        "\uff08",
        "&",
        "-",
        "1)",
        "\n",
        "\t",
    ),
    *("\0", "\u202e", "\u200b", "\ufeff", "\ue000", "\ud800", "\u0301" * 40, "x" * 200, " " * 50, "\u2028"),
]
queries = st.one_of(any_text, st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join))
long_queries = st.tuples(st.sampled_from(PIECES), st.integers(0, 5000)).map(lambda pair: pair[0] * pair[1])


@cases(450, queries)
def test_a_query_is_names_or_refused(text):
    names = answered(lambda: parse_query(text))
    if isinstance(names, OvsegError):
        return
    assert bool(names) == bool(text.strip())
    assert len({key_of(name) for name in names}) == len(names)
    vocabulary, rejected = Vocabulary.empty().replace(names)
    assert len(vocabulary) + len(rejected) == len(names)
    assert all(one.reason for one in rejected)


@cases(50, long_queries)
def test_a_long_query_takes_no_long_time(text):
    answered(lambda: parse_query(text))


PARTS = [
    *("left of", "to the right of the", "on", "in the", "near", "near me", "between", "behind", "under the"),
    *("second", "from the left", "largest", "nearest", "top", "last", "of the", "than", "bigger than", "two"),
    *(
        "how many",
        "are there",
        "that is",
        "on the left side",
        "in the middle",
        "count the",
        "both",
        "x2",
        "3",
    ),
    *("jack in the box", '"top shelf"', "mouse_(computer)", "to", "with", "is", "far from", "closest to"),
]
requests = st.lists(st.sampled_from([*PARTS, *PARTS, *PIECES]), max_size=14).map(" ".join)
long_requests = st.tuples(st.sampled_from(PARTS), st.sampled_from(PARTS), st.integers(0, 600)).map(
    lambda one: f"mug {one[0]} {one[1]} " * one[2]
)


@cases(600, st.one_of(requests, queries))
def test_a_request_is_understood_or_refused_and_plain_names_are_those_of_a_query(text):
    wanted = answered(lambda: parse_request(text))
    names = answered(lambda: parse_query(text))
    # A query does not read what is too long for a label.
    plain = not isinstance(names, OvsegError) and all(len(name.encode()) <= MAX_LABEL_BYTES for name in names)
    if isinstance(wanted, OvsegError):
        assert not plain, "a list of plain names is a request"
        return
    assert bool(wanted) == bool(text.strip())
    if plain:
        assert tuple({key_of(one.name): one.name for one in wanted}.values()) == names
    for one in wanted:
        assert str(one)
        assert len({key_of(name) for name in one.names}) == len(one.names) >= 1
        assert all(part.name.strip() for part in one.parts())
        assert len(Vocabulary.empty().replace(one.names)[1]) <= len(one.names)


@cases(50, long_requests)
def test_a_long_request_takes_no_long_time(text):
    answered(lambda: parse_request(text))


@cases(300, queries)
def test_a_label_is_clean_and_stays_itself(text):
    label = answered(lambda: read_label(text))
    if isinstance(label, OvsegError):
        return
    assert 0 < len(label.encode()) <= MAX_LABEL_BYTES
    assert label == " ".join(label.split())
    assert unicodedata.is_normalized("NFC", label)
    assert not any(unicodedata.category(c)[0] == "C" and c not in "\u200c\u200d" for c in label)
    vocabulary, rejected = Vocabulary.empty().replace([text, label, f'"{label}"'])
    assert vocabulary.names == (label,)
    assert len(rejected) == 2
    assert vocabulary.index(label) == vocabulary.index(text) == 0


@cases(100, st.one_of(queries, st.lists(st.one_of(queries, st.integers(), st.none()), max_size=5), st.none()))
def test_words_in_any_form_are_a_vocabulary_or_refused(words):
    vocabulary = answered(lambda: as_vocabulary(words))
    assert isinstance(vocabulary, OvsegError) or 1 <= len(vocabulary) <= MAX_LABELS


thresholds = st.one_of(st.none(), floats)
words = st.one_of(
    st.sampled_from(["mug", "Mug", "teapot", "red mug", "bowl", "the left mug", "", "?"]), queries
)
changes = st.lists(st.tuples(words, thresholds), max_size=6)


class VocabularyMachine(RuleBasedStateMachine):
    """Changes of the words, and what may never happen whatever they are."""

    @initialize(told=st.booleans())
    def start(self, told: bool) -> None:
        self.vocabulary, self.told, self.now_s, self.fresh = Vocabulary.empty(), told, 0.0, 0
        self.past: list[tuple[Vocabulary, tuple]] = []
        self.last_active: dict[int, tuple[str, float, int]] = {}  # id -> name, when, at which change

    def _change(self, change) -> None:
        before = self.vocabulary
        self.vocabulary, rejected = change()
        assert all(isinstance(one, Rejected) and one.reason for one in rejected)
        assert self.vocabulary.version - before.version in (0, 1)
        if self.vocabulary.version == before.version:
            assert self.vocabulary == before
        for label in before:
            self.last_active[label.id] = (label.name, self.now_s, self.vocabulary.version)
        for label_id, (name, at_s, version) in self.last_active.items():
            rests = self.now_s - at_s < REST_S if self.told else self.vocabulary.version - version < 128
            assert self.vocabulary.names_by_id[label_id] == name or not rests, "a number changed its meaning"
        self.past.append((self.vocabulary, self._shown(self.vocabulary)))

    @staticmethod
    def _shown(vocabulary: Vocabulary) -> tuple:
        return vocabulary.labels, vocabulary.version, vocabulary.names_by_id

    @property
    def _clock(self) -> float | None:
        return self.now_s if self.told else None

    @rule(change=changes, operation=st.sampled_from(["replace", "add"]))
    def put(self, change, operation) -> None:
        names, numbers = [name for name, _ in change], [number for _, number in change]
        method = getattr(self.vocabulary, operation)
        self._change(lambda: method(names, numbers, now_s=self._clock))

    @rule(names=st.lists(words, max_size=4))
    def remove(self, names) -> None:
        self._change(lambda: self.vocabulary.remove(names, now_s=self._clock))

    @rule(count=st.sampled_from([1, 60, 130]), operation=st.sampled_from(["replace", "add"]))
    def many(self, count, operation) -> None:
        names = [f"thing {chr(0x4E00 + self.fresh + i)}" for i in range(count)]
        self.fresh += count
        method = getattr(self.vocabulary, operation)
        self._change(lambda: method(names, now_s=self._clock))

    @rule(seconds=st.sampled_from([0.0, 0.1, 9.0, 11.0, 1e6]))
    def wait(self, seconds) -> None:
        self.now_s += seconds

    @rule(refuse=st.sampled_from(["", "no"]))
    def refused(self, refuse) -> None:
        self._change(lambda: self.vocabulary.replace(["mug"], now_s=self._clock, refuse=lambda _: refuse))

    @rule(numbers=st.lists(thresholds, min_size=2, max_size=3))
    def of_another_length(self, numbers) -> None:
        assert isinstance(answered(lambda: self.vocabulary.replace(["mug"], numbers)), OvsegError)

    @invariant()
    def holds(self) -> None:
        vocabulary = self.vocabulary
        assert len({*vocabulary.ids}) == len(vocabulary.ids)
        assert len({key_of(name) for name in vocabulary.names_by_id}) == len(vocabulary.names_by_id)
        assert len(vocabulary.names_by_id) <= MAX_LABELS == UNLABELLED_ID
        assert all(vocabulary.names_by_id[label.id] == label.name for label in vocabulary)
        assert all(one.threshold is None or 0 <= one.threshold <= 1 for one in vocabulary)
        assert all(self._shown(old) == shown for old, shown in self.past[-9:]), "a snapshot changed"


def test_numbers_keep_their_meaning():
    machine_cases(30, VocabularyMachine, steps=15)
