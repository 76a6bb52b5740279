"""Precision-recall curves beside a loop over all thresholds."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.naming import precision_recall_curve


def naive(scores, right, to_find, finds):
    points, area, last = [], 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        over = [k for k in range(len(scores)) if scores[k] >= threshold]
        precision = sum(right[k] for k in over) / len(over)
        recall = len({finds[k] for k in over if right[k] and finds[k] >= 0}) / to_find
        area += (recall - last) * precision
        last = recall
        points.append((threshold, precision, recall))
    return points, area


@pytest.mark.parametrize("seed", range(5))
def test_as_a_loop_over_thresholds(seed):
    draw = random.Random(seed)
    scores = [draw.randint(0, 8) / 8 for _ in range(40)]  # many are equal
    right = [draw.random() < 0.5 for _ in scores]
    finds = [draw.randint(-1, 9) for _ in scores]
    points, area = naive(scores, right, 11, finds)
    curve = precision_recall_curve(scores, right, 11, finds)
    assert curve.thresholds == tuple(threshold for threshold, _, _ in points)
    assert curve.precision == pytest.approx([precision for _, precision, _ in points])
    assert curve.recall == pytest.approx([recall for _, _, recall in points])
    assert curve.average_precision == pytest.approx(area)


def test_by_hand():
    curve = precision_recall_curve([0.9, 0.8, 0.7], [True, False, True], 4)
    assert curve.precision == pytest.approx([1.0, 0.5, 2 / 3])
    assert curve.recall == pytest.approx([0.25, 0.25, 0.5])
    assert curve.average_precision == pytest.approx(0.25 + 0.25 * 2 / 3)


def test_nothing_there_and_nothing_answered():
    assert precision_recall_curve([], [], 3).average_precision == 0.0
    assert precision_recall_curve([0.5], [False], 0).average_precision is None
    assert precision_recall_curve([0.5], [False], 2).recall == (0.0,)


@pytest.mark.parametrize(
    ("scores", "right", "what"), [([0.5], [], "1, 0"), ([float("nan")], [True], "ranked")]
)
def test_what_cannot_be_ranked_is_refused(scores, right, what):
    with pytest.raises(InvalidInputError, match=what):
        precision_recall_curve(scores, right, 1)
