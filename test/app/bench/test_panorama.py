"""A made-up pan over real photographs: masks belong to what is in view, and move with it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from ovseg_ros.app.bench.panorama import Panorama
from ovseg_ros.errors import ConfigError


@pytest.fixture(scope="module")
def panorama():
    pytest.importorskip("skimage", reason="the photographs come with scikit-image")
    return Panorama((96, 128), 4)


def test_frames_and_masks_move_together(panorama):
    first, second = panorama.frames[:2]
    assert first.size_hw == (96, 128)
    assert 0 < first.stamp_ns < second.stamp_ns
    np.testing.assert_array_equal(first.image_rgb[:, 2:], second.image_rgb[:, :-2])  # a step of 2 pixels
    before, after = (panorama.propose(frame).masks for frame in (first, second))
    shared = [mask for mask in before[:, :, 2:] if (mask == after[:, :, :-2]).flatten(1).all(dim=1).any()]
    assert len(shared) >= len(before) - 2  # all but what the border makes too small


def test_masks_are_apart_and_not_small(panorama):
    proposals = panorama.propose(panorama.frames[0])
    assert len(proposals) > 20
    assert proposals.masks.sum(dim=0).max() == 1
    assert proposals.masks.flatten(1).sum(dim=1).min() >= 0.003 * 96 * 128
    assert torch.equal(proposals.masks, panorama.propose(panorama.frames[0]).masks)


def test_what_cannot_be_shown_is_said(monkeypatch):
    pytest.importorskip("skimage", reason="the photographs come with scikit-image")
    with pytest.raises(ConfigError, match=r"at most 4\.0 times as wide as high"):
        Panorama((24, 480), 1)
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[garage\]', or name other cases"):
        Panorama((24, 32), 1)
