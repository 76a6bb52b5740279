"""Precision beside recall on recordings: all scene words at once, two at a time, and words that are absent.

Hard negatives are of two sorts beside far words: *near* ones, what the things in view are taken for, and
words of the recording whose thing is *elsewhere*, in no part of this frame.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.evaluate.naming import (
    Answer,
    NamedMask,
    TrueObject,
    answer_figures,
    ask_alone,
    mask_figures,
    name_all,
    near_words,
)
from ovseg_ros.evaluate.naming.trials import Kind, vocabulary_of

PAIRS_PER_FRAME = 20
"""So many pairs of scene words are tried in each frame, drawn at random with a fixed seed."""


@dataclass
class NamingCounts:
    """Trials of names.

    Attributes:
        all_words: masks under the scene vocabulary.
        all_objects: number -> word of each thing that is to be found there.
        any_two: masks under two words of the scene vocabulary.
        pair_objects: number -> word of each thing that is to be found there.
        answers: words asked alone, those that are there and those that are not.
    """

    all_words: list[NamedMask] = field(default_factory=list)
    all_objects: dict[int, str] = field(default_factory=dict)
    any_two: list[NamedMask] = field(default_factory=list)
    pair_objects: dict[int, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The figures, for JSON."""
        return {
            "all_words": mask_figures(self.all_words, self.all_objects).to_dict(),
            "any_two": mask_figures(self.any_two, self.pair_objects).to_dict(),
            "answers": answer_figures(self.answers).to_dict(),
        }


@dataclass(frozen=True)
class FrameTruth:
    """What is true in one frame.

    Attributes:
        objects: G things in view; those that show too little do not count.
        iou: (N, G) of the masks with them.
        scene_words: every name of the recording.
        known: every word that is right for something in the recording, case folded.
        far_words: words of things that no recording shows.
        frame: its number.
    """

    objects: Sequence[TrueObject]
    iou: npt.NDArray[np.floating]
    scene_words: Sequence[str]
    known: Collection[str]
    far_words: Sequence[str]
    frame: int


def count_names(
    segmenter: OpenVocabularySegmenter,
    embedded: EmbeddedFrame,
    scene: Segmentation,
    truth: FrameTruth,
    counts: NamingCounts,
) -> None:
    """Adds one frame's trials.

    Args:
        segmenter: what is measured.
        embedded: the frame.
        scene: it under the scene vocabulary.
        truth: about it.
        counts: gains them.
    """
    _add(counts.all_words, counts.all_objects, scene, truth, truth.scene_words)
    pairs = list(itertools.combinations(truth.scene_words, 2))
    draw = random.Random(truth.frame)
    for pair in draw.sample(pairs, min(PAIRS_PER_FRAME, len(pairs))):
        labelled = segmenter.label(embedded, vocabulary_of(*pair))
        _add(counts.any_two, counts.pair_objects, labelled, truth, pair)
    counts.answers += ask_alone(segmenter, embedded, words_to_ask(truth), truth.iou, truth.objects)


def _add(
    masks: list[NamedMask],
    objects: dict[int, str],
    labelled: Segmentation,
    truth: FrameTruth,
    words: Collection[str],
) -> None:
    """Adds the masks under some words, and the things of these words as what is to be found."""
    first = max(objects, default=-1) + 1
    wanted = [replace(one, counts=one.counts and one.names[0] in words) for one in truth.objects]
    masks += name_all(labelled, truth.iou, wanted, first_thing=first)
    objects |= {first + g: one.names[0] for g, one in enumerate(wanted) if one.counts}


def words_to_ask(truth: FrameTruth) -> Mapping[str, Kind]:
    """Word -> in which way it is there or not; a word that is right for anything in view is no absent one."""
    in_view = {name.casefold() for one in truth.objects for name in one.names}
    asked: dict[str, Kind] = {one.names[0]: "present" for one in truth.objects if one.counts}
    asked |= {word: "elsewhere" for word in truth.scene_words if word.casefold() not in in_view}
    for one in truth.objects:
        near = (word for word in near_words(one.names[0]) if word.casefold() not in truth.known)
        asked |= {word: "near" for word in near if word not in asked}
    return asked | {word: "far" for word in truth.far_words if word not in asked}
