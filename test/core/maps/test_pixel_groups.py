"""Pixels under the same masks."""

import numpy as np
import pytest

from ovseg_ros.core.maps.pixel_groups import pixel_groups


def by_columns(masks):
    """The first pixel of each different column, and the number of each pixel's column among those."""
    columns = [tuple(column) for column in masks.T.tolist()]
    firsts = sorted({column: columns.index(column) for column in columns}.values())
    return {columns[i]: i for i in firsts}, columns


@pytest.mark.parametrize("count", [0, 1, 7, 8, 63, 64, 65, 130])
@pytest.mark.parametrize("pixels", [0, 1, 40])
def test_groups_are_the_columns_that_are_alike(count, pixels):
    rng = np.random.default_rng(count)
    masks = rng.random((count, pixels)) < 0.1
    masks[:, 1::3] = masks[:, :1]  # so that some are alike, side by side and apart
    masks[:, 2::3] = masks[:, :1]
    firsts, columns = by_columns(masks)
    groups = pixel_groups(masks)
    assert groups.first.dtype == groups.group.dtype == np.int64
    assert sorted(groups.first.tolist()) == sorted(firsts.values())
    assert [int(groups.first[g]) for g in groups.group] == [firsts[column] for column in columns]


def test_masks_that_differ_in_the_last_bit_alone_are_apart():
    masks = np.zeros((65, 4), np.bool_)
    masks[64, 1:3] = True
    masks[0, 2] = True
    assert len(pixel_groups(masks).first) == 3
    assert len(set(pixel_groups(masks).group.tolist())) == 3
