"""Which of the cells' masks become proposals."""

import numpy as np
import pytest
import torch

from ovseg_ros.core.frame import Frame, Proposer
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.proposals.colour import ColourMaskNetwork, ColourMasks, ColourMasksOptions
from ovseg_ros.proposals.colour.network import Cells
from ovseg_ros.proposals.colour.proposer import best_masks, network_input, tidied


def ellipses(*things: tuple[float, float, float, float, float]) -> Cells:
    """Cells whose masks are ellipses: score as a logit, centre x, y, half width, half height in pixels."""
    rows = torch.tensor(things, dtype=torch.float32).reshape(-1, 5)
    kernels = torch.zeros(len(rows), 1 + 3)
    kernels[:, -1] = 1.0  # the paraboloid reaches -1 at the box's sides
    return Cells(rows[:, 0], rows[:, 1:], kernels, torch.zeros(1, 32, 40))


def ious(masks: torch.Tensor) -> np.ndarray:
    """(M, M), pair by pair."""
    table = np.zeros((len(masks), len(masks)))
    for i, one in enumerate(masks.numpy()):
        for j, other in enumerate(masks.numpy()):
            table[i, j] = np.count_nonzero(one & other) / np.count_nonzero(one | other)
    return table


def test_the_best_come_first_and_duplicates_go():
    cells = ellipses(
        (1.0, 40, 40, 20, 20), (3.0, 42, 40, 20, 20), (2.0, 110, 60, 24, 40), (0.0, 40, 100, 16, 16)
    )
    logits, scores = best_masks(cells, ColourMasksOptions(max_masks=10, candidates=10))
    assert len(logits) == 3  # the first is the second's duplicate
    assert scores.tolist() == sorted(scores.tolist(), reverse=True)
    table = ious(logits > 0)
    assert table[~np.eye(3, dtype=bool)].max() < 0.7
    middles = [np.argwhere(mask.numpy()).mean(axis=0)[::-1] * 4 + 2 for mask in logits > 0]
    np.testing.assert_allclose(middles, [(42, 40), (110, 60), (40, 100)], atol=1.5)


def test_crumbs_are_left_out_and_a_second_half_is_not():
    logits = np.full((20, 30), -3.0, np.float32)
    logits[2:12, 2:12] = 2.0  # 100 pixels
    logits[2:12, 20:24] = 1.0  # 40: the thing goes on behind something
    logits[16:19, 5:9] = 4.0  # 12
    clean = tidied(logits) > 0
    assert clean[2:12, 2:12].all()
    assert clean[2:12, 20:24].all()
    assert clean.sum() == 140
    for whole in (np.full((4, 4), -1.0, np.float32), np.full((4, 4), 1.0, np.float32)):
        assert np.array_equal(tidied(whole), whole)


def test_small_holes_are_filled_and_large_ones_and_bays_are_not():
    logits = np.full((30, 30), 2.0, np.float32)
    logits[5, 5:9] = -1.0  # 4 of 900 pixels
    logits[10:16, 10:16] = -1.0  # a handle's
    logits[0, 20:23] = -1.0  # open to the edge
    clean = tidied(logits) > 0
    assert clean[5, 5:9].all()
    assert not clean[10:16, 10:16].any()
    assert not clean[0, 20:23].any()


def test_masks_that_are_unlikely_or_empty_are_left_out():
    cells = ellipses((-6.0, 40, 40, 20, 20), (2.0, 1000, 1000, 2, 2), (2.0, 100, 60, 20, 20))
    assert len(best_masks(cells, ColourMasksOptions())[0]) == 1
    assert len(best_masks(cells, ColourMasksOptions(min_score=0.0))[0]) == 2
    assert len(best_masks(cells, ColourMasksOptions(min_score=1.0))[0]) == 0


def test_no_more_than_max_masks():
    cells = ellipses(*((1.0, x, 60, 4, 4) for x in range(8, 150, 10)))
    kept = best_masks(cells, ColourMasksOptions(max_masks=4))[0]
    assert len(kept) == 4


@pytest.fixture(scope="module")
def untrained() -> ColourMasks:
    torch.manual_seed(0)
    options = ColourMasksOptions(min_score=0.0, max_masks=5, candidates=20, short_side=64)
    return ColourMasks(load_classifier(), ColourMaskNetwork(), options)


@pytest.mark.parametrize("size_hw", [(1, 1), (48, 64), (64, 48), (3, 500), (700, 900)])
def test_any_size_gives_masks_of_that_size(untrained, size_hw):
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    proposals = untrained.propose(Frame(image))
    assert isinstance(untrained, Proposer)
    assert proposals.masks.shape[1:] == size_hw
    assert len(proposals) <= 5
    assert proposals.masks.flatten(1).any(dim=1).all()
    assert ((proposals.scores >= 0) & (proposals.scores <= 1)).all()


def test_the_same_frame_gives_the_same_masks(untrained):
    frame = Frame(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8))
    first, second = untrained.propose(frame), untrained.propose(frame)
    assert torch.equal(first.masks, second.masks)
    assert torch.equal(first.scores, second.scores)


def test_an_image_whose_masks_would_fill_the_memory_is_refused(untrained):
    options = ColourMasksOptions(max_masks=5, candidates=20, short_side=64, max_mask_pixels=5 * 100 * 100)
    small = ColourMasks(untrained.backbone, untrained.network, options)
    assert small.propose(Frame(np.zeros((100, 100, 3), np.uint8))).masks.shape[1:] == (100, 100)
    with pytest.raises(InvalidInputError, match="scale it down, or lower max_masks"):
        small.propose(Frame(np.zeros((101, 100, 3), np.uint8)))


@pytest.mark.parametrize(
    ("size_hw", "expected"),
    [((480, 640), (480, 640)), ((640, 480), (640, 480)), ((2160, 4096), (480, 896)), ((1, 9), (224, 1920))],
)
def test_the_networks_input_keeps_the_aspect_in_whole_cells(size_hw, expected):
    pixels = network_input(np.full((*size_hw, 3), 255, np.uint8), 480)
    assert pixels.shape == (1, 3, *expected)
    assert pixels.min() == pixels.max() == 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"short_side": 31}, "short_side >= 32"),
        ({"min_score": -0.1}, "min_score in"),
        ({"max_masks": 0}, "1 <= max_masks"),
        ({"max_masks": 601}, "max_masks <= candidates"),
        ({"duplicate_iou": 0}, "duplicate_iou in"),
        ({"precision": "int8"}, "precision one of"),
        ({"max_mask_pixels": 0}, "max_mask_pixels >= 1"),
    ],
)
def test_options_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        ColourMasksOptions(**values)
