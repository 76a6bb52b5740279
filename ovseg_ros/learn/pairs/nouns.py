"""The nouns of a caption: what a picture is said to show, so that each may be matched with a mask.

The tagger is HanTa (Wartena 2019, 2023): a Hidden Markov Model over morphemes, trained on the British
National Corpus, pure Python with its model inside the package, so it works offline. Plurals are folded by
`inflect`.
"""

from __future__ import annotations

import csv
import functools
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError, InvalidInputError, install_cure
from ovseg_ros.files.texts import lines_of, read_json, read_text
from ovseg_ros.files.yaml_texts import read_yaml
from ovseg_ros.learn.pairs.noun_lists import COUNTED, INVARIANT, PHRASES, PLACED, STOP_WORDS, SYNONYMS

_TOKEN = re.compile(r"[a-z]+(?:['-][a-z]+)*|\d+|[.,;:!?()&]")
_LONGEST_CAPTION = 2000  # characters; more is a document, and the tagger's time grows with it
_LONGEST_WORD = 40
_LONGEST_ROW = 100_000  # characters of a table; `csv` refuses longer cells
_NOUNS = ("NN0", "NN1", "NN2", "NP0", "NN", "UNC")
_BEFORE_NOUN = ("AT0", "DT0", "DPS", "CRD", "ORD", "AJ0", "AJC", "AJS")
_PARTICIPLES = ("VVG", "VVN")

Tagged = list[tuple[str, str]]
"""(word, BNC tag) of each token."""


@dataclass(frozen=True)
class NounOptions:
    """What counts as a noun, and by which name it goes.

    Attributes:
        adjectives: keep adjectives before a noun: "red mug" instead of "mug".
        compounds: keep nouns that stand together as one: "moka pot"; False keeps the last, "pot".
        stop_words: nouns that are no things; empty: every noun is a class.
        phrases: names of several words, in the singular, that are kept as they are.
        synonyms: class name -> other words for it, all in the singular; empty: no word stands for another.
    """

    adjectives: bool = False
    compounds: bool = True
    stop_words: frozenset[str] = STOP_WORDS
    phrases: tuple[str, ...] = PHRASES
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(SYNONYMS))

    def __post_init__(self) -> None:
        owner: dict[str, str] = {}
        for name, words in self.synonyms.items():
            if isinstance(words, str):
                raise ConfigError(f"expected a list of synonyms of {name!r}, got the text {words!r}")
            for word in words:
                if owner.setdefault(word, name) != name:
                    raise ConfigError(
                        f"expected one class per word, {word!r} stands for {owner[word]!r} and {name!r}"
                    )


class NounFinder:
    """Finds the nouns of captions; loads the tagger once, about 0.3 s."""

    def __init__(self, options: NounOptions | None = None) -> None:
        """Prepares the lists.

        Raises:
            ConfigError: HanTa or inflect is not installed.
        """
        self.options = NounOptions() if options is None else options
        self._tag = hanta_tagger()
        self._class_of = {
            _spelt(word): _spelt(name) for name, words in self.options.synonyms.items() for word in words
        }
        phrases = [*self.options.phrases, *self._class_of, *map(_spelt, self.options.synonyms)]
        self._phrases: dict[str, list[list[str]]] = {}
        for phrase in sorted({_spelt(p) for p in phrases}, key=lambda p: (-len(p.split()), p)):
            words = phrase.split()
            if len(words) > 1:
                self._phrases.setdefault(words[0], []).append(words)

    def find(self, caption: str) -> tuple[str, ...]:
        """The distinct nouns of one caption, in the order they are named.

        Args:
            caption: English, one or a few sentences; what is beyond 2000 characters is not looked at.

        Returns:
            Names in lower case and in the singular, possibly none.

        Examples:
            >>> NounFinder().find("There are two moka pots and a red mug on top of the table.")
            ('moka pot', 'mug', 'table')
        """
        text = unicodedata.normalize("NFKD", caption[:_LONGEST_CAPTION]).lower().replace("\u2019", "'")
        text = "".join(c for c in text if not unicodedata.combining(c))  # "café" is as good as "cafe"
        words = [_without_genitive(word) for word in _TOKEN.findall(text) if len(word) <= _LONGEST_WORD]
        if not words:
            return ()
        found = []
        for chunk in self._chunks(words, self._tag(words)):
            name = self._name(chunk)
            if name:
                found.append(name)
        return tuple(dict.fromkeys(found))

    def _chunks(self, words: list[str], tags: list[str]) -> Iterable[Tagged]:
        """Runs of tokens that name one thing, with the adjectives before them; the last word is the head."""
        chunk: Tagged = []
        before = ""
        position = 0
        while position < len(words):
            word, tag = words[position], tags[position]
            length = self._phrase_at(words, position)
            if length:
                chunk += [(w, "NN1") for w in words[position : position + length]]
            elif _is_noun(words, tags, position, before, bool(chunk) and _has_noun(chunk)):
                chunk.append((word, tag if tag in _NOUNS else "NN1"))
            elif tag in ("AJ0", "AJC", "AJS"):
                if _has_noun(chunk):
                    yield chunk
                    chunk = []
                chunk.append((word, tag))
            else:
                yield chunk
                chunk = []
            before = tag
            position += length or 1
        yield chunk

    def _phrase_at(self, words: list[str], position: int) -> int:
        """How many tokens from `position` on are one of the phrases, its last word in any number; 0: none."""
        for phrase in self._phrases.get(words[position], ()):
            here = words[position : position + len(phrase)]
            same_start = len(here) == len(phrase) and here[:-1] == phrase[:-1]
            if same_start and phrase[-1] in (here[-1], singular(here[-1])):
                return len(phrase)
        return 0

    def _name(self, chunk: Tagged) -> str:
        """What a chunk is called, "" if it names no thing."""
        stop = self.options.stop_words
        while chunk and (singular(chunk[-1][0]) in stop or chunk[-1][0] in stop or len(chunk[-1][0]) < 2):
            chunk = chunk[:-1]
        if not _has_noun(chunk):
            return ""
        nouns = [word for word, tag in chunk if tag in _NOUNS]
        nouns[-1] = singular(nouns[-1])
        if not self.options.compounds and " ".join(nouns) not in self.options.phrases:
            nouns = nouns[-1:]
        name = " ".join(nouns)
        name = self._class_of.get(name, name)
        if self.options.adjectives:
            described = " ".join([word for word, tag in chunk if tag not in _NOUNS] + [name])
            name = self._class_of.get(described, described)
        return name


def _is_noun(words: list[str], tags: list[str], position: int, before: str, follows_noun: bool) -> bool:
    word, tag = words[position], tags[position]
    after = tags[position + 1] if position + 1 < len(tags) else ""
    if follows_noun and word in PLACED and after in ("PRP", "AVP", "AV0", "PRF"):
        return False
    if tag in _NOUNS:
        return word[0].isalpha()
    if tag == "VVG":  # "a frying pan", but "a man frying fish"
        return before in _BEFORE_NOUN and after in _NOUNS
    # "an alphabet soup can ," and "a butter stick and": nothing follows that it could be the verb of
    return follows_noun and word in COUNTED and after in ("", "PUN", "CJC", "PRP")


def _has_noun(chunk: Tagged) -> bool:
    return any(tag in _NOUNS for _, tag in chunk)


def _without_genitive(word: str) -> str:
    return word[:-2] if word.endswith("'s") else word


def _spelt(name: str) -> str:
    return " ".join(name.lower().split())


@functools.lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A noun in the singular; what is singular already, or has none ("scissors"), as it is.

    Examples:
        >>> singular("knives"), singular("people"), singular("glass"), singular("scissors")
        ('knife', 'person', 'glass', 'scissors')
    """
    if word in INVARIANT or word.endswith(("ss", "us", "is")) or len(word) < 3:
        return word
    if word == "people":
        return "person"
    return str(_inflect().singular_noun(word) or word)


@functools.cache
def _inflect() -> Any:
    try:
        import inflect
    except ImportError as error:
        raise ConfigError(f"folding plurals needs inflect; {install_cure('learn')}") from error
    return inflect.engine()


@functools.cache
def hanta_tagger() -> Callable[[Sequence[str]], list[str]]:
    """HanTa's English model; it gives a tag of the BNC's basic set (C5) per word: NN1, NN2, AJ0, VVG.

    Raises:
        ConfigError: HanTa is not installed.
    """
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise ConfigError(f"finding nouns needs HanTa; {install_cure('learn')}") from error
    model = HanoverTagger("morphmodel_en.pgz")

    def tag(words: Sequence[str]) -> list[str]:
        return [str(tag) for _, _, tag in model.tag_sent(list(words), casesensitive=False)]

    return tag


def read_synonyms(path: Path) -> dict[str, tuple[str, ...]]:
    """A table of synonyms: YAML or JSON `{class: [word, …]}`, or CSV/TSV rows `class, word, …`.

    Raises:
        InvalidInputError: not there, or of another form; the message names the file.
    """
    kind = path.suffix.lower()
    table: Any
    if kind in (".csv", ".tsv"):
        # Line by line: a quotation mark that never closes costs its line, not all below it.
        lines = [[line[:_LONGEST_ROW]] for line in lines_of(read_text(path))]
        rows = (next(csv.reader(line, delimiter="\t" if kind == ".tsv" else ","), []) for line in lines)
        table = {row[0].strip(): [w.strip() for w in row[1:] if w.strip()] for row in rows if row}
    else:
        table = read_json(path) if kind == ".json" else read_yaml(path)
    if not isinstance(table, Mapping):
        raise InvalidInputError(f"expected {{class: [word, …]}} in {path}, got {type(table).__name__}")
    checked = {}
    for name, words in table.items():
        words = [words] if isinstance(words, str) else words
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InvalidInputError(f"expected a list of words for {name!r} in {path}, got {words!r}")
        checked[str(name)] = tuple(words)
    return checked


def read_names(path: Path) -> tuple[str, ...]:
    """One name per line, blank lines and what stands behind # left out.

    Raises:
        InvalidInputError: it cannot be read.
    """
    lines = lines_of(read_text(path))
    return tuple(filter(None, (_spelt(line.partition("#")[0]) for line in lines)))
