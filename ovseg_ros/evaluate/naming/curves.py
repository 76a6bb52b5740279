"""Precision against recall while the threshold falls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovseg_ros.errors import InvalidInputError


@dataclass(frozen=True)
class Curve:
    """One point for each score that occurs, the highest first: what at least that score would give.

    Attributes:
        thresholds: the scores.
        precision: of what is at or above the threshold, the share that is right.
        recall: of everything there is to find, the share that is found rightly at or above it.
        average_precision: Σ (recall_k − recall_{k−1}) · precision_k, without interpolation; None where there
            is nothing to find.
    """

    thresholds: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    average_precision: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()
        }


def precision_recall_curve(
    scores: Sequence[float], right: Sequence[bool], to_find: int, finds: Sequence[int] | None = None
) -> Curve:
    """The curve of answers with scores.

    Args:
        scores: one an answer, any numbers that can be ranked. Equal ones pass a threshold together.
        right: whether that answer is.
        to_find: how many things there are to find, those included for which there is no answer.
        finds: which thing a right answer finds, so that two of one thing count once for recall; -1 for none
            that is to be found. Each right answer finds a thing of its own when None.

    Raises:
        InvalidInputError: lengths differ, or a score is nan.
    """
    values, hits = np.asarray(scores, np.float64), np.asarray(right, np.bool_)
    things = np.arange(len(values)) if finds is None else np.asarray(finds, np.int64)
    if not len(values) == len(hits) == len(things):
        raise InvalidInputError(
            f"expected as many scores as answers, got {len(values)}, {len(hits)} and {len(things)}"
        )
    if np.isnan(values).any():
        raise InvalidInputError("expected scores that can be ranked, got nan")
    if not to_find or not len(values):
        return Curve((), (), (), 0.0 if to_find else None)
    order = np.argsort(-values, kind="stable")
    values, hits, things = values[order], hits[order], things[order]
    finding = np.flatnonzero(hits & (things >= 0))
    first = np.zeros(len(values), np.int64)
    first[finding[np.unique(things[finding], return_index=True)[1]]] = 1
    last_of_equals = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    precision = (np.cumsum(hits) / np.arange(1, len(hits) + 1))[last_of_equals]
    recall = (np.cumsum(first) / to_find)[last_of_equals]
    area = float((np.diff(recall, prepend=0.0) * precision).sum())
    return Curve(
        tuple(values[last_of_equals].tolist()), tuple(precision.tolist()), tuple(recall.tolist()), area
    )
