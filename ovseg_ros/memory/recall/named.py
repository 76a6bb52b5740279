"""Entries for words, those called so and those that look so, and how sure each is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.memory.entry import Entry, Vectors, Where

LEAST_SURE = 0.05
"""Below it a thing that is not gone is no answer."""
_CANDIDATES = 64  # the most alike of all that are remembered are named


class Remembers(Protocol):
    """What is asked of a memory."""

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant."""

    def most_alike(self, embedding: Vectors, k: int, where: Where) -> list[Entry]:
        """Of those the k most alike."""

    def words(self) -> set[str]:
        """All that things were called."""


@dataclass(frozen=True)
class Recalled:
    """An entry that answers.

    Attributes:
        entry: what is remembered.
        word: of those asked for, the one it answers to.
        confidence: in [0, 1], see `confidence`.
    """

    entry: Entry
    word: str
    confidence: float


def confidence(entry: Entry, words: Collection[str], score: float | None = None) -> float:
    """How sure it is that a thing is what words say and still where it was last seen.

    The best score it had under one of the words, times the share of its named sightings that had one of them,
    times the share of the looks at its place that found it; 0 for what is gone. Age is not in it: who asks
    knows how fast things move there.

    Args:
        entry: what is remembered.
        words: that it may have been called; without any of them the answer is 0.
        score: what it has under a word it was never called by; then `words` are not looked at.
    """
    if entry.gone_since is not None:
        return 0.0
    if score is None:
        names = [entry.words[word] for word in words if word in entry.words]
        times = sum(one.times for one in entry.words.values())
        best = max((name.score for name in names), default=0.0)
        score = best * sum(name.times for name in names) / max(times, 1)
    return float(score * (1 - entry.times_missed / max(entry.times_looked, 1)))


def most_said(entry: Entry, words: Collection[str]) -> str:
    """The word of these that an entry was called by most often, among equals most surely; "" for none."""
    called = [word for word in words if word in entry.words]
    return max(called, key=lambda word: (entry.words[word].times, entry.words[word].score), default="")


def surest_first(found: Iterable[Recalled]) -> list[Recalled]:
    """In the order of answers: of equally sure ones the one seen last comes first."""
    return sorted(found, key=lambda one: (-one.confidence, -one.entry.last_seen))


def recall(
    memory: Remembers,
    segmenter: OpenVocabularySegmenter,
    vocabulary: Vocabulary,
    space: str,
    where: Where | None = None,
) -> list[Recalled]:
    """Entries for words, the surest first: those called so, then those whose looks fit a word now.

    Args:
        memory: what is remembered.
        segmenter: names embeddings, in the same space.
        vocabulary: the words; at least one.
        space: whose embeddings can be named.
        where: what may answer besides; its words are not looked at.
    """
    where = where or Where()
    called = called_so(memory, vocabulary.names, where)
    known = {one.entry.key for one in called}
    rows = segmenter.encode_text(vocabulary.names).float().cpu().numpy()
    alike: dict[str, Entry] = {}
    for row in rows:
        for entry in memory.most_alike(row, _CANDIDATES, dataclasses.replace(where, words=(), space=space)):
            if entry.key not in known and not entry.words.keys() & set(vocabulary.names):
                alike[entry.key] = entry
    called += name_entries(segmenter, vocabulary, list(alike.values()))
    return surest_first(called)


def called_so(memory: Remembers, words: Sequence[str], where: Where) -> list[Recalled]:
    """Entries that were called by one of some words, the surest first; `where` tells the rest."""
    found = memory.find(dataclasses.replace(where, words=tuple(words)))
    named = ((entry, most_said(entry, words)) for entry in found)
    return surest_first(Recalled(entry, word, confidence(entry, [word])) for entry, word in named)


def list_all(memory: Remembers, where: Where) -> list[Recalled]:
    """Everything that is meant, each under the name it had most often, those seen last first."""
    return [Recalled(entry, entry.name, confidence(entry, [entry.name])) for entry in memory.find(where)]


def name_entries(
    segmenter: OpenVocabularySegmenter, vocabulary: Vocabulary, entries: Sequence[Entry]
) -> list[Recalled]:
    """Entries whose embedding gets one of the words by the segmenter's own rule, as a mask in view would."""
    if not entries:
        return []
    count = len(entries)
    rows = torch.from_numpy(np.stack([entry.embedding for entry in entries]))
    blank = Frame(np.zeros((1, count, 3), np.uint8))
    embedded = EmbeddedFrame(
        blank,
        torch.eye(count, dtype=torch.bool)[:, None],  # a pixel of its own for each
        torch.ones(count),
        rows.to(segmenter.device),
        embedding_key=segmenter.options.embedding_key,
    )
    options = dataclasses.replace(segmenter.options, colour_check=False)  # there are no pixels
    named = segmenter.label(embedded, vocabulary, options)
    return [
        Recalled(entry, vocabulary.names[label], confidence(entry, (), float(score)))
        for entry, label, score in zip(
            entries, named.label_index.tolist(), named.scores.tolist(), strict=True
        )
        if label >= 0
    ]
