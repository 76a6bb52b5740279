"""Mean intersection over union and its relatives, from one matrix of counts.

Conventions (those of detectron2's evaluator since July 2022):

* The counts of all pictures are summed first; IoU is computed once per class at the end.
* Pixels whose truth is ignored (void, border, unlabelled) count nowhere, whatever was predicted there.
* A pixel without a prediction is missed: it belongs to its true class's union and to no other.
* A class that the truth never shows has no IoU and takes no part in any mean, also where it was predicted;
  those predictions still lower the IoU of the classes that are really there. `miou_with_absent` counts such
  classes as 0, as detectron2 did before, and as OVSeg's own evaluator does (facebookresearch/ov-seg,
  generalized_sem_seg_evaluation.py): compare with the paper by that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE

NO_PREDICTION = -1
"""In a predicted map: no class. `IGNORE` means the same there."""


class ConfusionMatrix:
    """How many pixels of each true class were given each class; memory does not grow with the pictures.

    Attributes:
        counts: (K, K + 1) int64, row: truth, column: prediction, the last for pixels without one.
    """

    def __init__(self, classes: int) -> None:
        """An empty matrix of K classes.

        Raises:
            InvalidInputError: no class, or more than a truth image can tell apart.
        """
        if not 1 <= classes < IGNORE - 1:
            raise InvalidInputError(f"expected 1…{IGNORE - 2} classes, got {classes}")
        self.counts: npt.NDArray[np.int64] = np.zeros((classes, classes + 1), np.int64)

    def __len__(self) -> int:
        return self.counts.shape[0]

    def count(
        self, truth: npt.NDArray[np.integer[Any]], predicted: npt.NDArray[np.integer[Any]]
    ) -> npt.NDArray[np.int64]:
        """What one picture adds to `counts`; nothing is changed.

        Args:
            truth: (H, W) class index, `IGNORE` where nothing is counted.
            predicted: (H, W) class index, `NO_PREDICTION` or `IGNORE` where there is none.

        Returns:
            (K, K + 1) int64.

        Raises:
            InvalidInputError: sizes differ, or an index that is no class.
        """
        if truth.shape != predicted.shape:
            raise InvalidInputError(
                f"expected a prediction of the truth's size {truth.shape}, got {predicted.shape}"
            )
        classes = len(self)
        counted = truth != IGNORE
        true = truth[counted].astype(np.int64)  # (P,)
        given = predicted[counted].astype(np.int64)  # (P,)
        given[(given == NO_PREDICTION) | (given == IGNORE)] = classes
        for what, values, top in (("truth", true, classes - 1), ("prediction", given, classes)):
            if values.size and not (values.min() >= 0 and values.max() <= top):
                strange = np.unique(values[(values < 0) | (values > top)])[:8].tolist()
                raise InvalidInputError(
                    f"expected class indices 0…{classes - 1} in the {what}, got {strange}"
                )
        flat = np.bincount(true * (classes + 1) + given, minlength=self.counts.size)  # (K·(K+1),)
        return flat.reshape(self.counts.shape)

    def merge(self, other: ConfusionMatrix) -> None:
        """Adds the counts of another part of the same data set.

        Raises:
            InvalidInputError: another number of classes.
        """
        if other.counts.shape != self.counts.shape:
            raise InvalidInputError(f"expected {len(self)} classes, got {len(other)}")
        self.counts += other.counts

    def scores(self, names: Sequence[str], unseen: Collection[str] = ()) -> Scores:
        """What the counts say.

        Args:
            names: K.
            unseen: names of the classes held out from training; () where there is no such split.

        Raises:
            InvalidInputError: another number of names, an unseen name that is none, or no pixel counted.
        """
        if len(names) != len(self):
            raise InvalidInputError(f"expected {len(self)} names, got {len(names)}")
        if strange := sorted(set(unseen) - set(names)):
            raise InvalidInputError(f"unseen classes that are none: {', '.join(strange)}")
        total = int(self.counts.sum())
        if total == 0:
            raise InvalidInputError("there is nothing to score: every pixel of the truth is ignored")
        hits = np.diagonal(self.counts).astype(np.float64)  # (K,)
        true = self.counts.sum(axis=1).astype(np.float64)  # (K,)
        given = self.counts[:, :-1].sum(axis=0).astype(np.float64)  # (K,)
        union = true + given - hits
        there = true > 0
        iou = np.divide(hits, union, out=np.zeros_like(hits), where=union > 0)
        accuracy = np.divide(hits, true, out=np.zeros_like(hits), where=there)
        held_out = np.isin(np.asarray(names, dtype=object), list(unseen))
        seen_miou = _mean(iou[there & ~held_out]) if unseen else None
        unseen_miou = _mean(iou[there & held_out]) if unseen else None
        return Scores(
            miou=float(iou[there].mean()),
            miou_with_absent=float(iou[union > 0].mean()),
            fwiou=float((iou * true).sum() / total),
            pixel_accuracy=float(hits.sum() / total),
            mean_accuracy=float(accuracy[there].mean()),
            unpredicted=float(self.counts[:, -1].sum() / total),
            seen_miou=seen_miou,
            unseen_miou=unseen_miou,
            harmonic_miou=_harmonic(seen_miou, unseen_miou),
            pixels=total,
            classes_present=int(there.sum()),
            per_class=tuple(
                ClassScore(
                    name=name,
                    iou=float(iou[i]) if there[i] else None,
                    accuracy=float(accuracy[i]) if there[i] else None,
                    true_pixels=int(true[i]),
                    predicted_pixels=int(given[i]),
                    unseen=bool(held_out[i]),
                )
                for i, name in enumerate(names)
            ),
        )


@dataclass(frozen=True)
class ClassScore:
    """One class. IoU and accuracy are None where the truth never shows it."""

    name: str
    iou: float | None
    accuracy: float | None
    true_pixels: int
    predicted_pixels: int
    unseen: bool


@dataclass(frozen=True)
class Scores:
    """All shares in [0, 1].

    Attributes:
        miou: mean IoU over the classes that the truth shows.
        miou_with_absent: the same with 0 for classes that were predicted and are nowhere.
        fwiou: mean IoU weighted by the true pixels of each class.
        pixel_accuracy: share of counted pixels that are right.
        mean_accuracy: mean over classes of the share of their pixels that are right.
        unpredicted: share of counted pixels without a prediction.
        seen_miou: over the classes not held out; None without such a split, or where none is shown.
        unseen_miou: over those held out; None likewise.
        harmonic_miou: harmonic mean of the two; None where one is missing.
        pixels: how many were counted.
        classes_present: how many classes the truth shows.
        per_class: one entry per class.
    """

    miou: float
    miou_with_absent: float
    fwiou: float
    pixel_accuracy: float
    mean_accuracy: float
    unpredicted: float
    seen_miou: float | None
    unseen_miou: float | None
    harmonic_miou: float | None
    pixels: int
    classes_present: int
    per_class: tuple[ClassScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if values.size else None


def _harmonic(first: float | None, second: float | None) -> float | None:
    if first is None or second is None:
        return None
    return 2 * first * second / (first + second) if first + second > 0 else 0.0
