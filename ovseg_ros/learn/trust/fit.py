"""Logistic regression from evidence to the probability of being right, and what a threshold costs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm import tqdm

from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import Calibration, Evidence, TrustModel, mask_log_odds
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.trust.samples import Question, SeenFrame, near_words, questions

HUBS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Parts of a word's mean past that are tried."""

RIDGE = 1e-4
"""Holds weights in, where the data is parted without an error."""

FURTHEST = 50.0
"""Log odds are cut there before the fit: beyond, one answer would outweigh all others."""


@dataclass(frozen=True)
class Answers:
    """The best label of each mask under each question, and whether it was right.

    Attributes:
        odds: (M,) g of it.
        past: (M,) z of it.
        mask: (M,) m, the log odds of its mask's own score.
        masks: (M,) masks in its frame.
        right: (M,) bool.
        weight: (M,), each kind of question has the same in all.
        kind: M kinds of question.
    """

    odds: torch.Tensor
    past: torch.Tensor
    mask: torch.Tensor
    masks: torch.Tensor
    right: torch.Tensor
    weight: torch.Tensor
    kind: tuple[str, ...]

    def probability(self, calibration: Calibration) -> torch.Tensor:
        """(M,) float64, how probable each is to be right."""
        logits = calibration.bias + calibration.odds * self.odds + calibration.past * self.past
        logits = logits + calibration.mask * self.mask
        return (logits - (self.masks / calibration.usual_masks).log()).sigmoid()


@dataclass(frozen=True)
class Asked:
    """Frames, and who answers about them.

    Attributes:
        segmenter: that embedded the frames.
        trust: its rule; rivals, meanings and masks seen before are used, and what is not fitted.
        frames: with their truth.
    """

    segmenter: OpenVocabularySegmenter
    trust: TrustModel
    frames: Sequence[SeenFrame]


def answers(parts: Sequence[Asked], hubs: Sequence[float] = (0.0,), seed: int = 0) -> dict[float, Answers]:
    """Asks every frame its questions; the same ones for the same seed.

    Args:
        parts: frames by who has embedded them; more than one where an encoder was learned on some of the
            frames, and another one, which has not seen them, answers about those.
        hubs: see `Calibration.hub`; each answers for itself.
        seed: of the questions.

    Raises:
        InvalidInputError: no frame has a mask.
    """
    asked = {hub: _Columns() for hub in hubs}
    for part in parts:
        _answer(part, asked, seed)
    return {hub: columns.joined() for hub, columns in asked.items()}


@dataclass
class _Columns:
    """Answers while they are collected, see `Answers`."""

    odds: list[torch.Tensor] = field(default_factory=list)
    past: list[torch.Tensor] = field(default_factory=list)
    mask: list[torch.Tensor] = field(default_factory=list)
    masks: list[torch.Tensor] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    def joined(self) -> Answers:
        """All of them; each kind of question has the same weight."""
        if not self.odds:
            raise InvalidInputError("expected frames with masks to calibrate on, got none")
        count = Counter(self.kinds)
        share = len(self.kinds) / len(count)
        weight = torch.tensor([share / count[kind] for kind in self.kinds], dtype=torch.float64)
        columns = (self.odds, self.past, self.mask, self.masks)
        odds, past, mask, masks = (torch.cat(parts).double() for parts in columns)
        return Answers(odds, past, mask, masks, torch.tensor(self.right), weight, tuple(self.kinds))


def _answer(part: Asked, asked: Mapping[float, _Columns], seed: int) -> None:
    """Adds what one of the parts answers, for each hub."""
    rng = np.random.default_rng(seed)
    segmenter, trust = part.segmenter, part.trust
    options = segmenter.options
    by_hub = {
        hub: dataclasses.replace(trust, calibration=dataclasses.replace(trust.calibration, hub=hub))
        for hub in asked
    }
    rivals = segmenter.encode_text(trust.rivals)
    near: dict[tuple[str, ...], tuple[str, ...]] = {}
    for seen in tqdm([one for one in part.frames if len(one.embeddings)], desc="asking", unit="frame"):
        if seen.words not in near:
            near[seen.words] = near_words(seen.words, trust, segmenter.encode_text(seen.words), rivals)
        for question in questions(seen, trust, near[seen.words], rng):
            prepared = trust.prepare(question.words, segmenter.encode_text, background=options.background)
            for hub, columns in asked.items():
                evidence = by_hub[hub].weigh(seen.embeddings, prepared, segmenter.clip.logit_scale)
                _add(columns, question, seen, evidence, trust.calibration)


def _add(
    columns: _Columns, question: Question, seen: SeenFrame, evidence: Evidence, before: Calibration
) -> None:
    """Adds the best label of each mask, by the calibration of before."""
    count = len(question.words)
    g, z = evidence.odds[:, :count].clamp(-FURTHEST, FURTHEST), evidence.past[:, :count]
    best = (before.odds * g + before.past * z).argmax(dim=1, keepdim=True)
    columns.odds.append(g.gather(1, best)[:, 0])
    columns.past.append(z.gather(1, best)[:, 0])
    columns.mask.append(mask_log_odds(seen.mask_scores))
    columns.masks.append(torch.full((len(g),), float(len(g))))
    named = zip(best[:, 0].tolist(), seen.right, strict=True)
    columns.right += [question.words[i] in names for i, names in named]
    columns.kinds += [question.kind] * len(g)


def fit(parts: Sequence[Asked]) -> tuple[Calibration, Answers]:
    """The calibration under which what was seen is most probable, and the answers it was fitted to."""
    with_past = all(part.trust.reference is not None for part in parts)
    best: tuple[float, Calibration, Answers] | None = None
    for hub, asked in answers(parts, HUBS if with_past else (0.0,)).items():
        fitted = logistic(asked, hub, with_past=with_past)
        fitted = dataclasses.replace(
            fitted, prior=parts[0].trust.calibration.prior
        )  # under which it was asked
        loss = log_loss(asked.probability(fitted), asked.right, asked.weight)
        if best is None or loss < best[0]:
            best = loss, fitted, asked
    assert best is not None
    return best[1], best[2]


def logistic(asked: Answers, hub: float = 0.0, *, with_past: bool = True) -> Calibration:
    """Weighted logistic regression of `right` on g, z and m, ln N fixed at −1; weights are never below 0."""
    usual = float(asked.masks.median())
    offset = -(asked.masks / usual).log()
    columns = {"odds": asked.odds, "past": asked.past, "mask": asked.mask}
    if not with_past:
        del columns["past"]
    if float(asked.mask.std()) == 0:  # masks that say nothing of themselves
        del columns["mask"]
    while True:
        features = torch.stack([torch.ones_like(asked.odds), *columns.values()], dim=1)  # (M,F)
        bias, *weights = _newton(features, offset, asked.right.double(), asked.weight).tolist()
        found = dict(zip(columns, weights, strict=True))
        worst = min(found, key=lambda name: found[name], default="")
        if not worst or found[worst] >= 0:
            return Calibration(bias=bias, hub=hub, usual_masks=usual, **{"odds": 0.0, **found})
        del columns[worst]


def _newton(
    features: torch.Tensor, offset: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, steps: int = 50
) -> torch.Tensor:
    """(F,) the weights at which the ridge-penalised log likelihood is highest."""
    total = weight.sum()
    weights = torch.zeros(features.shape[1], dtype=torch.float64)
    ridge = RIDGE * torch.eye(features.shape[1], dtype=torch.float64)
    for _ in range(steps):
        p = (features @ weights + offset).sigmoid()
        gradient = features.T @ (weight * (p - right)) / total + ridge @ weights
        hessian = (features * (weight * p * (1 - p))[:, None]).T @ features / total + ridge
        step = torch.linalg.solve(hessian, gradient)
        weights = weights - step * min(1.0, 2.0 / float(step.norm().clamp(min=1e-12)))
        if float(step.norm()) < 1e-9:
            break
    return weights


def log_loss(p: torch.Tensor, right: torch.Tensor, weight: torch.Tensor) -> float:
    """Mean −log of the probability given to what was the case, in nats."""
    given = torch.where(right, p, 1 - p).clamp(min=1e-12)
    return float(-(weight * given.log()).sum() / weight.sum())


def calibration_error(p: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, bins: int = 10) -> float:
    """Expected calibration error: |mean p − share right| over equal bins of p, by what lies in them."""
    place = (p * bins).long().clamp(max=bins - 1)
    error = 0.0
    for one in place.unique():
        inside = place == one
        share = weight[inside] / weight[inside].sum()
        gap = (share * p[inside]).sum() - (share * right[inside].double()).sum()
        error += float(weight[inside].sum() / weight.sum() * gap.abs())
    return error


def precision_recall(
    p: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, threshold: float
) -> tuple[float | None, float | None]:
    """Share of what is given that is right, and of what could be right that is given; None without any."""
    given = p >= threshold
    hits = float(weight[given & right].sum())
    all_given, all_right = float(weight[given].sum()), float(weight[right].sum())
    return hits / all_given if all_given else None, hits / all_right if all_right else None


def least_threshold(
    p: torch.Tensor, right: torch.Tensor, weight: torch.Tensor, precision: float
) -> float | None:
    """The lowest threshold, in steps of 0.01, from which on `precision` is reached; None if none is."""
    found = None
    for hundredth in range(99, 0, -1):
        reached, _ = precision_recall(p, right, weight, hundredth / 100)
        if reached is not None and reached < precision:
            return found
        if reached is not None:
            found = hundredth / 100
    return found
