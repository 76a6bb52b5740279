"""benchmark/superpixels.py: the baseline finds what differs in colour from what is around it."""

from __future__ import annotations

import importlib.util
import sys

import cv2
import numpy as np
import pytest
from mask_fixtures import iou
from repository import ROOT

from ovseg_ros.core.frame import Frame, as_proposer

pytest.importorskip("skimage")


@pytest.fixture(scope="module")
def superpixels():
    spec = importlib.util.spec_from_file_location("superpixels", ROOT / "benchmark" / "superpixels.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["superpixels"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["superpixels"]


def two_tone_disc(size_hw=(240, 320)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of a disc in two reds on a grain of grey; the mask of the disc, and of its brighter half."""
    rng = np.random.default_rng(0)
    image = rng.normal(128, 4, (*size_hw, 3))
    rows, columns = np.ogrid[: size_hw[0], : size_hw[1]]
    disc = (rows - 120) ** 2 + (columns - 160) ** 2 <= 60**2
    half = disc & (columns < 160)
    image[disc] = (170, 40, 40)
    image[half] = (215, 50, 50)
    return cv2.GaussianBlur(image.clip(0, 255).astype(np.uint8), (0, 0), 0.7), disc, half


def test_wholes_and_parts_are_proposed_and_the_whole_first(superpixels) -> None:
    image, disc, half = two_tone_disc()
    proposals = as_proposer(superpixels.MergedSuperpixels()).propose(Frame(image))
    masks, scores = proposals.masks.numpy(), proposals.scores
    assert masks.shape[1:] == (240, 320)
    assert (scores.diff() <= 0).all()
    assert 0.0 < scores[-1] <= scores[0] <= 1.0
    assert iou(masks[0], disc) > 0.95
    assert max(iou(mask, half) for mask in masks) > 0.9


def test_no_two_masks_are_alike_and_no_more_come_than_wanted(superpixels) -> None:
    frame = Frame(two_tone_disc()[0])
    options = superpixels.Options(duplicate_iou=0.7, max_masks=4, long_side=320)
    masks = superpixels.MergedSuperpixels(options).propose(frame).masks.numpy()
    assert 2 <= len(masks) <= 4
    assert max(iou(a, b) for i, a in enumerate(masks) for b in masks[:i]) < 0.7


def test_a_tree_has_every_merge_once(superpixels) -> None:
    options = superpixels.Options()
    found = superpixels.superpixels(two_tone_disc()[0], options)
    tree = superpixels.merge(found, options)
    count = len(found.areas)
    assert tree.members.shape == (2 * count - 1, count)
    assert tree.members[-1].all()
    assert (tree.members[:count] == np.eye(count, dtype=bool)).all()
    assert (tree.born <= tree.died).all()
    assert len(np.unique(tree.members, axis=0)) == 2 * count - 1
    again = superpixels.merge(found, options)  # the graph is as it was
    np.testing.assert_array_equal(again.members, tree.members)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (60, 80), (3, 2)])
def test_a_picture_of_one_colour_has_no_masks(superpixels, size_hw) -> None:
    frame = Frame(np.full((*size_hw, 3), 77, np.uint8))
    proposals = superpixels.MergedSuperpixels().propose(frame)
    assert tuple(proposals.masks.shape) == (0, *size_hw)
