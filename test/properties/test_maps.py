"""Masks, crops and label maps of any number and size, down to none and one pixel, against naive loops."""

from __future__ import annotations

import numpy as np
import torch
from hostile import seeds
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.maps import boxed_masks, label_map, mask_iou, paint_instances, shared_pixels
from ovseg_ros.core.options import FILLS, SegmenterOptions
from ovseg_ros.core.regions import crop_regions, mask_boxes
from ovseg_ros.errors import OvsegError

shapes = st.tuples(st.integers(0, 6), st.integers(1, 7), st.integers(1, 7))  # N, H, W


def masks_of(shape: tuple[int, int, int], seed: int) -> tuple[np.random.Generator, np.ndarray]:
    """Masks of every density, empty and full ones and copies of each other among them."""
    rng = np.random.default_rng(seed)
    masks = rng.random(shape) < rng.choice([0.0, 0.2, 0.5, 1.0], (shape[0], 1, 1))
    for i in range(1, shape[0]):
        if rng.random() < 0.2:
            masks[i] = masks[i - 1]
    return rng, masks


def slices_of(masks: np.ndarray) -> list[tuple[slice, slice]]:
    boxes = []
    for mask in masks:
        rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
        whole = (0, 0, 0, 0) if not len(rows) else (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
        boxes.append((slice(*map(int, whole[:2])), slice(*map(int, whole[2:]))))
    return boxes


@cases(120, shapes, seeds)
def test_overlaps_are_counted(shape, seed):
    _, masks = masks_of(shape, seed)
    shared = (masks[:, None] & masks[None]).sum(axis=(2, 3))
    union = (masks[:, None] | masks[None]).sum(axis=(2, 3))
    np.testing.assert_array_equal(shared_pixels(boxed_masks(masks)), shared)
    found = mask_iou(torch.from_numpy(masks), masks)
    np.testing.assert_allclose(found, np.where(union > 0, shared / np.maximum(union, 1), 0))
    boxes = mask_boxes(torch.from_numpy(masks))[0].tolist()
    right = [[c.start, r.start, c.stop, r.stop] for r, c in slices_of(masks)]
    assert boxes == right


@cases(120, shapes, seeds)
def test_instances_are_the_best_mask_of_each_pixel(shape, seed):
    rng, masks = masks_of(shape, seed)
    priority = rng.choice([0.0, 0.25, 0.5], shape[0]).astype(np.float32)
    found = paint_instances(masks, priority, slices_of(masks))
    for y, x in np.ndindex(*shape[1:]):
        covering = [i for i in range(shape[0]) if masks[i, y, x]]
        best = max(covering, key=lambda i: (priority[i], -i), default=-1)
        assert found[y, x] == best + 1


@cases(150, shapes, st.integers(0, 4), seeds)
def test_labels_are_the_highest_sums(shape, labels, seed):
    rng, masks = masks_of(shape, seed)
    probs = (
        rng.integers(0, 5, (shape[0], labels)).astype(np.float32) / 8
    )  # their sums are exact: ties are ties
    label_index = rng.integers(-1, labels, shape[0]) if labels else np.full(shape[0], -1)
    ids = rng.permutation(255)[:labels].astype(np.uint8)
    boxes = torch.tensor([[c.start, r.start, c.stop, r.stop] for r, c in slices_of(masks)]).reshape(-1, 4)
    tensors = torch.from_numpy(masks), None, boxes, torch.from_numpy(probs), torch.from_numpy(label_index)
    found = label_map(*tensors, ids, SegmenterOptions())
    for y, x in np.ndindex(*shape[1:]):
        covering = [i for i in range(shape[0]) if masks[i, y, x] and label_index[i] >= 0]
        if not covering or not labels:
            assert (found.labels[y, x], found.confidence[y, x]) == (255, 0)
            continue
        sums = probs[covering].sum(axis=0)
        assert found.labels[y, x] == ids[sums.argmax()]
        assert abs(found.confidence[y, x] - sums.max() / len(covering)) < 1e-6


@cases(80, shapes, seeds, st.sampled_from(FILLS), st.sampled_from([1.0, 1.5, 30.0]), st.integers(1, 5))
def test_crops_keep_what_is_there(shape, seed, fill, ratio, size):
    rng, masks = masks_of(shape, seed)
    image = torch.from_numpy(rng.integers(0, 256, (3, *shape[1:])).astype(np.float32))
    found = crop_regions(image, torch.from_numpy(masks), size=size, fill=fill, expand_ratio=ratio)
    assert found.pixels.shape == (shape[0], 3, size, size)
    assert found.masks.shape == (shape[0], 1, size, size)
    assert found.keep.tolist() == masks.any(axis=(1, 2)).tolist()
    assert torch.isfinite(found.pixels).all()
    assert set(found.masks.unique().tolist()) <= {0.0, 1.0}


dtypes = st.sampled_from([np.uint8, np.bool_, np.float32, np.float64, np.int16])
any_shape = st.lists(st.integers(0, 4), max_size=4)


@cases(100, any_shape, dtypes, st.one_of(st.none(), any_shape), dtypes)
def test_a_frame_is_one_or_refused(shape, kind, depth_shape, depth_kind):
    depth = None if depth_shape is None else np.zeros(depth_shape, depth_kind)
    found = answered(lambda: Frame(np.zeros(shape, kind), depth))
    if not isinstance(found, OvsegError):
        assert found.image_rgb.shape == (*found.size_hw, 3)
        assert min(found.size_hw) > 0
        assert depth is None or depth.shape == found.size_hw


@cases(50, any_shape, st.sampled_from([torch.bool, torch.uint8, torch.float32]), any_shape)
def test_proposals_are_some_or_refused(shape, kind, scores):
    found = answered(lambda: Proposals(torch.zeros(shape, dtype=kind), torch.zeros(scores)))
    assert isinstance(found, OvsegError) or found.scores.shape == (len(found),)
