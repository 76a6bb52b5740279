"""Calibration on answers whose truth is known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import FixedProposer

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import Calibration, TrustModel
from ovseg_ros.core.words import SpellingMeanings
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.trust.fit import (
    Answers,
    Asked,
    answers,
    calibration_error,
    fit,
    least_threshold,
    log_loss,
    logistic,
    precision_recall,
)
from ovseg_ros.learn.trust.samples import SeenFrame, TrueFrame, look, near_words, questions

WORDS = ("teapot", "mug", "book", "bowl")
RIVALS = ("kettle", "cup", "spoon", "lamp", "chair", "vase")


def row(word, width=32):
    generator = torch.Generator().manual_seed(sum(word.encode()))
    return F.normalize(torch.randn(width, generator=generator), dim=0)


class Encoder:
    size, embedding_dim, logit_scale = 8, 32, 20.0

    def encode_regions(self, pixels, region_masks=None):
        return torch.stack([row("teapot")] * len(pixels))

    def encode_text(self, labels, templates=None):
        return torch.stack([row(label) for label in labels])


@pytest.fixture
def trust():
    reference = F.normalize(torch.randn(50, 32, generator=torch.Generator().manual_seed(0)), dim=1)
    return TrustModel(RIVALS, SpellingMeanings(), reference, Calibration(odds=1.0, past=0.1))


@pytest.fixture
def segmenter(trust):
    options = SegmenterOptions(decision="trust", min_mask_pixels=1)
    masks = torch.zeros(2, 20, 20, dtype=torch.bool)
    masks[0, :10], masks[1, 12:, 12:] = True, True
    return OpenVocabularySegmenter(FixedProposer(masks), Encoder(), options, trust=trust)


def seen_frames(count=12):
    generator = torch.Generator().manual_seed(5)
    frames = []
    for n in range(count):
        shown = (WORDS[n % 4], WORDS[(n + 1) % 4], "nobody knows")
        noise = torch.randn(3, 32, generator=generator) / 10
        rows = F.normalize(torch.stack([row(word) for word in shown]) + noise, dim=1)
        right = (frozenset({shown[0]}), frozenset({shown[1]}), frozenset())
        frames.append(SeenFrame(rows, torch.full((3,), 0.9), right, shown[:2], WORDS))
    return frames


def made_up(bias=-1.0, odds=0.8, past=0.5, mask=0.6, count=40_000):
    generator = torch.Generator().manual_seed(1)
    g = 3 * torch.randn(count, generator=generator, dtype=torch.float64)
    z = 2 * torch.randn(count, generator=generator, dtype=torch.float64)
    masks = torch.tensor([5.0, 10.0, 20.0], dtype=torch.float64).repeat(count)[:count]
    m = torch.randn(count, generator=generator, dtype=torch.float64)
    p = (bias + odds * g + past * z + mask * m - (masks / 10).log()).sigmoid()
    right = torch.rand(count, generator=generator, dtype=torch.float64) < p
    return Answers(g, z, m, masks, right, torch.ones(count, dtype=torch.float64), ("all",) * count)


def test_what_the_answers_were_made_with_is_found():
    found = logistic(made_up())
    assert found.usual_masks == 10
    assert (found.bias, found.odds, found.past, found.mask) == pytest.approx((-1.0, 0.8, 0.5, 0.6), abs=0.05)
    p = made_up().probability(found)
    assert calibration_error(p, made_up().right, made_up().weight) < 0.01


def test_weights_are_never_negative():
    against = made_up(past=-0.5)
    found = logistic(against)
    assert found.past == 0
    assert found.odds > 0.5
    nothing = logistic(made_up(odds=-0.5, past=-0.5, mask=-0.5))
    assert (nothing.odds, nothing.past, nothing.mask) == (0, 0, 0)


def test_thresholds_by_hand():
    p = torch.tensor([0.95, 0.85, 0.75, 0.65, 0.55], dtype=torch.float64)
    right = torch.tensor([True, True, False, True, False])
    weight = torch.ones(5, dtype=torch.float64)
    assert precision_recall(p, right, weight, 0.7) == pytest.approx((2 / 3, 2 / 3))
    assert precision_recall(p, right, weight, 0.99) == (None, 0.0)
    assert least_threshold(p, right, weight, 1.0) == 0.76
    assert least_threshold(p, right, weight, 0.6) == 0.01
    assert least_threshold(p, ~right & False, weight, 0.5) is None
    assert calibration_error(p, right, weight) == pytest.approx((0.05 + 0.15 + 0.75 + 0.35 + 0.55) / 5)
    assert log_loss(torch.tensor([0.5, 0.5]), torch.tensor([True, False]), torch.ones(2)) == pytest.approx(
        0.6931, abs=1e-4
    )


def test_a_frame_is_asked_all_kinds_of_questions(trust):
    rng = np.random.default_rng(0)
    seen = seen_frames(1)[0]
    near = near_words(
        WORDS, trust, torch.stack([row(w) for w in WORDS]), torch.stack([row(w) for w in RIVALS])
    )
    assert set(near) == set(RIVALS)
    asked = questions(seen, trust, near, rng)
    assert {one.kind for one in asked} == {"all", "two", "even", "alone", "absent"}
    even = next(one.words for one in asked if one.kind == "even")
    assert len(set(even) & set(seen.present)) == len(set(even) - set(seen.present)) == 2
    assert all(one.words[0] in RIVALS for one in asked if one.kind == "absent")


def test_a_fit_believes_what_is_right(segmenter, trust):
    calibration, asked = fit([Asked(segmenter, trust, seen_frames())])
    p = asked.probability(calibration)
    assert float(p[asked.right].min()) > float(p[~asked.right].max()), (
        "words have directions of their own here"
    )
    judged = dataclasses.replace(trust, calibration=calibration)
    prepared = judged.prepare(("teapot",), Encoder().encode_text)
    rows = torch.stack([row("teapot"), row("lamp")])
    probs = judged.judge(rows, torch.ones(2, dtype=torch.bool), prepared, 20.0).probs
    assert probs[0, 0] > 0.7 > 0.3 > probs[1, 0]


def test_nothing_to_fit_is_refused(segmenter, trust):
    with pytest.raises(InvalidInputError, match="got none"):
        answers([Asked(segmenter, trust, [])])
    empty = SeenFrame(torch.zeros(0, 32), torch.zeros(0), (), ("mug",), WORDS)
    with pytest.raises(InvalidInputError, match="got none"):
        answers([Asked(segmenter, trust, [empty])])


def test_what_is_seen_is_what_the_masks_fit(segmenter):
    truth = np.zeros((2, 20, 20), bool)
    truth[0, :9], truth[1, 12:, :8] = True, True
    frame = Frame(np.zeros((20, 20, 3), np.uint8))
    names = (frozenset({"teapot", "kettle"}), frozenset({"mug"}))
    (seen,) = look(segmenter, [TrueFrame(frame, truth, names, WORDS)])
    assert seen.right == (names[0], frozenset())
    assert seen.present == ("teapot", "mug")
    (bare,) = look(segmenter, [TrueFrame(frame, truth[:0], (), WORDS)])
    assert bare.right == (frozenset(), frozenset())


def test_a_fit_is_for_the_prior_it_was_asked_under(segmenter, trust):
    """g depends on it where a sigmoid's bias is known, and the other numbers on g."""
    sigmoid = dataclasses.replace(
        trust, logit_bias=-12.0, calibration=dataclasses.replace(trust.calibration, prior=1.5)
    )
    calibration, asked = fit([Asked(segmenter, sigmoid, seen_frames())])
    assert calibration.prior == 1.5
    without, others = fit([Asked(segmenter, trust, seen_frames())])
    assert without.prior == 0.0
    assert not torch.allclose(asked.odds, others.odds)
