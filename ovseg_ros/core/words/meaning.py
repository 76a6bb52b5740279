"""Whether two words can mean the same thing: the protocol, and the rule that knows spelling alone.

Words that compete with an asked word ("rivals") step aside where they mean the same: who asks for a "sofa"
does not want a "couch" to win instead. Meaning decides, not how near two embeddings lie: in a text tower
"kettle" may well be nearer to "teapot" than a synonym is to its twin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ovseg_ros.core.words.spelling import DESCRIBING, singulars, without_what_follows, words_of

MAX_CACHED = 8192
"""Words whose meaning is remembered; a robot that talks all day asks for more, and starts anew."""


class Meanings(Protocol):
    """What words mean. Words are free text: case, plural, hyphens and underscores do not matter."""

    def same(self, a: str, b: str) -> bool:
        """Whether the two can mean the same thing; symmetric, true for a word and itself."""
        ...

    def knows(self, word: str) -> bool:
        """Whether the word, or the noun at its end, means anything here."""
        ...

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Other words for the same thing, without the word itself; () if none are known."""
        ...

    def hypernyms(self, word: str) -> tuple[str, ...]:
        """What the thing is a kind of, nearest first; () if nothing is known."""
        ...

    def is_kind(self, word: str, kind: str) -> bool:
        """Whether the word can mean something that is a kind of the other: "mug" of "container"."""
        ...


@dataclass(frozen=True)
class Entry:
    """What one word stands for. A node is a sense (its number) or a spelling (the words themselves).

    Attributes:
        meant: nodes that the word itself means.
        kinds: those, and all that these are a kind of.
        looks: describing words before the noun, such as colours.
        known: whether a dictionary has the word or its head.
        senses: the senses in `meant`, likeliest first.
        above: the senses that are in `kinds` alone, nearest first.
    """

    meant: frozenset[int | str]
    kinds: frozenset[int | str]
    looks: frozenset[str] = frozenset()
    known: bool = True
    senses: tuple[int, ...] = ()
    above: tuple[int, ...] = ()


def same_entries(a: Entry, b: Entry) -> bool:
    """One means what the other means or is a kind of: meant(a) meets kinds(b), or meant(b) kinds(a).

    Different looks keep two apart ("red mug", "white mug") unless one only says more ("mug", "red mug").
    """
    if a.meant.isdisjoint(b.kinds) and b.meant.isdisjoint(a.kinds):
        return False
    return not (a.looks and b.looks) or a.looks <= b.looks or b.looks <= a.looks


@dataclass
class SpellingMeanings:
    """Meaning by spelling: case, separators, plural, and the noun at a compound's end ("red mug" is a "mug").

    It knows no synonyms, and takes a "hot dog" for a dog. For where no dictionary is installed.

    Examples:
        >>> meanings = SpellingMeanings()
        >>> meanings.same("Coffee_mugs", "mug"), meanings.same("red mug", "white mug")
        (True, False)
    """

    _entries: dict[str, Entry] = field(default_factory=dict, repr=False)

    def same(self, a: str, b: str) -> bool:
        """See `Meanings.same`."""
        return same_entries(self._entry(a), self._entry(b))

    def knows(self, word: str) -> bool:
        """True for every word with a letter in it: spelling alone rules none out."""
        return any(letter.isalpha() for letter in word)

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Always ()."""
        return ()

    def hypernyms(self, word: str) -> tuple[str, ...]:
        """The noun at the end of a compound, longest first: "red coffee mug" -> ("coffee mug", "mug")."""
        words = _singular(without_what_follows(words_of(word)))
        return tuple(" ".join(words[start:]) for start in range(1, len(words)))

    def is_kind(self, word: str, kind: str) -> bool:
        """By the noun at the end: a "coffee mug" is a kind of "mug"."""
        return not self._entry(kind).meant.isdisjoint(self._entry(word).kinds)

    def _entry(self, text: str) -> Entry:
        entry = self._entries.get(text)
        if entry is None:
            entry = _spelled(text)
            if len(self._entries) >= MAX_CACHED:
                self._entries.clear()
            self._entries[text] = entry
        return entry


def _spelled(text: str) -> Entry:
    words = _singular(without_what_follows(words_of(text)))
    start = next((i for i, word in enumerate(words[:-1]) if word not in DESCRIBING), max(len(words) - 1, 0))
    names = [" ".join(words[i:]) for i in range(len(words))] or [""]
    return Entry(frozenset(names[: start + 1]), frozenset(names), frozenset(words[:start]))


def _singular(words: tuple[str, ...]) -> tuple[str, ...]:
    return (*words[:-1], *singulars(words[-1])[:1]) if words and singulars(words[-1]) else words
