"""Names every mask of photographs with true instances, asks for words alone, and counts what is right.

Each picture is embedded once. Words asked alone are those that are there, one to one with words that are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import MAX_LABELS, Vocabulary, tidy_text
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.naming import (
    Answer,
    AnswerFigures,
    MaskFigures,
    NamedMask,
    answer_figures,
    ask_alone,
    mask_figures,
    name_all,
    one_to_one,
)
from ovseg_ros.evaluate.naming.absent import CONFUSED
from ovseg_ros.evaluate.naming.trials import vocabulary_of
from ovseg_ros.evaluate.photos.truth import PhotoTruth, embed_given, own_iou, truth_of
from ovseg_ros.evaluate.scores.run import Progress, each_picture
from ovseg_ros.files.instances import InstanceDataset, Picture

MASK_KINDS = ("true", "own")
WORD_KINDS = ("all", "present")


@dataclass(frozen=True)
class PhotoOptions:
    """How photographs are measured.

    Attributes:
        masks: "true", the labelled objects that count; or "own", what the preset proposes.
        words: what masks are named by: "all" categories of the file, or those "present" in the picture.
        min_pixels: objects of fewer do not count.
        seed: of the absent words.
    """

    masks: str = "own"
    words: str = "all"
    min_pixels: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("masks", MASK_KINDS), ("words", WORD_KINDS)):
            if getattr(self, name) not in choices:
                raise ConfigError(f"expected {name} one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.min_pixels < 1:
            raise ConfigError(f"expected at least 1 pixel an object, got {self.min_pixels}")


@dataclass(frozen=True)
class PhotoScores:
    """What was measured, and on what.

    Attributes:
        dataset: its name.
        options: how.
        images: pictures that were scored.
        failed: (name, reason) of each that was not.
        words: how many categories there are.
        naming: of all masks.
        answers: of words asked alone.
        trials: "masks" and "answers" one by one, each with its picture, for JSON.
    """

    dataset: str
    options: PhotoOptions
    images: int
    failed: tuple[tuple[str, str], ...]
    words: int
    naming: MaskFigures
    answers: AnswerFigures
    trials: Mapping[str, Sequence[Mapping[str, Any]]] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "dataset": self.dataset,
            "options": asdict(self.options),
            "images": self.images,
            "failed": [{"name": name, "reason": reason} for name, reason in self.failed],
            "words": self.words,
            "naming": self.naming.to_dict(),
            "answers": self.answers.to_dict(),
            "trials": dict(self.trials),
        }


@dataclass
class _Counted:
    """What the pictures gave so far."""

    masks: list[NamedMask] = field(default_factory=list)
    objects: dict[int, str] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    mask_rows: list[dict[str, Any]] = field(default_factory=list)
    answer_rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self, picture: str, objects: Mapping[int, str], masks: list[NamedMask], answers: list[Answer]
    ) -> None:
        self.objects |= objects
        self.masks += masks
        self.answers += answers
        self.mask_rows += [{"picture": picture, **asdict(one)} for one in masks]
        self.answer_rows += [{"picture": picture, **asdict(one)} for one in answers]


def score_photos(
    segmenter: OpenVocabularySegmenter,
    dataset: InstanceDataset,
    options: PhotoOptions | None = None,
    *,
    progress: Progress = lambda done, total: None,
) -> PhotoScores:
    """Measures a segmenter on photographs.

    A picture that cannot be read or segmented counts nowhere; it is named with its reason.

    Args:
        segmenter: what is measured, under its own options.
        dataset: see `read_instances`; with category names.
        options: see there.
        progress: see `Progress`.

    Raises:
        InvalidInputError: no category has a name, too many have, no object counts, or no picture could be
            scored.
        ConfigError: the preset cannot be measured on photographs, or not with true masks.
        WeightsError: concerns every picture.
    """
    chosen = PhotoOptions() if options is None else options
    _check(segmenter, dataset, chosen)
    words = tuple(tidy_text(name) for name in dataset.categories)
    groups = _groups(dataset)
    counted = _Counted()
    failed = each_picture(
        [picture.name for picture in dataset.pictures],
        lambda i: _score_picture(segmenter, dataset.pictures[i], words, groups, chosen, counted),
        dataset.name,
        progress,
    )
    if not counted.objects:
        raise InvalidInputError(
            f"no object of {dataset.name} has {chosen.min_pixels} pixels; expected fewer with --min-pixels"
        )
    return PhotoScores(
        dataset=dataset.name,
        options=chosen,
        images=len(dataset) - len(failed),
        failed=tuple(failed),
        words=len(words),
        naming=mask_figures(counted.masks, counted.objects),
        answers=answer_figures(counted.answers),
        trials={"masks": counted.mask_rows, "answers": counted.answer_rows},
    )


def refuse_depth(preset: str) -> None:
    """Refuses a preset whose masks need depth.

    Raises:
        ConfigError: always.
    """
    raise ConfigError(
        f"the masks of {preset} need depth, which photographs do not have; take --masks true, or a preset "
        "that takes colour alone (ovseg presets --json lists needs_depth)"
    )


def _check(segmenter: OpenVocabularySegmenter, dataset: InstanceDataset, options: PhotoOptions) -> None:
    """Refuses what concerns every picture."""
    if not dataset.categories:
        raise InvalidInputError(
            f"expected categories with names in {dataset.name}, as COCO's files have: they are the words"
        )
    if options.words == "all" and len(dataset.categories) > MAX_LABELS:
        raise InvalidInputError(
            f"{dataset.name} has {len(dataset.categories)} categories, more than the {MAX_LABELS} words of a "
            "vocabulary: take --words present"
        )
    vocabulary_of(*list(dict.fromkeys(map(tidy_text, dataset.categories)))[:MAX_LABELS])  # or says which
    if options.masks == "own" and segmenter.needs_depth:
        refuse_depth(segmenter.name)
    if options.masks == "true" and segmenter.options.uses_generator:
        raise ConfigError(
            f"classifier {segmenter.options.classifier!r} of {segmenter.name} names only masks that its own "
            "generator made; take --masks own, or --set classifier=clip"
        )


def _groups(dataset: InstanceDataset) -> Sequence[Sequence[str]]:
    """Categories that are near each other: those of a supercategory, beside the groups we know."""
    of: dict[str, list[str]] = {}
    for name, parent in dataset.categories.items():
        if parent:
            of.setdefault(parent, []).append(tidy_text(name))
    return (*CONFUSED, *of.values())


def _score_picture(
    segmenter: OpenVocabularySegmenter,
    picture: Picture,
    words: tuple[str, ...],
    groups: Sequence[Sequence[str]],
    options: PhotoOptions,
    counted: _Counted,
) -> None:
    truth = truth_of(picture, options.min_pixels)
    frame = Frame(picture.read())
    embedded, iou, within_crowd = _embedded(segmenter, frame, truth, options, words)
    first = max(counted.objects, default=-1) + 1
    objects = {first + g: one.names[0] for g, one in enumerate(truth.objects) if one.counts}
    ignored = within_crowd if truth.complete else np.ones(len(embedded), np.bool_)
    named_by = words if options.words == "all" else sorted(truth.in_view)
    masks = name_all(
        segmenter.label(embedded, vocabulary_of(*named_by) if named_by else Vocabulary.empty()),
        iou,
        truth.objects,
        ignored=ignored,
        first_thing=first,
    )
    known = words if truth.complete else ()  # where labels lack, nobody knows what is absent
    asked = one_to_one(truth.present, truth.in_view, known, f"{options.seed}:{picture.name}", groups)
    answers = ask_alone(
        segmenter,
        embedded,
        {one.word: one.kind for one in asked},
        iou,
        truth.objects,
        excused=ignored,
    )
    counted.add(picture.name, objects, masks, answers)


def _embedded(
    segmenter: OpenVocabularySegmenter,
    frame: Frame,
    truth: PhotoTruth,
    options: PhotoOptions,
    words: Sequence[str],
) -> tuple[EmbeddedFrame, npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """The frame with N masks, (N, G) their IoU with the objects, and (N,) which are in crowds.

    Where masks are found by words, they are those that all categories find.
    """
    if options.masks == "own":
        embedded = segmenter.settled(segmenter.embed(frame), words)
        return embedded, truth.iou(embedded.masks), truth.within_crowd(embedded.masks)
    counting = [g for g, one in enumerate(truth.objects) if one.counts]
    embedded = embed_given(segmenter, frame, truth.masks[counting])
    return embedded, own_iou(counting, len(truth.objects)), np.zeros(len(counting), np.bool_)
