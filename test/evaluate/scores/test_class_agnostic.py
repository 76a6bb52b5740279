"""Masks without names against true things, on frames small enough to count by hand."""

import numpy as np
import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.scores.class_agnostic import count_masks, together


def strip(*spans, width=20):
    """(N, 1, width) masks, each a span of columns [start, stop)."""
    masks = np.zeros((len(spans), 1, width), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[0, start:stop] = True
    return masks


def test_best_iou_and_decent_ones():
    got = count_masks(strip((0, 10), (10, 17), (0, 2)), strip((0, 10), (10, 20)))
    assert got.best_iou.tolist() == [1.0, 0.7]
    assert (got.masks, got.merged, got.split, got.extra) == (3, 0, 1, 0)
    assert got.decent == 2
    assert got.mean_iou == pytest.approx(0.85)


def test_a_mask_over_halves_of_two_things_is_merged():
    things = strip((0, 10), (10, 20))
    assert count_masks(strip((5, 15)), things).merged == 1
    assert count_masks(strip((6, 20)), things).merged == 0


def test_a_thing_in_two_parts_is_split():
    things = strip((0, 20))
    assert count_masks(strip((0, 10), (10, 20)), things).split == 1
    assert count_masks(strip((0, 18), (18, 20)), things).split == 0  # a tenth is a crumb
    assert count_masks(strip((0, 10), (10, 20)), strip((0, 10), (10, 20))).split == 0


def test_masks_on_nothing_are_extra_unless_ignored():
    masks, things = strip((0, 4), (3, 8), (12, 20)), strip((0, 4))
    assert count_masks(masks, things).extra == 2
    ignored = np.zeros((1, 20), bool)
    ignored[0, 10:] = True
    assert count_masks(masks, things, ignored).extra == 1


def test_no_masks_and_no_things():
    nothing = np.zeros((0, 1, 20), bool)
    assert count_masks(nothing, strip((0, 4))).best_iou.tolist() == [0.0]
    empty = count_masks(strip((0, 4)), nothing)
    assert (len(empty.best_iou), empty.extra) == (0, 1)
    assert np.isnan(empty.mean_iou)


def test_frames_are_counted_together():
    a = count_masks(strip((5, 15)), strip((0, 10), (10, 20)))
    b = count_masks(strip((0, 10), (10, 20)), strip((0, 20)))
    both = together([a, b])
    assert both.best_iou.tolist() == [*a.best_iou, *b.best_iou]
    assert (both.masks, both.merged, both.split, both.extra) == (3, 1, 1, 0)
    assert together([]).masks == 0


def test_two_sizes_and_an_empty_thing_are_refused():
    with pytest.raises(InvalidInputError, match="size"):
        count_masks(strip((0, 4)), strip((0, 4), width=10))
    with pytest.raises(InvalidInputError, match="empty"):
        count_masks(strip((0, 4)), strip((4, 4)))
