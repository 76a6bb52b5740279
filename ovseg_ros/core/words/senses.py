"""Meaning by a dictionary of senses: which of a word's senses people mean, and what those are kinds of.

A dictionary has "mug" as a cup, a face and a fool, "dog" as a sausage, and everything as a kind of "object".
Taken whole it would say that nearly all words can mean the same. So only senses count that a camera can see
and people are likely to mean (`meant_senses`), and only kinds that people ask for (not `TOO_GENERAL`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ovseg_ros.core.words.everyday import KIND_OF, NOT_MEANT, SAME_AS, TOO_GENERAL
from ovseg_ros.core.words.meaning import MAX_CACHED, Entry, same_entries
from ovseg_ros.core.words.spelling import DESCRIBING, singulars, without_what_follows, words_of

MAX_THINGS = 4
"""Of the senses that occur in tagged texts at most this many count."""

LIKELY_THINGS = 2
"""So many senses count even where no tagged text has them: the texts are older than computer mice."""

MAX_LETTERS = 32
"""Longer words are not tried as two."""

PHYSICAL, PROCESS = "physical_entity", "process"
PEOPLE = frozenset({"person"})
BODIES = frozenset({"body", "substance"})
"""Kinds of sense that do not stand against a word's being a person first ("person": also a human body)."""
UNSEEN = frozenset({"location", "quantity", "process"})


@dataclass(frozen=True)
class Sense:
    """One meaning, shared by all words for it (WordNet's synset).

    Attributes:
        number: its name in the dictionary.
        domain: what it is about in one word, as WordNet's lexicographer files: "artifact", "food", "person".
        words: all words for it, "_" between their parts.
        parents: numbers of what it is a kind of.
        is_name: whether it is one particular thing (a river, a person), not a kind.
    """

    number: int
    domain: str
    words: tuple[str, ...]
    parents: tuple[int, ...]
    is_name: bool = False


class Dictionary(Protocol):
    """Nouns and their senses, as a reader of files gives them."""

    def senses_of(self, lemma: str) -> tuple[tuple[int, ...], int]:
        """Numbers of a noun's senses, most frequent first, and how many of them occur in tagged texts.

        The noun is in lower case with "_" between its parts. ((), 0) where it is not in the dictionary.
        """
        ...

    def sense(self, number: int) -> Sense:
        """The sense of that number."""
        ...

    def irregular(self, plural: str) -> tuple[str, ...]:
        """Singulars of a plural that no ending tells, () if there are none."""
        ...


@dataclass
class DictionaryMeanings:
    """`Meanings` from a dictionary; what is made of a word is kept.

    Attributes:
        dictionary: nouns and senses.
    """

    dictionary: Dictionary
    _entries: dict[str, Entry] = field(default_factory=dict, repr=False)
    _ancestors: dict[int, tuple[int, ...]] = field(default_factory=dict, repr=False)
    _visible: dict[int, bool] = field(default_factory=dict, repr=False)

    def same(self, a: str, b: str) -> bool:
        """See `Meanings.same`."""
        entries = self._entries
        return same_entries(entries.get(a) or self._entry(a), entries.get(b) or self._entry(b))

    def knows(self, word: str) -> bool:
        """See `Meanings.knows`: any noun of the dictionary, also one that no camera can see."""
        return self._entry(word).known

    def synonyms(self, word: str) -> tuple[str, ...]:
        """See `Meanings.synonyms`: of the senses that people mean, in the dictionary's order."""
        own = " ".join(words_of(word))
        return tuple(name for name in self._names(self._entry(word).senses) if name != own)

    def hypernyms(self, word: str) -> tuple[str, ...]:
        """See `Meanings.hypernyms`: as `same` has them, so without those too general to ask for."""
        return self._names(self._entry(word).above)

    def is_kind(self, word: str, kind: str) -> bool:
        """See `Meanings.is_kind`: by all that the word's likeliest sense and its `hypernyms` are kinds of.

        Who asks for "containers" means what `TOO_GENERAL` leaves out of `same` and `hypernyms`, and who asks
        for "vessels" none that sails, though that sense is the more frequent one: all that can be seen count.
        """
        own, asked = self._entry(word), self._entry(kind)
        lemma = self._lemma(words_of(kind))
        meant = asked.meant.union(() if lemma is None else self._seen(lemma))
        nearest = (*own.senses[:1], *own.above) if own.senses else own.above[:1]  # of a compound its head
        above = {up for number in nearest for up in self.ancestors(number)}
        return not meant.isdisjoint(own.kinds | above)

    def ancestors(self, number: int) -> tuple[int, ...]:
        """Numbers of all that a sense is a kind of, nearest first, without itself; to the very top."""
        found = self._ancestors.get(number)
        if found is None:
            ordered: dict[int, None] = {}
            level = self.dictionary.sense(number).parents
            while level:
                ordered.update(dict.fromkeys(level))
                parents = (parent for child in level for parent in self.dictionary.sense(child).parents)
                level = tuple(dict.fromkeys(parent for parent in parents if parent not in ordered))
            found = self._ancestors[number] = tuple(ordered)
        return found

    def _general(self, number: int) -> bool:
        return self.dictionary.sense(number).words[0].lower() in TOO_GENERAL

    def _names(self, numbers: Iterable[int]) -> tuple[str, ...]:
        names = (name for number in numbers for name in self.dictionary.sense(number).words)
        return tuple(dict.fromkeys(name.replace("_", " ").lower() for name in names))

    def _entry(self, text: str) -> Entry:
        entry = self._entries.get(text)
        if entry is None:
            entry = self._read(words_of(text))
            if len(self._entries) >= MAX_CACHED:
                self._entries.clear()
            self._entries[text] = entry
        return entry

    def _read(self, words: tuple[str, ...]) -> Entry:
        """The entry of a phrase: as a whole, without what follows its head, or by the noun at its end."""
        if not words:
            return Entry(frozenset({""}), frozenset({""}), known=False)
        head = without_what_follows(words)
        whole = self._whole(words, seen=head != words)  # "cup of tea" as a whole is what one likes
        if whole is not None:
            return whole
        if head != words:
            return self._read(head)
        name = " ".join((*words[:-1], *singulars(words[-1])[:1])) if singulars(words[-1]) else " ".join(words)
        if len(words) == 1:
            return Entry(frozenset({name}), frozenset({name}), known=False)
        rest = self._read(words[1:])
        if words[0] in DESCRIBING:
            looks = rest.looks | {words[0]}
            return replace(rest, meant=rest.meant | {name}, kinds=rest.kinds | {name}, looks=looks)
        above = (*rest.senses, *rest.above)
        return Entry(frozenset({name}), rest.kinds | {name}, rest.looks, rest.known, above=above)

    def _whole(self, words: tuple[str, ...], *, seen: bool = False) -> Entry | None:
        """The entry of words that the dictionary or the everyday list has together; None if neither has.

        `seen` asks for a noun with a sense that can be seen.
        """
        lemma = self._lemma(words)
        if lemma is not None and seen and not self._seen(lemma):
            lemma = None
        name = " ".join(words) if lemma is None else lemma.replace("_", " ")
        everyday = next((text for text in self._forms(words) if text in SAME_AS or text in KIND_OF), None)
        if lemma is None and everyday is None:
            return None
        others = (text.replace(" ", "_") for text in SAME_AS.get(everyday or "", ()))
        lemmas = [text for text in (lemma, *others) if text is not None]
        meant = dict.fromkeys(number for text in lemmas for number in self.meant_senses(text))
        kinds = dict.fromkeys(number for text in lemmas for number in self._kept_kinds(text))
        if everyday in KIND_OF:
            kind = KIND_OF[everyday].replace(" ", "_")
            kinds.update(dict.fromkeys((*self.meant_senses(kind), *self._kept_kinds(kind))))
        name = everyday if lemma is None and everyday else name
        above = tuple(number for number in kinds if number not in meant)
        nodes: frozenset[int | str] = frozenset([name, *meant])
        return Entry(nodes, nodes.union(above), senses=tuple(meant), above=above)

    def _kept_kinds(self, lemma: str) -> Iterable[int]:
        """Numbers of what a noun is a kind of, in its first meant sense and in those of tagged texts."""
        numbers, tagged = self.dictionary.senses_of(lemma)
        for place, number in enumerate(self.meant_senses(lemma)):
            if place == 0 or number in numbers[:tagged]:
                yield from (kind for kind in self.ancestors(number) if not self._general(kind))

    def _forms(self, words: tuple[str, ...]) -> tuple[str, ...]:
        """A phrase as it is, then with its last word in the singular."""
        *front, last = words
        bare = (last.removesuffix("s"), last.removesuffix("es"))  # "jeans", "wine glasses"
        ends = (last, *self.dictionary.irregular(last), *singulars(last), *bare)
        return tuple(dict.fromkeys(" ".join((*front, end)) for end in ends if end))

    def _lemma(self, words: tuple[str, ...]) -> str | None:
        """The phrase as the dictionary writes it: together, hyphenated or apart; singular if need be."""
        invisible = None
        for text in self._forms(words):
            for lemma in _writings(text):
                if self.dictionary.senses_of(lemma)[0]:
                    if self._seen(lemma):
                        return lemma
                    invisible = invisible or lemma  # "cards" is a game, but a "card" can be seen
        return invisible

    def _seen(self, lemma: str) -> list[int]:
        """Numbers of the senses that a camera can see, in the dictionary's order.

        Senses that write the noun with capitals ("Monitor", a ship) count only where there are no others.
        """
        seen = [number for number in self._likely_senses(lemma) if self._is_seen(number)]
        return [number for number in seen if lemma in self.dictionary.sense(number).words] or seen

    def _is_seen(self, number: int) -> bool:
        seen = self._visible.get(number)
        if seen is None:
            sense = self.dictionary.sense(number)
            kinds = {self.dictionary.sense(kind).words[0] for kind in self.ancestors(number)}
            here = sense.domain not in UNSEEN and not sense.is_name
            seen = self._visible[number] = here and PHYSICAL in kinds and PROCESS not in kinds
        return seen

    def _likely_senses(self, lemma: str) -> tuple[int, ...]:
        """Numbers of a noun's senses without those that `NOT_MEANT` rules out, in the dictionary's order."""
        numbers, _ = self.dictionary.senses_of(lemma)
        unmeant = NOT_MEANT.get(lemma)
        if unmeant is None:
            return numbers
        return tuple(number for number in numbers if unmeant.isdisjoint(self.dictionary.sense(number).words))

    def meant_senses(self, lemma: str) -> tuple[int, ...]:
        """Numbers of the senses of a noun that people mean when they ask a camera for it.

        Of those that can be seen, the first `LIKELY_THINGS` and up to `MAX_THINGS` found in tagged texts.
        Senses that are people count only where the word is a person first ("driver") and no thing is meant as
        well ("speaker"); "dog" does not mean a man. A noun without a visible sense has its first two.
        """
        numbers, tagged = self.dictionary.senses_of(lemma)
        seen = self._seen(lemma)
        if not seen:
            return self._likely_senses(lemma)[:LIKELY_THINGS]
        common = frozenset(numbers[:tagged])
        domains = {number: self._domain(number) for number in seen}
        people = [number for number in seen if domains[number] in PEOPLE]
        things = [number for number in seen if domains[number] not in PEOPLE]
        rivals = [number for number in things if number in common and domains[number] not in BODIES]
        if not things or (people and people[0] == seen[0] and seen[0] in common and not rivals):
            return _likely(people, common)
        return _likely(things, common)

    def _domain(self, number: int) -> str:
        sense = self.dictionary.sense(number)
        return "person" if sense.words[0] == "person" else sense.domain


def _likely(numbers: Sequence[int], common: frozenset[int]) -> tuple[int, ...]:
    return tuple(
        number for i, number in enumerate(numbers[:MAX_THINGS]) if i < LIKELY_THINGS or number in common
    )


def _writings(text: str) -> Iterable[str]:
    """How a dictionary may write a phrase: "cell phone" -> cell_phone, cell-phone, cellphone."""
    parts = text.split(" ")
    if len(parts) > 1:
        return ("_".join(parts), "-".join(parts), "".join(parts))
    breaks = range(3, len(text) - 2) if len(text) <= MAX_LETTERS else ()
    return (text, *(f"{text[:i]}_{text[i:]}" for i in breaks))  # "placemat" is place_mat there
