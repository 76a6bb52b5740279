"""Maps over the image against loops over pixels and sums over all masks."""

import map_oracles
import numpy as np
import pytest
import torch

from ovseg_ros.core.maps import compose
from ovseg_ros.core.maps.compose import (
    instance_map,
    label_map,
    select_by_granularity,
    semantic_map,
    soft_label_map,
)
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.crop import mask_boxes
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError


@pytest.fixture
def scene():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 9, 11, generator=generator) > 0.75
    probs = torch.rand(6, 4, generator=generator).softmax(dim=1)
    return masks, probs


def test_semantic_map_against_a_loop(scene):
    _, probs = scene
    soft = torch.rand(6, 9, 11)
    result = semantic_map(soft, probs)
    for k in range(4):
        for y in range(9):
            for x in range(11):
                expected = sum(float(soft[n, y, x] * probs[n, k]) for n in range(6))
                assert float(result[k, y, x]) == pytest.approx(expected, abs=1e-5)
    assert semantic_map(soft[:0], probs[:0]).shape == (4, 9, 11)
    assert float(semantic_map(soft[:0], probs[:0]).sum()) == 0


def test_instance_map_against_a_loop(scene):
    masks, _ = scene
    scores = torch.tensor([0.3, 0.9, 0.9, 0.1, 0.5, 0.3])
    result = instance_map(masks, scores)
    assert result.dtype == torch.int32
    for y in range(9):
        for x in range(11):
            over = [n for n in range(6) if masks[n, y, x]]
            best = max(over, key=lambda n: (float(scores[n]), -n), default=-1)
            assert int(result[y, x]) == best + 1
    assert instance_map(masks[:0], scores[:0]).unique().tolist() == [0]


@pytest.mark.parametrize("chunk", [300, 1 << 23])
@pytest.mark.parametrize(("count", "labels"), [(0, 3), (1, 1), (2, 0), (9, 300)])
def test_soft_labels_are_the_argmax_over_the_sums(count, labels, chunk, monkeypatch):
    monkeypatch.setattr(compose, "_CHUNK_ELEMENTS", chunk)
    generator = torch.Generator().manual_seed(0)
    weights = torch.rand(count, 20, 31, generator=generator)
    weights[:, :2] = 0
    probs = torch.rand(count, labels, generator=generator)
    found = soft_label_map(weights, probs, np.arange(labels, dtype=np.int32))
    wanted, confidence = map_oracles.label_map(weights, probs, list(range(labels)), none=-1)
    assert (found.labels.dtype, found.confidence.dtype) == (np.int32, np.float32)
    np.testing.assert_array_equal(found.labels, wanted)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-6)
    assert found.confidence_bytes().dtype == np.uint8


def test_soft_labels_in_bytes():
    weights, probs = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[0.5, 0.5]])
    found = soft_label_map(weights, probs, np.array([7, 3], np.uint8))
    assert found.labels.tolist() == [[7, 255]], "the first on ties, 255 without a mask"
    assert found.confidence_bytes().tolist() == [[128, 0]]


@pytest.mark.parametrize("semantic", ["binary", "soft"])
@pytest.mark.parametrize("is_soft", [True, False])
@pytest.mark.parametrize("granularity", [0.0, 0.9])
def test_which_masks_take_part(semantic, is_soft, granularity):
    generator = torch.Generator().manual_seed(1)
    soft = SoftMasks(4 * torch.randn(6, 5, 6, generator=generator), (20, 24), (20, 24))
    weights = soft.probabilities((20, 24))
    masks = weights > 0.5
    probs = torch.rand(6, 4, generator=generator)
    index = torch.tensor([0, -1, 2, 3, -1, 1])
    ids = np.array([9, 4, 0, 254], np.uint8)
    options = SegmenterOptions(semantic=semantic, granularity=granularity)
    boxes = mask_boxes(masks)[0]
    found = label_map(masks, soft if is_soft else None, boxes, probs, index, ids, options)
    kept = select_by_granularity(probs, granularity)
    assert kept.all() == (granularity == 0)
    if semantic == "binary":
        kept = kept & (index >= 0)
    given = weights if is_soft and semantic == "soft" else masks
    wanted, confidence = map_oracles.label_map(given[kept], probs[kept], ids.tolist())
    np.testing.assert_array_equal(found.labels, wanted)
    np.testing.assert_allclose(found.confidence, confidence, atol=1e-6)


@pytest.mark.parametrize(
    ("granularity", "kept"),
    [
        (0.0, [True, True, True, True]),
        (0.5, [True, False, True, True]),  # 0.4 is not above 0.5 * 0.8
        (0.49, [True, True, True, True]),
        (0.8, [True, False, True, False]),
        (1.0, [True, False, True, False]),
    ],
)
def test_granularity(granularity, kept):
    probs = torch.tensor([[0.8, 0.1], [0.4, 0.1], [0.1, 0.5], [0.3, 0.39]])
    assert select_by_granularity(probs, granularity).tolist() == kept


def test_granularity_ties_and_nothing():
    probs = torch.tensor([[0.5, 0.0], [0.5, 0.0]])
    assert select_by_granularity(probs, 1.0).tolist() == [True, False]
    assert select_by_granularity(probs, 0.9).tolist() == [True, True]
    assert select_by_granularity(torch.zeros(2, 1), 0.5).tolist() == [False, False]
    assert select_by_granularity(torch.zeros(0, 3), 1.0).shape == (0,)
    assert select_by_granularity(torch.zeros(3, 0), 0.3).tolist() == [False] * 3


def test_refuses():
    for weights, probs in ((torch.ones(2, 4, 5), torch.ones(3, 2)), (torch.ones(3, 4, 5), torch.ones(3, 1))):
        with pytest.raises(InvalidInputError, match="expected masks"):
            soft_label_map(weights, probs, np.zeros(2, np.uint8))
    for call in (
        lambda: semantic_map(torch.ones(2, 4, 5), torch.ones(3, 2)),
        lambda: instance_map(torch.ones(2, 4, 5, dtype=torch.bool), torch.zeros(3)),
    ):
        with pytest.raises(InvalidInputError, match="expected"):
            call()
    for granularity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="granularity"):
            select_by_granularity(torch.ones(2, 3), granularity)
