"""IoU of masks against counting by hand, whichever way the pairs are counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg_ros.core.maps import mask_overlap
from ovseg_ros.core.maps.mask_overlap import BoxedMask, boxed_masks, mask_iou, shared_pixels
from ovseg_ros.errors import InvalidInputError


def naive_iou(masks_a, masks_b, least=0.0):
    out = np.zeros((len(masks_a), len(masks_b)))
    for i, a in enumerate(masks_a):
        for j, b in enumerate(masks_b):
            either = np.count_nonzero(a | b)
            out[i, j] = np.count_nonzero(a & b) / either if either else 0.0
    return np.where(out >= least, out, 0.0)


def scene(count, seed):
    """Boxes with holes; with more than two, one of nothing and one of everything."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, 40, 53), bool)
    for mask in masks:
        y, x, height, width = rng.integers(0, 38), rng.integers(0, 50), *rng.integers(1, 25, 2)
        mask[y : y + height, x : x + width] = rng.random(mask[y : y + height, x : x + width].shape) < 0.9
    if count > 2:
        masks[1], masks[2] = False, True
    return masks


@pytest.mark.parametrize("counted", [0, 4], ids=["run lengths", "box by box"])
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1), (7, 5), (40, 30)])
def test_iou_is_what_counting_gives(n, m, counted, monkeypatch):
    monkeypatch.setattr(mask_overlap, "_COUNTED_PER_CODED", counted)
    a, b = scene(n, 1), scene(m, 2)
    iou = mask_iou(boxed_masks(torch.from_numpy(a)), b)
    assert iou.shape == (n, m)
    np.testing.assert_allclose(iou, naive_iou(a, b), atol=1e-12)
    if not counted:
        return
    for least in (0.1, 0.5, 1.0):
        shown = mask_iou(a, b, least=least)
        np.testing.assert_allclose(np.where(shown >= least, shown, 0), naive_iou(a, b, least), atol=1e-12)


@pytest.mark.parametrize("counted", [0, 4], ids=["run lengths", "box by box"])
@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_shared_pixels_are_what_counting_gives(n, least, counted, monkeypatch):
    monkeypatch.setattr(mask_overlap, "_COUNTED_PER_CODED", counted)
    masks = scene(n, 3)
    want = np.array([[np.count_nonzero(a & b) for b in masks] for a in masks], np.int64).reshape(n, n)
    smaller = np.minimum(want.diagonal()[:, None], want.diagonal())
    got = shared_pixels(boxed_masks(masks), least=least)
    assert got.shape == (n, n)
    np.testing.assert_array_equal(np.where(got >= least * smaller, got, 0), want * (want >= least * smaller))
    np.testing.assert_array_equal(got.diagonal(), want.diagonal())


def test_two_thousand_masks():
    rng = np.random.default_rng(0)
    square = np.ones((20, 20), bool)
    at = rng.integers(0, 1000, (2000, 2))
    masks = [BoxedMask(square, int(x), int(y), 400) for x, y in at]
    shared = (20 - np.abs(at[:, None] - at[None])).clip(min=0).prod(axis=2)
    np.testing.assert_allclose(mask_iou(masks, masks), shared / (800 - shared))
    full = [BoxedMask(np.ones((480, 640), bool), 0, 0, 480 * 640)] * 1000
    assert mask_iou(full, full).min() == 1.0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros((1, 4, 4), np.uint8), np.zeros((1, 4, 4), bool)),
        (np.zeros((1, 4), bool), np.zeros((1, 4), bool)),
        (np.zeros((1, 4, 4), bool), torch.zeros((1, 4, 5), dtype=torch.bool)),
    ],
)
def test_what_are_no_masks_of_one_image_is_refused(a, b):
    with pytest.raises(InvalidInputError, match="expected masks"):
        mask_iou(a, b)
