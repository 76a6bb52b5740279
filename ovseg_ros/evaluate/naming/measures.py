"""The figures of named masks and of words asked alone. Pure counting.

Precision, recall and F1 are of all masks and objects together, so that a frequent word weighs more; the mean
over words stands beside top-1. A share of which there was no trial is None.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ovseg_ros.evaluate.naming.absent import ABSENT_KINDS
from ovseg_ros.evaluate.naming.calibration import Calibration, calibration
from ovseg_ros.evaluate.naming.curves import Curve, precision_recall_curve
from ovseg_ros.evaluate.naming.trials import Answer, NamedMask


@dataclass(frozen=True)
class MaskFigures:
    """All masks under a vocabulary.

    Attributes:
        masks: how many.
        named: how many of them got a label.
        precision: of those that got a label, the share that fits an object of that word.
        recall: of the objects to be found, the share that has a mask which is named rightly.
        f1: harmonic mean of the two.
        objects: how many are to be found.
        matched: masks that fit one of them.
        top1: of `matched`, the share whose most probable word is right, label or not.
        top1_mean: the mean over words of that share.
        per_word: word -> "objects", "found" (objects), "named", "right" (masks), "top1".
        curve: precision against recall over the score, every mask under its most probable word.
        calibration: of the masks that got a label.
    """

    masks: int
    named: int
    precision: float | None
    recall: float | None
    f1: float | None
    objects: int
    matched: int
    top1: float | None
    top1_mean: float | None
    per_word: Mapping[str, Mapping[str, Any]]
    curve: Curve
    calibration: Calibration

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "curve": self.curve.to_dict(), "calibration": self.calibration.to_dict()}


def mask_figures(masks: Sequence[NamedMask], objects: Mapping[int, str]) -> MaskFigures:
    """Counts named masks.

    Args:
        masks: of all pictures.
        objects: number -> own word of each object that is to be found.
    """
    labelled = [one for one in masks if one.named]
    right = [one for one in labelled if one.right]
    found = {one.thing for one in right} & objects.keys()
    matched = [one for one in masks if one.thing in objects]
    per_word = _per_word(masks, objects)
    top1_of = [one["top1"] for one in per_word.values() if one["top1"] is not None]
    precision, recall = _share(len(right), len(labelled)), _share(len(found), len(objects))
    return MaskFigures(
        masks=len(masks),
        named=len(labelled),
        precision=precision,
        recall=recall,
        f1=f1_of(precision, recall),
        objects=len(objects),
        matched=len(matched),
        top1=_share(sum(one.right for one in matched), len(matched)),
        top1_mean=sum(top1_of) / len(top1_of) if top1_of else None,
        per_word=per_word,
        curve=precision_recall_curve(
            [one.score for one in masks],
            [one.right for one in masks],
            len(objects),
            [one.thing if one.thing in objects else -1 for one in masks],
        ),
        calibration=calibration([one.score for one in labelled], [one.right for one in labelled]),
    )


def _per_word(masks: Sequence[NamedMask], objects: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """Per word its objects and masks; a word that was said of things that are not it has a row too."""
    rows: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"objects": 0, "found": 0, "named": 0, "right": 0, "tried": 0, "best": 0}
    )
    for word in objects.values():
        rows[word]["objects"] += 1
    for thing in {one.thing for one in masks if one.named and one.right} & objects.keys():
        rows[objects[thing]]["found"] += 1
    for one in masks:
        if one.named:
            rows[one.best]["named"] += 1
            rows[one.best]["right"] += one.right
        if one.thing in objects:
            rows[objects[one.thing]]["tried"] += 1
            rows[objects[one.thing]]["best"] += one.right
    shown = ("objects", "found", "named", "right")
    return {
        word: {**{name: counts[name] for name in shown}, "top1": _share(counts["best"], counts["tried"])}
        for word, counts in sorted(rows.items())
    }


@dataclass(frozen=True)
class AnswerFigures:
    """Words asked alone, those that are there and those that are not.

    Attributes:
        trials: kind -> how many (picture, word).
        found: how many answers were FOUND.
        precision: of those, the share whose mask fits an object of the word.
        precision_in_view: of those, the share whose word is in the picture at all.
        recall: of the words that are present, the share that was found with the right mask.
        f1: harmonic mean of precision and recall.
        false_found: kind of absence -> share of its (picture, word) that were FOUND.
        false_words: word -> how often it was FOUND where it is not, the most frequent first.
        curve: precision against recall over the best score of each trial, whatever the threshold.
        calibration: of FOUND answers.
        calibration_of_all: of every trial's best score, found or not.
    """

    trials: Mapping[str, int]
    found: int
    precision: float | None
    precision_in_view: float | None
    recall: float | None
    f1: float | None
    false_found: Mapping[str, float | None]
    false_words: Mapping[str, int]
    curve: Curve
    calibration: Calibration
    calibration_of_all: Calibration

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            name: value.to_dict() if isinstance(value, (Curve, Calibration)) else value
            for name, value in vars(self).items()
        }


def answer_figures(answers: Sequence[Answer]) -> AnswerFigures:
    """Counts the answers of all pictures."""
    found = [one for one in answers if one.found]
    present = [one for one in answers if one.kind == "present"]
    precision = _share(sum(one.right for one in found), len(found))
    recall = _share(sum(one.right and one.found for one in present), len(present))
    false_words: dict[str, int] = defaultdict(int)
    for one in found:
        if not one.in_view:
            false_words[one.word] += 1
    of_kind = {kind: [one.found for one in answers if one.kind == kind] for kind in ABSENT_KINDS}
    return AnswerFigures(
        trials={"present": len(present), **{kind: len(some) for kind, some in of_kind.items()}},
        found=len(found),
        precision=precision,
        precision_in_view=_share(sum(one.in_view for one in found), len(found)),
        recall=recall,
        f1=f1_of(precision, recall),
        false_found={kind: _share(sum(some), len(some)) for kind, some in of_kind.items()},
        false_words=dict(sorted(false_words.items(), key=lambda item: (-item[1], item[0]))),
        curve=precision_recall_curve(
            [one.score for one in answers], [one.right for one in answers], len(present)
        ),
        calibration=calibration([one.score for one in found], [one.right for one in found]),
        calibration_of_all=calibration([one.score for one in answers], [one.right for one in answers]),
    )


def f1_of(precision: float | None, recall: float | None) -> float | None:
    """Harmonic mean; 0 where both are 0, None where either has not been tried.

    >>> f1_of(1.0, 0.5)
    0.6666666666666666
    """
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share(hits: int, trials: int) -> float | None:
    return hits / trials if trials else None
