"""Matching of proposals and true objects on worked tables."""

from __future__ import annotations

import numpy as np

from ovseg_ros.evaluate.scores.match import Match, best_matches, instance_masks, share


def test_best_matches_on_a_worked_table():
    iou = np.array([[0.2, 0.9, 0.0], [0.6, 0.9, 0.0]])
    assert best_matches(iou) == [Match(1, 0.6), Match(0, 0.9), Match(-1, 0.0)]
    assert best_matches(np.zeros((0, 2))) == [Match(-1, 0.0)] * 2
    assert best_matches(np.zeros((2, 0))) == []


def test_instance_masks_and_share():
    instances = np.array([[0, 3], [65535, 3]], dtype=np.uint16)
    masks = instance_masks(instances, [3, 65535, 7])
    assert masks.tolist() == [[[0, 1], [0, 1]], [[0, 0], [1, 0]], [[0, 0], [0, 0]]]
    assert instance_masks(instances, []).shape == (0, 2, 2)
    assert share([]) is None
    assert share([True, False, True, True]) == 0.75
