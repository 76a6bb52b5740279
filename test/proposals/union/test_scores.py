"""Scores of one meaning, and outlines on edges."""

from __future__ import annotations

import numpy as np
import pytest

from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.proposals.union.scores import calibrated, edge_strengths

HEIGHT, WIDTH = 40, 60


def box(top, left, bottom, right):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def painted(mask, seed=0):
    """A picture of one thing, with noise."""
    image = np.where(mask[..., None], (200, 60, 50), (170, 140, 105))
    return (image + np.random.default_rng(seed).normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)


THING, WIDER, OTHER = box(10, 10, 30, 40), box(8, 8, 32, 43), box(2, 45, 12, 58)
IMAGE = painted(THING)


@pytest.mark.parametrize(("rated", "score"), [(0.8, 0.8), (0.2, 0.5)])
@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("depth_is_right", [True, False])
def test_two_views_share_the_higher_score_and_the_sharper_is_better(rated, score, order, depth_is_right):
    cluster, colour = (THING, WIDER) if depth_is_right else (WIDER, THING)
    masks, scores = np.array([cluster, colour])[order], np.array([1.0, rated], np.float32)[order]
    got = calibrated(boxed_masks(masks), scores, np.array([False, True])[order], 0.5, 0.65, IMAGE)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, score, rtol=1e-6)
    assert (masks[got.argmax()] == THING).all()
    assert got[0] != got[1]


def test_masks_that_do_not_agree_have_a_smaller_score_or_their_own():
    masks = np.array([THING, OTHER, box(0, 0, 0, 0)])
    scores = np.array([0.8, 0.6, 0.4], np.float32)
    for rated in ([True, False, False], [False, True, True], [False] * 3, [True] * 3):
        got = calibrated(boxed_masks(masks), scores, np.array(rated), 0.5, 0.65, IMAGE)
        np.testing.assert_allclose(got, scores * np.where(rated, 1, 0.5))
    assert calibrated(boxed_masks(masks[:0]), scores[:0], np.zeros(0, bool), 0.5, 0.65, IMAGE).shape == (0,)


def test_of_several_that_agree_the_surest_counts():
    masks = np.array([THING, WIDER, box(9, 10, 30, 40)])
    got = calibrated(
        boxed_masks(masks),
        np.array([1, 0.6, 0.9], np.float32),
        np.array([False, True, True]),
        0.5,
        0.65,
        IMAGE,
    )
    np.testing.assert_allclose(got, [0.9, 0.6, 0.9], rtol=1e-6)


def test_scores_stay_at_most_one():
    masks = np.array([THING, WIDER])
    got = calibrated(boxed_masks(masks), np.ones(2, np.float32), np.array([False, True]), 1.0, 0.65, IMAGE)
    assert got[0] > got[1]
    assert got.max() == 1


def naive_strength(image, mask):
    """A pixel at a time, beyond the image's border as OpenCV reflects it."""
    smooth = (1, 2, 1)
    inside = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), mode="reflect")
    total, count = 0.0, 0
    for row, column in np.ndindex(mask.shape):
        neighbours = [
            mask[r, c]
            for r, c in (
                (row, column),
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            )
            if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1]
        ]
        if any(neighbours) and not all(neighbours):
            patch = inside[row : row + 3, column : column + 3]
            dx = sum(smooth[k] * (patch[k, 2] - patch[k, 0]) for k in range(3)) / 8
            dy = sum(smooth[k] * (patch[2, k] - patch[0, k]) for k in range(3)) / 8
            total, count = total + np.hypot(dx, dy).max(), count + 1
    return total / count if count else 0.0


def test_strengths_are_what_a_slow_reading_gives():
    rng = np.random.default_rng(1)
    masks = np.array([THING, WIDER, box(0, 0, 20, 30), THING ^ (rng.random(THING.shape) < 0.02)])
    for mask, got in zip(masks, edge_strengths(IMAGE, boxed_masks(masks)), strict=True):
        assert got == pytest.approx(naive_strength(IMAGE, mask), rel=1e-4)
    assert edge_strengths(IMAGE, boxed_masks(np.ones((1, HEIGHT, WIDTH), bool))) == [0.0]
