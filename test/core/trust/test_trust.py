"""The rule of absence against its formulas in float64 loops, and on hand-worked numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import (
    Calibration,
    TrustModel,
    best_competitors,
    competition,
    log_odds,
    past_of,
    runners_up,
)
from ovseg_ros.core.words import SpellingMeanings
from ovseg_ros.errors import ConfigError, InvalidInputError

RIVALS = ("cup", "kettle", "pot", "vase", "mug", "spoon")
CALIBRATION = Calibration(bias=-0.4, odds=0.7, past=0.3, mask=0.4, hub=0.5, usual_masks=6.0)
SCALE = 12.0


def rows(words, width=16):
    """A unit row per word, the same for the same word."""
    made = [torch.randn(width, generator=torch.Generator().manual_seed(sum(word.encode()))) for word in words]
    return F.normalize(torch.stack(made), dim=1) if made else torch.zeros(0, width)


def masks_near(*words, noise=0.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(rows(words) + noise * torch.randn(len(words), 16, generator=generator) / 4, dim=1)


@pytest.fixture
def reference():
    return F.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(3)), dim=1)


@pytest.fixture
def trust(reference):
    return TrustModel(RIVALS, SpellingMeanings(), reference, CALIBRATION)


def oracle(embeddings, seen, labels, background, trust, mask_scores):
    """docs/modes.md's formulas, one mask and one word at a time, in float64."""
    meanings, calibration = trust.meanings, trust.calibration
    rivals = list(dict.fromkeys((*background, *trust.rivals)))
    words = [*labels, *rivals]
    e, t = embeddings.double().numpy(), rows(words).double().numpy()
    mean, deviation = np.zeros(len(words)), np.ones(len(words))
    if trust.reference is not None:
        scores = trust.reference.double().numpy() @ t.T
        mean, deviation = scores.mean(axis=0), scores.std(axis=0)
        deviation = np.maximum(deviation, 0.1 * np.sort(deviation)[(len(deviation) - 1) // 2])
    masks = max(int(seen.sum()), 1)
    probs, second = [], []
    for i in range(len(e)):
        cosine = [float(e[i] @ row) for row in t]
        fit = [SCALE * (c - calibration.hub * m) for c, m in zip(cosine, mean, strict=True)]

        def against(w):
            who = [c for c in range(len(words)) if c != w]
            if w < len(labels):
                who = [c for c in who if not meanings.same(words[w], words[c])]
            return who

        def probability(w, i=i, fit=fit, cosine=cosine):
            others = sum(math.exp(fit[c]) for c in against(w))
            if trust.logit_bias is not None:  # that no word fits
                others += math.exp(-(trust.logit_bias + calibration.prior))
            g = fit[w] - math.log(others)
            z = (cosine[w] - mean[w]) / deviation[w] if trust.reference is not None else 0.0
            logit = calibration.bias + calibration.odds * g + calibration.past * z
            sure = min(max(float(mask_scores[i]), 0.02), 0.98)
            logit += calibration.mask * math.log(sure / (1 - sure))
            logit -= math.log(masks / calibration.usual_masks)
            return float(seen[i]) / (1 + math.exp(-min(max(logit, -80), 80)))

        row = []
        for k in range(len(labels)):
            p, c = probability(k), max(against(k), key=lambda c: fit[c])
            if fit[c] > fit[k]:
                p *= min(max(1 - probability(c), 0.01), 0.5)
            row.append(p)
        left = 1.0
        for k in sorted(range(len(labels)), key=lambda k: -row[k]):
            row[k], left = min(row[k], max(left, 0.0)), left - row[k]
        best = max(range(len(labels)), key=lambda k: row[k])
        c = max(against(best), key=lambda c: fit[c])
        probs.append(row)
        second.append((words[c] if seen[i] else "", probability(c)))
    return np.array(probs), second


@pytest.mark.parametrize("logit_bias", [None, -9.0])
@pytest.mark.parametrize("with_reference", [True, False])
@pytest.mark.parametrize(
    "labels", [("teapot",), ("mug", "red mug", "book"), ("teapot", "vase", "fork", "cups")]
)
def test_the_rule_is_its_formulas(trust, labels, with_reference, logit_bias):
    if not with_reference:
        trust = TrustModel(RIVALS, SpellingMeanings(), None, CALIBRATION)
    trust = dataclasses.replace(
        trust, logit_bias=logit_bias, calibration=dataclasses.replace(CALIBRATION, prior=1.5)
    )
    embeddings = masks_near("teapot", "vase", "mug", "red mug", "wall", "fork", noise=0.8)
    seen = torch.tensor([True, True, True, True, False, True])
    prepared = trust.prepare(labels, rows, background=("wall", "cup"))
    mask_scores = torch.tensor([0.9, 0.5, 0.3, 0.0, 0.7, 1.0])
    judged = trust.judge(embeddings, seen, prepared, SCALE, mask_scores)
    want, second = oracle(embeddings, seen, labels, ("wall", "cup"), trust, mask_scores)
    np.testing.assert_allclose(judged.probs.numpy(), want, rtol=1e-4, atol=1e-7)
    found = runners_up(judged, prepared.words, judged.probs)
    assert found.names == tuple(name for name, _ in second)
    np.testing.assert_allclose(found.scores.numpy(), [p for _, p in second], rtol=1e-4, atol=1e-7)
    assert judged.probs.sum(dim=1).max() <= 1 + 1e-6


def test_a_sigmoids_odds_and_rivals_make_the_chance_that_a_word_alone_fits():
    """By counting: each word fits or not by itself; of the cases with one at most, how many has w?"""
    bias, logits = -4.0, [1.5, 0.7, -2.0, -0.3]  # what the sigmoids say of four words on one mask
    fit = torch.tensor([[logit - bias for logit in logits]])
    g = log_odds(fit, torch.tensor([[False, True, True, True]]), nothing=-bias)[0].tolist()
    chances = [1 / (1 + math.exp(-logit)) for logit in logits]
    cases: dict[int, float] = {}
    for fits in itertools.product((False, True), repeat=4):
        if sum(fits) <= 1:
            chance = math.prod(p if one else 1 - p for p, one in zip(chances, fits, strict=True))
            cases[fits.index(True) if any(fits) else -1] = chance
    for word in range(4):
        assert 1 / (1 + math.exp(-g[word])) == pytest.approx(cases[word] / sum(cases.values()), rel=1e-5)


def test_what_a_sigmoid_finds_improbable_is_not_found_by_being_the_best_of_all():
    """A softmax calls a wall a cup where nothing else is nearer; that no word fits is an answer here."""
    fits = torch.tensor([[6.0, 1.0, 1.0]])
    alone = torch.tensor([[False, True, True]])
    assert log_odds(fits, alone)[0, 0] > 4
    assert log_odds(fits, alone, nothing=9.0)[0, 0] == pytest.approx(6.0 - 9.0, abs=0.01)
    assert log_odds(fits, torch.zeros(1, 3, dtype=torch.bool), nothing=9.0)[0, 0] == -3.0, "no rival at all"
    assert log_odds(torch.zeros(2, 0), torch.zeros(0, 0, dtype=torch.bool), nothing=1.0).shape == (2, 0)


@pytest.mark.parametrize("with_reference", [True, False])
def test_a_rival_that_is_asked_for_fits_exactly_as_well_in_both_places(trust, with_reference):
    """Else which of the two comes first, and how much it leaves for others, is a processor's rounding."""
    if not with_reference:
        trust = TrustModel(RIVALS, SpellingMeanings(), None, CALIBRATION)
    prepared = trust.prepare(("book", "Mug", "spoon"), lambda words: rows([w.lower() for w in words]))
    embeddings = masks_near(*("teapot", "mug", "book") * 7)
    judged = trust.judge(embeddings, torch.ones(21, dtype=torch.bool), prepared, SCALE)
    for word, place in (("Mug", 1), ("spoon", 2)):
        other = prepared.words.words.index(word.lower(), 3)
        assert torch.equal(judged.fit[:, place], judged.fit[:, other])


def test_a_word_that_is_not_the_best_is_never_surer_than_a_half(trust):
    sure = TrustModel(RIVALS, SpellingMeanings(), None, Calibration(bias=20.0, odds=0.0))
    embeddings = masks_near("kettle", "teapot", noise=0.0)
    prepared = sure.prepare(("teapot",), rows)
    judged = sure.judge(embeddings, torch.ones(2, dtype=torch.bool), prepared, SCALE)
    assert judged.probs[0, 0] == pytest.approx(0.01), "kettle is sure, so that little is left for teapot"
    assert judged.probs[1, 0] > 0.99
    assert runners_up(judged, prepared.words, judged.probs).names[0] == "kettle"


def test_a_label_that_lost_its_colour_is_no_runner_up_to_itself(trust):
    """Once a colour was denied the other label is the answer; it does not come second as well."""
    labels = ("red mug", "white mug")
    prepared = trust.prepare(labels, rows)
    seen = torch.ones(1, dtype=torch.bool)
    judged = trust.judge(masks_near("red mug", noise=0.1), seen, prepared, SCALE)
    assert int(judged.probs.argmax()) == 0
    denied = judged.probs * torch.tensor([[0.0, 1.0]])
    assert runners_up(judged, prepared.words, denied).names[0] not in labels
    weaker = denied + torch.tensor([[float(judged.probs[0, 1]) / 2, 0.0]])
    assert runners_up(judged, prepared.words, weaker).names[0] != "white mug"


def test_log_odds_where_a_word_that_steps_aside_stands_far_above_all():
    """float32 ends at exp(-103), float64 at exp(-745): what competes must not vanish beside it."""
    fit = torch.tensor([[0.0, 120.0, 5.0], [0.0, 2000.0, 5.0]])
    competes = torch.tensor([[False, False, True]])
    assert log_odds(fit, competes)[:, 0].tolist() == pytest.approx([-5.0, -5.0])
    assert log_odds(fit[:, :1], competes[:, :1])[:, 0].tolist() == [math.inf, math.inf], "nothing competes"
    one = Calibration(odds=0.0, usual_masks=30.0)
    assert one.probability(torch.tensor([math.inf]), torch.zeros(1), 30).tolist() == [0.5]


def test_more_masks_need_better_evidence():
    one = Calibration(odds=1.0, usual_masks=10.0)
    g, z = torch.tensor([0.0, 3.0]), torch.zeros(2)
    few, many = one.probability(g, z, 5), one.probability(g, z, 20)
    assert few.tolist() == pytest.approx([2 / 3, 1 / (1 + math.exp(-3 - math.log(2)))])
    assert many.tolist() == pytest.approx([1 / 3, 1 / (1 + math.exp(-3 + math.log(2)))])


def test_words_that_mean_the_same_step_aside():
    words = competition(("red mug", "white mug", "bowl"), ("mug", "Mug", "cup"), SpellingMeanings())
    assert words.rivals == ("mug", "cup")
    assert words.words == ("red mug", "white mug", "bowl", "mug", "cup")
    assert words.competes.tolist() == [
        [False, True, True, False, True],
        [True, False, True, False, True],
        [True, True, False, True, True],
    ]


def test_log_odds_lose_nothing_beside_a_giant():
    fit = torch.tensor([[80.0, 0.0, -3.0, 79.0]])
    competes = torch.tensor([[False, True, True, False], [False, False, True, False]])
    g = log_odds(fit, competes)
    assert g[0, 1] == pytest.approx(3.0, rel=1e-5)
    assert g[0, 0] == pytest.approx(80.0 - math.log(1 + math.exp(-3)), rel=1e-5)
    assert log_odds(torch.zeros(2, 0), torch.zeros(0, 0, dtype=torch.bool)).shape == (2, 0)
    assert log_odds(torch.zeros(1, 1), torch.tensor([[False]])).item() == math.inf


def test_best_competitors():
    fit = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 5.0]])
    competes = torch.tensor([[False, True, True], [False, False, False]])
    place, best = best_competitors(fit, competes, torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1]))
    assert place.tolist() == [2, 1, -1]
    assert best.tolist() == [2.0, 5.0, -math.inf]
    none = best_competitors(
        fit, competes, torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    )
    assert [len(part) for part in none] == [0, 0]


def test_a_hub_loses_its_advantage():
    """One word lies near every mask, and says nothing by being near this one."""
    axes = torch.eye(3)
    hub, word = F.normalize(torch.tensor([1.0, 1.0, 0.0]), dim=0), axes[1]
    reference = torch.stack([axes[0], axes[0], F.normalize(torch.tensor([1.0, 0.2, 0.0]), dim=0)])
    text = {"hub": hub, "thing": word, "other": axes[2]}
    encode = lambda words: torch.stack([text[w] for w in words])  # noqa: E731
    mask = F.normalize(torch.tensor([[0.5, 1.0, 0.0]]), dim=1)
    there = torch.ones(1, dtype=torch.bool)
    found = {}
    for part in (0.0, 1.0):
        trust = TrustModel(("hub", "other"), SpellingMeanings(), reference, Calibration(odds=1.0, hub=part))
        judged = trust.judge(mask, there, trust.prepare(("thing",), encode), 10.0)
        found[part] = float(judged.probs[0, 0])
    assert found[0.0] < 0.5 < found[1.0]


@pytest.mark.parametrize("count", [0, 1])
def test_few_masks_and_no_words(trust, count):
    embeddings = masks_near("teapot")[:count]
    seen = torch.ones(count, dtype=torch.bool)
    for labels in ((), ("teapot",)):
        judged = trust.judge(embeddings, seen, trust.prepare(labels, rows), SCALE)
        assert judged.probs.shape == (count, len(labels))
        assert len(runners_up(judged, trust.prepare(labels, rows).words, judged.probs)) == count


def test_vocabularies_are_prepared_once(trust):
    asked = []

    def encode(words):
        asked.append(words)
        return rows(words)

    one = trust.prepare(("teapot",), encode, background=("wall",))
    assert trust.prepare(("teapot",), encode, background=("wall",)) is one
    assert len(asked) == 1
    trust.prepare(("teapot",), encode, background=("wall",), key="other templates")
    trust.prepare(("teapot",), encode, rivals=("sofa",))
    assert asked[-1] == ("teapot", "sofa")
    for number in range(40):
        trust.prepare((f"word {number}",), encode)
    assert trust.prepare(("teapot",), encode, background=("wall",)) is not one


def test_past_of_refuses_another_encoders():
    with pytest.raises(InvalidInputError, match="another encoder"):
        past_of(torch.zeros(2, 3), torch.zeros(5, 4))
    with pytest.raises(InvalidInputError, match="at least two"):
        past_of(torch.zeros(2, 3), torch.zeros(1, 3))
    assert past_of(torch.ones(1, 2), torch.ones(4, 2)).deviation.item() == pytest.approx(1e-6)
    words = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.001]])
    rows = torch.tensor([[1.0, 0.2], [0.0, 0.6]])
    assert past_of(words, rows).deviation.tolist() == pytest.approx([0.5, 0.2, 0.02]), "a tenth of the median"


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"bias": math.nan}, "bias"),
        ({"odds": -0.1}, "at least 0"),
        ({"past": -1.0}, "at least 0"),
        ({"mask": -1.0}, "at least 0"),
        ({"hub": 1.5}, "hub"),
        ({"usual_masks": 0.0}, "usual_masks"),
    ],
)
def test_calibrations_that_cannot_be(numbers, said):
    with pytest.raises(ConfigError, match=said):
        Calibration(**numbers)


def test_models_that_cannot_be():
    for rivals in ((), "cup"):
        with pytest.raises(ConfigError, match="compete"):
            TrustModel(rivals, SpellingMeanings())
    with pytest.raises(ConfigError, match="two masks"):
        TrustModel(("cup",), SpellingMeanings(), torch.zeros(1, 4))


class Swapped(ColourEncoder):
    """Reads "red" where green is written, and the other way round."""

    def __init__(self):
        super().__init__()
        self.words = {"red": 1, "green": 0}


def test_a_rebuilt_chain_keeps_the_rule_but_not_the_rows_of_another_encoder():
    image = np.full((20, 40, 3), 20, np.uint8)
    masks = torch.zeros(2, 20, 40, dtype=torch.bool)
    for i in range(2):  # a red half and a green one
        image[:, 20 * i : 20 * i + 20, i] = 230
        masks[i, :, 20 * i : 20 * i + 20] = True
    reference = F.normalize(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    calibration = Calibration(odds=1.0, past=0.1, usual_masks=2.0)
    trust = TrustModel(("teapot", "lamp"), SpellingMeanings(), reference, calibration)
    options = SegmenterOptions(decision="trust", min_mask_pixels=1)
    first = OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), options, trust=trust)

    def names(segmenter):
        result = segmenter.segment(Frame(image), words("red", "green"))
        return [result.name_of(i) for i in range(2)]

    assert names(first) == ["red", "green"], "and its rows are remembered"
    other = first.rebuilt(clip=Swapped())
    assert names(other) == ["green", "red"]
    assert names(first) == ["red", "green"], "what the other remembers is its own"
    assert other.trust.calibration == calibration
    assert other.trust.meanings is trust.meanings
    assert other.trust.reference is reference
    assert other.trust.rivals == trust.rivals
    assert other.options is options
    assert OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder()).rebuilt().trust is None
