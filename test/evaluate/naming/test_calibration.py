"""Reliability diagrams beside a loop over bins."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.naming import calibration


def test_by_hand():
    found = calibration([0.05, 0.92, 0.98, 1.0], [False, True, False, True])
    assert [one.count for one in found.bins] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found.bins[9].mean_score == pytest.approx(2.9 / 3)
    assert found.bins[9].right == pytest.approx(2 / 3)
    assert found.bins[1].right is None
    assert found.error == pytest.approx(0.25 * 0.05 + 0.75 * (2.9 / 3 - 2 / 3))
    assert (found.bins[0].low, found.bins[9].high) == (0.0, 1.0)


def test_as_a_loop():
    draw = random.Random(1)
    scores = [draw.random() for _ in range(200)]
    right = [draw.random() < score**2 for score in scores]
    error = 0.0
    for k in range(10):
        inside = [i for i, score in enumerate(scores) if k / 10 <= score < (k + 1) / 10]
        if inside:
            error += abs(sum(right[i] for i in inside) - sum(scores[i] for i in inside)) / len(scores)
    assert calibration(scores, right).error == pytest.approx(error)


def test_no_answers_have_no_error():
    assert calibration([], []).error is None
    assert calibration([], []).to_dict()["count"] == 0


@pytest.mark.parametrize("scores", [[1.5], [-0.1], [float("nan")], [0.5, 0.5]])
def test_no_scores(scores):
    with pytest.raises(InvalidInputError, match="expected"):
        calibration(scores, [True])
