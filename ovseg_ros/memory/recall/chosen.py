"""What answers a question: by words, of a kind, standing on something. Needs no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from ovseg_ros.core.words import Meanings
from ovseg_ros.memory.entry import Entry, Where
from ovseg_ros.memory.recall.named import (
    LEAST_SURE,
    Recalled,
    Remembers,
    confidence,
    list_all,
    most_said,
    surest_first,
)
from ovseg_ros.memory.recall.question import Question

_BESIDE_M = 0.05  # over the edge of what it stands on
_SUNK_M, _ABOVE_M = 0.15, 0.6  # a box of which a part was hidden is low; things stand on each other


class Answers(NamedTuple):
    """What was found, and for people why it may be nothing, "" where there is no more to say."""

    found: list[Recalled]
    remark: str = ""


def answers(
    memory: Remembers,
    question: Question,
    where: Where,
    meanings: Meanings,
    by_names: Callable[[Where], list[Recalled]],
) -> Answers:
    """What is remembered of what is asked: the surest first, or those seen last where all things are meant.

    Args:
        memory: what is remembered.
        question: its names are `by_names`'s business.
        where: what may answer besides; its words are not looked at.
        meanings: what words mean.
        by_names: the entries for the question's names, under some conditions.
    """
    remark = ""
    if question.names:
        found = by_names(where)
        if question.kinds:
            words = set(kind_words(memory.words(), question.kinds, meanings))
            found = [one for one in found if not words.isdisjoint(one.entry.words)]
    elif question.kinds:
        found = of_kinds(memory, question.kinds, meanings, where)
    else:
        found = list_all(memory, where)
    if question.names or question.kinds:
        found = [one for one in found if one.confidence >= LEAST_SURE or one.entry.gone_since is not None]
    if question.on:
        found, there = on_top(found, memory, question.on, meanings)
        remark = "" if there else f"no {question.on} is remembered that anything could be on"
    return Answers(found, remark)


def kind_words(words: Iterable[str], kinds: Sequence[str], meanings: Meanings) -> tuple[str, ...]:
    """Of some words those that are a kind of one of others, or mean it.

    Args:
        words: what things were called.
        kinds: "container", "furniture".
        meanings: what words mean.
    """
    return tuple(word for word in words if any(meanings.is_kind(word, kind) for kind in kinds))


def of_kinds(
    memory: Remembers, kinds: Sequence[str], meanings: Meanings, where: Where | None = None
) -> list[Recalled]:
    """Entries that were called a kind of something, the surest first, each under its most frequent such word.

    Args:
        memory: what is remembered.
        kinds: "container", "furniture"; at least one.
        meanings: what words mean.
        where: what may answer besides; its words are not looked at.
    """
    words = kind_words(memory.words(), kinds, meanings)
    if not words:
        return []
    found = memory.find(dataclasses.replace(where or Where(), words=words))
    return surest_first(Recalled(one, most_said(one, words), confidence(one, words)) for one in found)


def on_top(
    found: Sequence[Recalled], memory: Remembers, name: str, meanings: Meanings
) -> tuple[list[Recalled], bool]:
    """Of what was found that which stands on a thing of a name, or of a kind of it ("table": a desk too).

    By upright boxes: over the other's, with the bottom not far above its top. What is gone carries nothing.

    Returns:
        Those, and whether anything is remembered that they could stand on.
    """
    words = kind_words(memory.words(), [name], meanings)
    bases = memory.find(Where(words=words, gone=False)) if words else []
    bases = [base for base in bases if most_said(base, tuple(base.words)) in words]  # not what once was
    return [one for one in found if any(_is_on(one.entry, base) for base in bases)], bool(bases)


def _is_on(entry: Entry, base: Entry) -> bool:
    """Whether a thing stands on another, by their upright boxes."""
    if entry.key == base.key or entry.frame_id != base.frame_id:
        return False
    aside = Rotation.from_quat(base.orientation).inv().apply(entry.position - base.position)
    over = bool((np.abs(aside[:2]) <= base.size[:2] / 2 + _BESIDE_M).all())
    above = float(aside[2] - entry.size[2] / 2 - base.size[2] / 2)  # its bottom over the other's top
    return over and aside[2] > 0 and -_SUNK_M <= above <= _ABOVE_M
