"""Probabilities, ensemble, thresholds and background words, on hand-worked arrays and naive loops."""

import math

import pytest
import torch
import torch.nn.functional as F

from ovseg_ros.core.classify import assign_labels, ensemble, mask_probabilities, select_background
from ovseg_ros.errors import ConfigError, InvalidInputError


def unit_rows(count, dim=6, seed=0):
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("regions", [0, 1, 5])
@pytest.mark.parametrize("labels", [1, 4])
@pytest.mark.parametrize("background", [None, 0, 3])
def test_probabilities_against_a_loop(regions, labels, background):
    region, text = unit_rows(regions, seed=1), unit_rows(labels, seed=2)
    extra = None if background is None else unit_rows(background, seed=3)
    probs = mask_probabilities(region, text, logit_scale=7.0, non_object=extra)
    assert probs.shape == (regions, labels)
    rows = [*text, *(extra if extra is not None else [])]
    for n in range(regions):
        weights = [math.exp(7.0 * float(region[n] @ row)) for row in rows]
        for k in range(labels):
            assert float(probs[n, k]) == pytest.approx(weights[k] / sum(weights), abs=1e-5)
    if background:
        assert (probs.sum(dim=1) < 1).all()
    else:
        torch.testing.assert_close(probs.sum(dim=1), torch.ones(regions))


def test_default_scale_and_no_labels():
    region = torch.eye(2)
    assert float(mask_probabilities(region, region)[0, 0]) == pytest.approx(1.0)
    tilted = torch.tensor([[1.0, 0.0], [math.cos(0.1), math.sin(0.1)]])
    expected = 1 / (1 + math.exp(-100 * (1 - math.cos(0.1))))
    assert float(mask_probabilities(tilted[:1], tilted)[0, 0]) == pytest.approx(expected, abs=1e-5)
    assert mask_probabilities(region, torch.zeros(0, 2), non_object=region).shape == (2, 0)
    assert mask_probabilities(torch.zeros(3, 2), torch.zeros(0, 0)).shape == (3, 0)
    with pytest.raises(InvalidInputError, match="expected"):
        mask_probabilities(region, torch.eye(3))


@pytest.mark.parametrize("lam", [0.0, 0.45, 0.7, 1.0])
def test_ensemble_against_a_loop(lam):
    p_mf, p_clip = unit_rows(4, 3).abs(), unit_rows(4, 3, seed=1).abs()
    p_clip[2] = float("nan")  # CLIP never saw this mask
    valid = torch.tensor([True, True, False, True])
    result = ensemble(p_mf, p_clip, lam, valid)
    for n in range(4):
        for k in range(3):
            clip = float(p_clip[n, k]) if valid[n] else 1.0
            assert float(result[n, k]) == pytest.approx(float(p_mf[n, k]) ** (1 - lam) * clip**lam, abs=1e-6)
    assert ensemble(p_mf[:0], p_clip[:0], lam, valid[:0]).shape == (0, 3)


def test_ensemble_refuses():
    p = torch.ones(2, 3)
    for lam in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="expected"):
            ensemble(p, p, lam, torch.ones(2, dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="expected"):
        ensemble(p, p[:1], 0.5, torch.ones(2, dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="expected"):
        ensemble(p, p, 0.5, torch.ones(3, dtype=torch.bool))


def test_labels_need_their_own_threshold():
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.4, 0.5, 0.1], [0.2, 0.3, 0.5], [0.1, 0.2, 0.3]])
    index, score = assign_labels(probs, torch.tensor([0.7, 0.6, 0.3]))
    assert index.tolist() == [0, -1, 2, 2]  # the second is most like label 1, and not passed on to label 0
    torch.testing.assert_close(score, torch.tensor([0.7, 0.5, 0.5, 0.3]))


def test_first_label_wins_ties():
    index, _ = assign_labels(torch.full((4, 50), 0.02), torch.zeros(50))
    assert index.tolist() == [0, 0, 0, 0]
    index, _ = assign_labels(torch.tensor([[0.2, 0.4, 0.4]]), torch.zeros(3))
    assert index.tolist() == [1]


@pytest.mark.parametrize(("masks", "labels"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_assign(masks, labels):
    index, score = assign_labels(torch.zeros(masks, labels), torch.zeros(labels))
    assert index.dtype == torch.int64
    assert index.tolist() == [-1] * masks
    assert score.tolist() == [0.0] * masks


def test_assign_refuses_other_thresholds():
    with pytest.raises(InvalidInputError, match="expected thresholds"):
        assign_labels(torch.zeros(2, 3), torch.zeros(2))


def test_background_steps_aside_for_its_like():
    text = torch.eye(3)[:2]
    background = F.normalize(torch.tensor([[1.0, 0.0, 0.1], [0.0, 0.6, 0.8], [0.0, 0.0, 1.0]]), dim=1)
    assert select_background(text, background, 0.9).tolist() == [False, True, True]
    assert select_background(text, background, 0.5).tolist() == [False, False, True]
    assert select_background(text[:0], background, 0.5).tolist() == [True, True, True]
    assert select_background(text, background[:0], 0.5).tolist() == []
    assert select_background(text, text, 1.0).tolist() == [False, False], "the very same word always goes"
