"""What is counted: masks that were named, true objects, and words asked alone.

The truth is compared with the results and is never input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import InvalidInputError

MATCH_IOU = 0.5
"""From this IoU on a mask is one of the object."""

Kind = Literal["present", "near", "far", "elsewhere"]
"""Of a word that is asked: there, or absent: near to what is there, far from it, or there in other frames."""


@dataclass(frozen=True)
class TrueObject:
    """One object of a picture.

    Attributes:
        names: every word that is right for it; the first is its own.
        counts: whether it is to be found; one that is too small is neither found nor missed, but a mask of it
            may be named after it.
    """

    names: tuple[str, ...]
    counts: bool = True


@dataclass(frozen=True)
class NamedMask:
    """One mask under a vocabulary.

    Attributes:
        best: its most probable word, whether it got the label or not; "" without words.
        score: of the mask under that word.
        named: whether it got the label.
        truth: the words that are right for the object it fits at `MATCH_IOU`, its own first; () for none.
        thing: number of that object in the run, -1 where it fits none that is to be found.
    """

    best: str
    score: float
    named: bool
    truth: tuple[str, ...]
    thing: int

    @property
    def right(self) -> bool:
        """Whether the best word is one of the object."""
        return self.best in self.truth


@dataclass(frozen=True)
class Answer:
    """What was answered to one word, asked alone of one picture.

    Attributes:
        word: that was asked.
        kind: "present", or in which way it is absent.
        found: whether a mask got the label.
        score: of the mask that was answered; where none was, the best score any mask has.
        right: whether that mask fits an object of this word at `MATCH_IOU`.
        in_view: whether such an object is in the picture, wherever the mask is.
    """

    word: str
    kind: Kind
    found: bool
    score: float
    right: bool
    in_view: bool


def name_all(
    segmentation: Segmentation,
    iou: npt.NDArray[np.floating],
    objects: Sequence[TrueObject],
    *,
    ignored: npt.NDArray[np.bool_] | None = None,
    first_thing: int = 0,
) -> list[NamedMask]:
    """The masks of one picture under its vocabulary, each with the truth about it.

    Args:
        segmentation: N masks.
        iou: (N, G) of the masks with the true objects.
        objects: the G objects. Those without one of the vocabulary's words are true all the same: a mask of
            theirs that gets a label is wrong.
        ignored: (N,) masks that count for nothing unless they fit an object, such as those within a crowd.
        first_thing: number of the picture's first object in the run.
    """
    words = segmentation.vocabulary.names
    scores, labels = segmentation.scores.tolist(), segmentation.label_index.tolist()
    places = segmentation.probs.argmax(dim=1).tolist() if words else []
    found = []
    for k in range(len(segmentation)):
        fits = int(iou[k].argmax()) if len(objects) else -1
        if fits < 0 or iou[k, fits] < MATCH_IOU:
            if ignored is None or not ignored[k]:
                found.append(_named(words, places, labels, scores, k, (), -1))
            continue
        one = objects[fits]
        found.append(
            _named(words, places, labels, scores, k, one.names, first_thing + fits if one.counts else -1)
        )
    return found


def _named(
    words: Sequence[str],
    places: Sequence[int],
    labels: Sequence[int],
    scores: Sequence[float],
    mask: int,
    truth: tuple[str, ...],
    thing: int,
) -> NamedMask:
    named = labels[mask] >= 0
    best = words[labels[mask] if named else places[mask]] if words else ""
    return NamedMask(best, float(scores[mask]), named, truth, thing)


def ask_alone(
    segmenter: OpenVocabularySegmenter,
    embedded: EmbeddedFrame,
    asked: Mapping[str, Kind],
    iou: npt.NDArray[np.floating],
    objects: Sequence[TrueObject],
    *,
    excused: npt.NDArray[np.bool_] | None = None,
) -> list[Answer]:
    """Asks each word alone.

    Args:
        segmenter: that embedded the frame.
        embedded: N masks.
        asked: word -> kind.
        iou: (N, G) of the masks with the true objects.
        objects: the G objects.
        excused: (N,) masks in a group of things of which nobody knows the outlines; where one of them is
            answered to a word that is present the trial is left out.
    """
    answers = []
    for word, kind in asked.items():
        own = [g for g, one in enumerate(objects) if word in one.names]
        segmentation = segmenter.label(embedded, vocabulary_of(word))
        mask, score = segmentation.best(word)
        found = mask is not None
        if mask is None and len(embedded):
            mask = int(segmentation.probs[:, 0].argmax())
        right = mask is not None and bool(own) and float(iou[mask, own].max()) >= MATCH_IOU
        if kind == "present" and not right and excused is not None and mask is not None and excused[mask]:
            continue
        answers.append(Answer(word, kind, found, float(score), right, bool(own)))
    return answers


def vocabulary_of(*names: str) -> Vocabulary:
    """A vocabulary of just these words.

    Raises:
        InvalidInputError: one cannot be looked for.
    """
    vocabulary, rejected = Vocabulary.empty().replace(names)
    if rejected:
        raise InvalidInputError(f"words that cannot be looked for: {rejected}")
    return vocabulary
