"""What a segmenter gets right on a recording with ground truth, counted trial by trial.

Each frame is embedded once and labelled many times. The truth is compared with the results and is never
input: `measure` hands the segmenter frames and words alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.maps import mask_iou
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.naming import TrueObject, near_words
from ovseg_ros.evaluate.naming.trials import MATCH_IOU
from ovseg_ros.evaluate.naming.trials import vocabulary_of as words
from ovseg_ros.evaluate.recordings.naming import FrameTruth, NamingCounts, count_names
from ovseg_ros.evaluate.recordings.objects import TrueObjects
from ovseg_ros.evaluate.recordings.recording import RecordedFrame
from ovseg_ros.evaluate.recordings.space import SpaceCounts, count_space
from ovseg_ros.evaluate.scores.match import best_matches, instance_masks

ABSENT_WORDS = (
    "giraffe", "motorcycle", "bicycle", "elephant", "laptop", "banana", "guitar", "umbrella", "shoe", "car",
    "television", "dog",
)  # fmt: skip
"""Things that no recording shows; a word that one does show is left out there."""

MIN_PIXELS = 400
"""An object that shows fewer pixels is not asked for."""


@dataclass
class Counts:
    """Trials of one recording.

    Attributes:
        frames: how many were measured.
        objects: how many distinct things the names tell of.
        words: the words of all things in the recording, the scene vocabulary.
        asked: word -> per trial the IoU of the one mask answered to that word asked alone; 0 where none was.
        scene: word -> per matched object whether its proposal's best word of the scene vocabulary was right.
        unmatched: objects for which no proposal reached `MATCH_IOU`, so that nothing could be classified.
        unseen: synonym -> the same as `scene`, with the synonym in place of the object's own word, and of the
            words of all other things it names too ("cup" stands for the red and for the white mug).
        absent: word -> per frame whether nothing was found, which is right.
        proposal_iou: per object the best IoU any proposal has with it.
        seconds: stage -> per frame.
        masks: proposals per frame.
        naming: all masks under all words and under two, and words asked alone, near and far.
        space: where things are in space; nothing is tried without a truth about it.
    """

    frames: int = 0
    objects: int = 0
    words: tuple[str, ...] = ()
    asked: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    scene: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    unmatched: int = 0
    unseen: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    absent: dict[str, list[bool]] = field(default_factory=lambda: defaultdict(list))
    proposal_iou: list[float] = field(default_factory=list)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    masks: list[int] = field(default_factory=list)
    naming: NamingCounts = field(default_factory=NamingCounts)
    space: SpaceCounts = field(default_factory=SpaceCounts)


def measure(
    segmenter: OpenVocabularySegmenter,
    frames: Iterable[RecordedFrame],
    *,
    absent_words: Sequence[str] = ABSENT_WORDS,
    in_space: TrueObjects | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counts:
    """Runs every trial on every frame.

    Args:
        segmenter: what is measured.
        frames: of one recording, with instances and names.
        absent_words: words of things that are not there; those the recording names are left out.
        in_space: the truth in space, where there is one.
        progress: told (frames done, frames in all) after each frame.

    Where the segmenter finds masks by words, a frame's masks are those that all words together find which
    are asked of the recording, present or absent.
    """
    recorded = list(frames)
    names = {instance: name for one in recorded for instance, name in one.names.items()}
    counts = Counts(objects=len(names), words=tuple(dict.fromkeys(names.values())))
    named_by: dict[str, set[str]] = defaultdict(set)
    for one in recorded:
        for instance, several in one.synonyms.items():
            for synonym in several:
                named_by[synonym].add(one.names[instance])
    known = {word.casefold() for word in (*counts.words, *named_by)}
    absent = [word for word in absent_words if word.casefold() not in known]
    near = (near_word for word in counts.words for near_word in near_words(word))
    every = tuple(dict.fromkeys((*counts.words, *named_by, *absent, *near)))
    for done, one in enumerate(recorded, start=1):
        embedded = segmenter.settled(segmenter.embed(one.frame), every)
        truth = _measure_frame(segmenter, one, embedded, absent, named_by, known, counts)
        if in_space is not None:
            count_space(one, in_space, truth.shown, truth.own_masks(), counts.space)
        progress(done, len(recorded))
    return counts


def _measure_frame(
    segmenter: OpenVocabularySegmenter,
    one: RecordedFrame,
    embedded: EmbeddedFrame,
    absent: list[str],
    named_by: Mapping[str, set[str]],
    known: set[str],
    counts: Counts,
) -> _Truth:
    counts.frames += 1
    counts.masks.append(len(embedded))
    truth = _Truth(one, embedded)
    counts.proposal_iou += [match.iou for match in truth.matches]
    for word in dict.fromkeys(one.names[i] for i in truth.shown):
        best, _ = segmenter.label(embedded, words(word)).best(word)
        counts.asked[word].append(0.0 if best is None else truth.iou_with(best, word))
    for word in absent:
        found, _ = segmenter.label(embedded, words(word)).best(word)
        counts.absent[word].append(found is None)
    scene = segmenter.label(embedded, words(*counts.words))
    for stage, seconds in scene.timings.items():
        counts.seconds[stage].append(seconds)
    about = FrameTruth(truth.objects(one), truth.iou, counts.words, known, absent, counts.frames)
    count_names(segmenter, embedded, scene, about, counts.naming)
    for instance, match in zip(truth.shown, truth.matches, strict=True):
        name = one.names[instance]
        if match.proposal < 0 or match.iou < MATCH_IOU:
            counts.unmatched += 1
            continue
        place = counts.words.index(name)
        counts.scene[name].append(top_label(scene, match.proposal) == place)
        for synonym in one.synonyms.get(instance, ()):
            if synonym in counts.words:  # another object's own word: which is right cannot be said
                continue
            others = [word for word in counts.words if word not in named_by[synonym]]
            labelled = segmenter.label(embedded, words(*others, synonym))
            counts.unseen[synonym].append(top_label(labelled, match.proposal) == len(others))
    return truth


class _Truth:
    """The true objects of one frame beside its proposals.

    Attributes:
        ids: every named instance in view.
        shown: those of at least `MIN_PIXELS`.
        iou: (P, len(ids)) of every proposal with every instance in view.
        matches: per `shown` the proposal that fits best, whatever it is like.
    """

    def __init__(self, one: RecordedFrame, embedded: EmbeddedFrame) -> None:
        if one.instances is None:
            raise InvalidInputError("expected a recording with ground truth, got a frame without instances")
        self._names, self._masks = one.names, embedded.masks
        values, areas = np.unique(one.instances, return_counts=True)
        areas_of = {int(v): int(a) for v, a in zip(values, areas, strict=True) if int(v) in one.names}
        self.ids = list(areas_of)
        self.shown = [i for i in self.ids if areas_of[i] >= MIN_PIXELS]
        self.iou = mask_iou(embedded.masks, instance_masks(one.instances, self.ids))
        self.matches = best_matches(self.iou[:, [self.ids.index(i) for i in self.shown]])

    def objects(self, one: RecordedFrame) -> list[TrueObject]:
        """Every instance in view, with all words that are right for it."""
        return [
            TrueObject((one.names[i], *one.synonyms.get(i, ())), counts=i in self.shown) for i in self.ids
        ]

    def own_masks(self) -> list[np.ndarray | None]:
        """Per `shown` the proposal that fits it, (H, W) bool; None where none reaches `MATCH_IOU`."""
        return [
            self._masks[match.proposal].numpy() if match.iou >= MATCH_IOU else None for match in self.matches
        ]

    def iou_with(self, proposal: int, word: str) -> float:
        """The IoU of a proposal with that instance of the word which it fits best."""
        return max(float(self.iou[proposal, k]) for k, i in enumerate(self.ids) if self._names[i] == word)


def top_label(segmentation: Segmentation, mask: int) -> int:
    """The place in the vocabulary of one mask's most probable word, above its threshold or not."""
    return int(segmentation.probs[mask].argmax())
