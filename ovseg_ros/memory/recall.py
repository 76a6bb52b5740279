"""What memory answers: entries for words, and how sure each is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.memory.entry import Entry, Vectors, Where

_BESIDE_M = 0.05  # over the edge of what it stands on
_SUNK_M, _ABOVE_M = 0.15, 0.6  # a box of which a part was hidden is low; things stand on each other
LEAST_SURE = 0.05
"""Below it a thing that is not gone is no answer."""
_CANDIDATES = 64  # the most alike of all that are remembered are named


class Remembers(Protocol):
    """What is asked of a memory."""

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant."""

    def most_alike(self, embedding: Vectors, k: int, where: Where) -> list[Entry]:
        """Of those the k most alike."""


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


def confidence(entry: Entry, word: str, score: float | None = None) -> float:
    """How sure it is that a thing is what a word says and still where it was last seen.

    The best score it had under the word, times the share of its named sightings that had it, times the
    share of the looks at its place that found it; 0 for what is gone. Age is not in it: who asks knows how
    fast things move there.

    Args:
        entry: what is remembered.
        word: one of `entry.words`, or any where `score` is given.
        score: what it has under a word it was never called by.
    """
    if entry.gone_since is not None:
        return 0.0
    if score is None:
        name = entry.words[word]
        score = name.score * name.times / sum(one.times for one in entry.words.values())
    return float(score * (1 - entry.times_missed / max(entry.times_looked, 1)))


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
    called = [
        Recalled(entry, word, confidence(entry, word))
        for entry in memory.find(dataclasses.replace(where, words=vocabulary.names))
        for word in [_most(entry, vocabulary.names)]
    ]
    known = {one.entry.key for one in called}
    rows = segmenter.encode_text(vocabulary.names).float().cpu().numpy()
    alike: dict[str, Entry] = {}
    for row in rows:
        for entry in memory.most_alike(row, _CANDIDATES, dataclasses.replace(where, words=(), space=space)):
            if entry.key not in known and not entry.words.keys() & set(vocabulary.names):
                alike[entry.key] = entry
    called += name_entries(segmenter, vocabulary, list(alike.values()))
    return sorted(called, key=lambda one: (-one.confidence, -one.entry.last_seen))


def list_all(memory: Remembers, where: Where) -> list[Recalled]:
    """Everything that is meant, each under the name it had most often, those seen last first."""
    return [
        Recalled(entry, entry.name, confidence(entry, entry.name) if entry.words else 0.0)
        for entry in memory.find(where)
    ]


def on_top(found: Sequence[Recalled], memory: Remembers, name: str) -> list[Recalled]:
    """Of what was found that which stands on a thing of a name: over its box, and not far above its top."""
    bases = memory.find(Where(words=(name,), gone=False))
    return [one for one in found if any(_is_on(one.entry, base) for base in bases)]


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
        Recalled(entry, vocabulary.names[label], confidence(entry, vocabulary.names[label], float(score)))
        for entry, label, score in zip(
            entries, named.label_index.tolist(), named.scores.tolist(), strict=True
        )
        if label >= 0
    ]


def _is_on(entry: Entry, base: Entry) -> bool:
    """Whether a thing stands on another, by their upright boxes."""
    if entry.key == base.key or entry.frame_id != base.frame_id:
        return False
    aside = Rotation.from_quat(base.orientation).inv().apply(entry.position - base.position)
    over = bool((np.abs(aside[:2]) <= base.size[:2] / 2 + _BESIDE_M).all())
    above = float(aside[2] - entry.size[2] / 2 - base.size[2] / 2)  # its bottom over the other's top
    return over and -_SUNK_M <= above <= _ABOVE_M


def _most(entry: Entry, words: Sequence[str]) -> str:
    """The word of these that an entry was called by most often."""
    return max((word for word in words if word in entry.words), key=lambda word: entry.words[word].times)
