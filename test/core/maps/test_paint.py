"""Painting box by box gives what the plain maps give."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from map_oracles import label_map

from ovseg_ros.core.maps.compose import instance_map
from ovseg_ros.core.maps.paint import box_slices, confidence_bytes, paint_instances, paint_labels
from ovseg_ros.core.regions.crop import mask_boxes


def scene(count, seed=0, size_hw=(37, 53), blocks=True):
    """Random boxes (or single pixels) and probabilities."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, *size_hw), bool)
    for mask in masks:
        y, x = rng.integers(0, size_hw[0]), rng.integers(0, size_hw[1])
        height, width = rng.integers(0, 20, 2) if blocks else (1, 1)
        mask[y : y + height, x : x + width] = rng.random((len(mask[y : y + height]), 1)) < 0.8
    probs = rng.dirichlet(np.ones(5), count).astype(np.float32).reshape(count, 5)
    return masks, probs, box_slices(mask_boxes(torch.from_numpy(masks))[0].tolist())


@pytest.mark.parametrize("count", [0, 1, 2, 12, 254, 255, 400])
def test_labels_are_those_of_the_plain_map(count):
    masks, probs, boxes = scene(count, seed=count)
    chosen = [i for i in range(count) if i % 3]
    ids = np.array([7, 3, 0, 254, 9], np.uint8)
    painted = paint_labels(masks, probs, ids, boxes, chosen)
    plain, confidence = label_map(
        torch.from_numpy(masks[chosen]), torch.from_numpy(probs[chosen]), ids.tolist()
    )
    np.testing.assert_array_equal(painted.labels, plain)
    np.testing.assert_allclose(painted.confidence, confidence, atol=1e-6)
    assert painted.labels.dtype == np.uint8
    assert painted.confidence.dtype == np.float32
    in_bytes = painted.confidence_bytes()
    np.testing.assert_array_equal(in_bytes, confidence_bytes(painted.confidence))
    assert in_bytes.dtype == np.uint8
    wide = paint_labels(masks, probs, np.array([700, 300, 0, 25400, 9], np.int32), boxes, chosen).labels
    np.testing.assert_array_equal(np.where(wide < 0, 255, wide), np.where(plain < 255, wide, 255))
    np.testing.assert_array_equal(wide < 0, plain == 255)
    np.testing.assert_array_equal(wide[plain == 254], 25400)


@pytest.mark.parametrize("count", [0, 1, 2, 12, 254, 255, 400])
def test_instances_are_those_of_the_plain_map(count):
    masks, probs, boxes = scene(count, seed=count)
    priority = probs[:, 0].round(1)  # with ties
    painted = paint_instances(masks, priority, boxes)
    plain = instance_map(torch.from_numpy(masks), torch.from_numpy(priority))
    np.testing.assert_array_equal(painted, plain)
    assert painted.dtype == np.uint16


def test_ties_and_a_mask_without_probability():
    masks = np.array([[[True, True, False]], [[False, True, False]]])
    probs = np.array([[0.25, 0.75], [0.75, 0.25]], np.float32)
    boxes = box_slices(mask_boxes(torch.from_numpy(masks))[0].tolist())
    ids = np.array([5, 6], np.uint8)
    assert paint_labels(masks, probs, ids, boxes, [0, 1]).labels.tolist() == [[6, 5, 255]]
    nothing = paint_labels(masks, 0 * probs, ids, boxes, [0])
    assert nothing.labels.tolist() == [[5, 5, 255]], "a mask covers, whatever its score"
    assert nothing.confidence.tolist() == [[0.0, 0.0, 0.0]]


def test_no_label_paints_nothing():
    masks, probs, boxes = scene(3)
    painted = paint_labels(masks, probs[:, :0], np.zeros(0, np.uint8), boxes, [0, 1, 2])
    assert (painted.labels == 255).all()
    assert (painted.confidence == 0).all()
    assert (painted.confidence_bytes() == 0).all()


def test_overlap_is_decided_in_parts_too(monkeypatch):
    monkeypatch.setattr("ovseg_ros.core.maps.paint._CHUNK_ELEMENTS", 40)
    test_labels_are_those_of_the_plain_map(12)


def test_confidence_in_bytes():
    values = np.array([[-0.5, 0.0, 0.25, 0.5, 0.999, 1.0, 1.5]], np.float32)
    np.testing.assert_array_equal(confidence_bytes(values), [[0, 0, 64, 128, 255, 255, 255]])
    assert confidence_bytes(np.zeros((0, 4), np.float32)).shape == (0, 4)
