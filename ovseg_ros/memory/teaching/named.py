"""Taught names among others: which masks of a labelled frame are the things that were shown."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

import torch

from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.memory.entry import Example
from ovseg_ros.memory.teaching.looks import looks_of
from ovseg_ros.memory.teaching.taught import NOTHING, Rivals, find_taught, weights_of


def is_taught(name: str, taught: Mapping[str, Sequence[Example]]) -> bool:
    """Whether a name was taught, in whichever case it is written."""
    return name.casefold() in taught


def quoted(query: str, names: Sequence[str]) -> str:
    """A query with taught names in quotation marks: they are names as they stand, "my" and all.

    Examples:
        >>> quoted("find my mug and the teapot", ["my mug"])
        'find "my mug" and the teapot'
    """
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"""(?<![\w"])({re.escape(name)})(?![\w"'])"""
        query = re.sub(pattern, r'"\1"', query, flags=re.IGNORECASE)
    return query


def without_taught(vocabulary: Vocabulary, taught: Mapping[str, Sequence[Example]]) -> Vocabulary:
    """The words that are to be compared with text."""
    left = tuple(label for label in vocabulary.labels if not is_taught(label.name, taught))
    return dataclasses.replace(vocabulary, labels=left)


def with_taught(
    named: Segmentation,
    vocabulary: Vocabulary,
    taught: Mapping[str, Sequence[Example]],
    preset: str,
    space: str,
) -> Segmentation:
    """A frame under all words, taught ones among them.

    A taught name is given to at most one mask, the one that is surely that thing, with the probability of
    `find_taught`; the examples of the other taught names are rivals. A mask keeps its word of the others
    besides, if that has the higher probability. A name that was taught with embeddings of another space alone
    is in no frame.

    Args:
        named: the frame under `without_taught(vocabulary)`.
        vocabulary: all words.
        taught: examples by name in small letters.
        preset: whose weights decide.
        space: whose embeddings the frame has.

    Raises:
        ConfigError: this preset has no weights for taught names.
    """
    looks = looks_of(named.embedded, space)
    columns, likenesses, rest = [], [], 0
    for label in vocabulary.labels:
        if not is_taught(label.name, taught):
            columns.append(named.probs[:, rest])
            if named.similarities is not None:
                likenesses.append(named.similarities[:, rest])
            rest += 1
            continue
        others = [
            Rivals(example.embedding[None], None if example.palette is None else example.palette[None])
            for name, examples in taught.items()
            if name != label.name.casefold()
            for example in examples
            if example.space == space
        ]
        weights = weights_of(preset, sized=looks.sized)
        own = [example for example in taught[label.name.casefold()] if example.space == space]
        decided = find_taught(own, looks, weights, others) if own else NOTHING
        column = torch.zeros(len(named))
        if decided.found:
            column[decided.region] = decided.score
        columns.append(column)
        likenesses.append(column)
    return dataclasses.replace(
        named,
        vocabulary=vocabulary,
        probs=torch.stack(columns, dim=1) if columns else named.probs,
        similarities=None if named.similarities is None else torch.stack(likenesses, dim=1),
    )
