"""Maps over the image against loops over pixels."""

import pytest
import torch

from ovseg_ros.core import compose
from ovseg_ros.core.compose import instance_map, label_map, select_by_granularity, semantic_map
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


@pytest.mark.parametrize("chunk", [4, 1 << 23])
def test_label_map_against_a_loop(scene, chunk, monkeypatch):
    monkeypatch.setattr(compose, "_CHUNK_ELEMENTS", chunk)
    masks, probs = scene
    ids = [7, 0, 254, 3]
    labels, confidence = label_map(masks, probs, ids)
    assert (labels.dtype, confidence.dtype) == (torch.uint8, torch.float32)
    for y in range(9):
        for x in range(11):
            over = [n for n in range(6) if masks[n, y, x]]
            sums = [sum(float(probs[n, k]) for n in over) for k in range(4)]
            best = max(range(4), key=lambda k: sums[k])
            assert int(labels[y, x]) == (ids[best] if over else 255)
            expected = sums[best] / len(over) if over else 0.0
            assert float(confidence[y, x]) == pytest.approx(expected, abs=1e-5)
    assert (masks.sum(dim=0) > 1).any(), "the scene has overlaps"


def test_label_map_of_nothing(scene):
    masks, probs = scene
    for labels, confidence in (label_map(masks[:0], probs[:0], range(4)), label_map(masks, probs[:, :0], [])):
        assert labels.unique().tolist() == [255]
        assert confidence.unique().tolist() == [0.0]


def test_label_map_one_mask_one_label_and_zero_probability():
    mask = torch.tensor([[[True, False]]])
    labels, confidence = label_map(mask, torch.zeros(1, 1), [0])
    assert labels.tolist() == [[0, 255]], "a mask covers, whatever its score"
    assert confidence.tolist() == [[0.0, 0.0]]


def test_first_label_wins_ties():
    masks = torch.ones(2, 1, 1, dtype=torch.bool)
    assert label_map(masks, torch.tensor([[0.25, 0.75], [0.75, 0.25]]), [5, 6]).labels.item() == 5
    assert label_map(masks[:1], torch.tensor([[0.5, 0.5]]), [5, 6]).labels.item() == 5


def test_more_masks_than_a_byte_counts():
    masks = torch.ones(256, 1, 2, dtype=torch.bool)
    labels, confidence = label_map(masks, torch.full((256, 1), 0.5), [3])
    assert labels.tolist() == [[3, 3]]
    assert confidence.tolist() == [[0.5, 0.5]]


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


def test_refuses(scene):
    masks, probs = scene
    for call in (
        lambda: semantic_map(masks[:2], probs),
        lambda: label_map(masks[:2], probs, range(4)),
        lambda: label_map(masks.float(), probs, range(4)),
        lambda: label_map(masks, probs, range(3)),
        lambda: instance_map(masks, torch.zeros(5)),
    ):
        with pytest.raises(InvalidInputError, match="want"):
            call()
    for granularity in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="granularity"):
            select_by_granularity(probs, granularity)
