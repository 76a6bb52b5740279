"""Mask IoU and matching against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.scores import Match, best_matches, instance_masks, mask_iou, pairwise_iou, share


def naive_iou(a, b):
    both = either = 0
    for y in range(a.shape[0]):
        for x in range(a.shape[1]):
            both += bool(a[y, x] and b[y, x])
            either += bool(a[y, x] or b[y, x])
    return both / either if either else 0.0


def test_pairwise_iou_is_what_counting_gives():
    rng = np.random.default_rng(3)
    masks_a, masks_b = rng.random((5, 9, 7)) < 0.4, rng.random((4, 9, 7)) < 0.6
    masks_a[2] = False
    masks_b[1] = False
    got = pairwise_iou(masks_a, masks_b)
    assert got.shape == (5, 4)
    for i, a in enumerate(masks_a):
        for j, b in enumerate(masks_b):
            assert got[i, j] == pytest.approx(naive_iou(a, b), abs=1e-12)
    assert got[2, 1] == 0.0  # both empty
    assert mask_iou(masks_a[0], masks_a[0]) == 1.0


def test_iou_counts_exactly_on_large_masks():
    whole = np.ones((480, 640), dtype=bool)
    one_off = whole.copy()
    one_off[17, 23] = False
    assert mask_iou(whole, one_off) == (480 * 640 - 1) / (480 * 640)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (3, 0)])
def test_empty_sets_give_empty_tables(n, m):
    assert pairwise_iou(np.zeros((n, 4, 4), bool), np.zeros((m, 4, 4), bool)).shape == (n, m)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), bool)),
        (np.zeros((4, 4), bool), np.zeros((1, 4, 4), bool)),
        (np.zeros((1, 4, 4), bool), np.zeros((1, 4, 5), bool)),
    ],
)
def test_what_are_no_masks_of_one_image_is_refused(a, b):
    with pytest.raises(InvalidInputError, match="want masks"):
        pairwise_iou(a, b)


def test_best_matches_on_a_worked_table():
    iou = np.array([[0.2, 0.9, 0.0], [0.6, 0.9, 0.0]])
    assert best_matches(iou, 0.5) == [Match(1, 0.6), Match(0, 0.9), Match(-1, 0.0)]
    assert best_matches(iou, 0.7) == [Match(-1, 0.6), Match(0, 0.9), Match(-1, 0.0)]
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
