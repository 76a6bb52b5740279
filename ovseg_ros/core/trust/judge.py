"""The rule of absence: a word is found where it is the best of many, better than it usually is."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from ovseg_ros.core.runners_up import RunnersUp
from ovseg_ros.core.trust.calibration import Calibration, mask_log_odds
from ovseg_ros.core.trust.competition import Competition, best_competitors, competition, log_odds
from ovseg_ros.core.trust.past import Past, past_of
from ovseg_ros.core.words import Meanings
from ovseg_ros.errors import ConfigError

VOCABULARIES = 32
"""So many vocabularies are remembered with all that does not change from frame to frame."""

LEAST_LEFT, MOST_LEFT = 0.01, 0.5
"""Part of its probability that a beaten label keeps: never so little that labels lose their order."""

Encode = Callable[[Sequence[str]], torch.Tensor]
"""W words -> (W, D) unit rows."""


@dataclass(frozen=True)
class Prepared:
    """All about one vocabulary that no frame changes.

    Attributes:
        words: who competes with whom.
        text: (K + R, D) unit rows, labels first.
        past: of all words, None without masks seen before.
        first: (K + R,) int64, for each word the first that is the same text: a rival may be asked for too.
    """

    words: Competition
    text: torch.Tensor
    past: Past | None
    first: torch.Tensor


@dataclass(frozen=True)
class Evidence:
    """What speaks for each of W = K + R words on each of N masks, labels first.

    Attributes:
        fit: (N, W) how well each fits, times the logit scale; the mean of its past taken off.
        odds: (N, W) g, see `log_odds`.
        past: (N, W) z, see `Past.standardised`; zeros without a past.
    """

    fit: torch.Tensor
    odds: torch.Tensor
    past: torch.Tensor


@dataclass(frozen=True)
class Judgement:
    """What was decided about N masks.

    Attributes:
        probs: (N, K) float32 on the CPU, probability that each label is right; rows sum to at most 1.
        fit: (N, W) see `Evidence`; W = 0 for no labels.
        own: (N, W) probability that each word is right, before what fits better takes from it.
    """

    probs: torch.Tensor
    fit: torch.Tensor
    own: torch.Tensor


@dataclass(frozen=True)
class TrustModel:
    """What an encoder's answers are judged by.

    Attributes:
        rivals: object words that compete with what is asked.
        meanings: which of them step aside, because they can mean the same.
        reference: (M, D) unit rows of masks seen before; None without.
        calibration: what makes scores probabilities.
        logit_bias: of an encoder trained with a sigmoid, whose own log odds of a word are logit_scale ·
            cosine + logit_bias; with it, that no word fits competes too. None of all others.
    """

    rivals: tuple[str, ...]
    meanings: Meanings
    reference: torch.Tensor | None = None
    calibration: Calibration = field(default_factory=Calibration)
    logit_bias: float | None = None
    _prepared: OrderedDict[tuple[object, ...], Prepared] = field(
        default_factory=OrderedDict, init=False, repr=False, compare=False
    )  # a copy with other parts starts without
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.rivals, str) or not self.rivals:
            raise ConfigError("expected words that compete, got none: a word without a rival is always found")
        if self.reference is not None and (self.reference.ndim != 2 or len(self.reference) < 2):
            raise ConfigError(
                f"expected the rows of at least two masks seen before, got {tuple(self.reference.shape)}"
            )

    def prepare(
        self,
        labels: Sequence[str],
        encode: Encode,
        *,
        rivals: Sequence[str] = (),
        background: Sequence[str] = (),
        key: object = None,
    ) -> Prepared:
        """All that one vocabulary needs; the last `VOCABULARIES` of them are remembered.

        Args:
            labels: K asked words.
            encode: of the encoder that also embeds masks.
            rivals: instead of the model's own, where there are any.
            background: words that compete too.
            key: what else decides how words are encoded; the same words under another are prepared again.
        """
        names = (tuple(labels), tuple(rivals), tuple(background), key)
        with self._lock:
            if names in self._prepared:
                self._prepared.move_to_end(names)
                return self._prepared[names]
        others = (*background, *(rivals or self.rivals)) if labels else ()  # nobody is asked for: no race
        words = competition(labels, others, self.meanings)
        text = encode(words.words).float()
        past = past_of(text, self.reference) if self.reference is not None and labels else None
        prepared = Prepared(words, text, past, _first_of_each(words.words, text))
        with self._lock:
            self._prepared[names] = prepared
            while len(self._prepared) > VOCABULARIES:
                self._prepared.popitem(last=False)
        return prepared

    def weigh(self, embeddings: torch.Tensor, prepared: Prepared, logit_scale: float) -> Evidence:
        """What speaks for each label on each mask, before it is calibrated.

        Args:
            embeddings: (N, D) unit rows.
            prepared: of the vocabulary.
            logit_scale: multiplies the cosines.
        """
        cosines = embeddings.to(prepared.text).float() @ prepared.text.T  # (N,W)
        competes = prepared.words.competes.to(cosines.device)
        nothing = None if self.logit_bias is None else -(self.logit_bias + self.calibration.prior)
        if prepared.past is None:
            fit = (logit_scale * cosines)[:, prepared.first]
            return Evidence(fit, log_odds(fit, competes, nothing), torch.zeros_like(fit))
        fit = (logit_scale * (cosines - self.calibration.hub * prepared.past.mean))[:, prepared.first]
        return Evidence(fit, log_odds(fit, competes, nothing), prepared.past.standardised(cosines))

    def judge(
        self,
        embeddings: torch.Tensor,
        seen: torch.Tensor,
        prepared: Prepared,
        logit_scale: float,
        mask_scores: torch.Tensor | None = None,
    ) -> Judgement:
        """How probable it is that each label is right.

        Where a competitor c fits a mask better than a label, the label keeps the part of its probability that
        c leaves, 1 − p_c, at least 1 % and at most half of it. Labels that can mean the same do not compete,
        but share: what the better one has is taken from what the next may have; rows sum to 1 at most.

        Args:
            embeddings: (N, D) unit rows; zeros for masks the encoder has not seen.
            seen: (N,) bool, which it has; the others get 0.
            prepared: of the vocabulary.
            logit_scale: multiplies the cosines.
            mask_scores: (N,) in [0, 1], the masks' own; 0.5 each, which says nothing, when None.
        """
        words, count = prepared.words, len(prepared.words.labels)
        if len(embeddings) == 0 or count == 0:
            nothing = torch.zeros(len(embeddings), 0)
            return Judgement(torch.zeros(len(embeddings), count), nothing, nothing)
        evidence = self.weigh(embeddings, prepared, logit_scale)
        known = seen.to(evidence.fit.device)
        scores = torch.full((len(embeddings),), 0.5) if mask_scores is None else mask_scores
        mask_odds = mask_log_odds(scores).to(evidence.fit)[:, None]  # (N,1)
        masks = max(int(known.sum()), 1)
        own = self.calibration.probability(evidence.odds, evidence.past, masks, mask_odds)
        own = own * known.to(own)[:, None]  # (N,W)
        probs = _shared_out(_beaten(evidence.fit, own, words.competes.to(own.device)))  # (N,K)
        return Judgement(probs.float().cpu(), evidence.fit, own)


def runners_up(judged: Judgement, words: Competition, probs: torch.Tensor) -> RunnersUp:
    """What came second for each mask, asked for or not: the best of all that compete with its best label.

    Args:
        judged: of N masks.
        words: that competed.
        probs: (N, K) on the CPU, what became of `judged.probs`; a label that has lost a part of its
            probability since counts for as much less here too.
    """
    count = len(words.labels)
    if len(probs) == 0 or count == 0:
        return RunnersUp(("",) * len(probs), torch.zeros(len(probs)))
    kept = torch.where(judged.probs > 0, probs / judged.probs, 1.0).to(judged.fit)  # (N,K)
    fit, own = judged.fit.clone(), judged.own.clone()
    fit[:, :count] += kept.log()
    own[:, :count] *= kept
    masks = torch.arange(len(probs), device=fit.device)
    best = probs.argmax(dim=1).to(fit.device)
    place, _ = best_competitors(fit, words.competes.to(fit.device), masks, best)
    scores = own[masks, place.clamp(min=0)] * (place >= 0)
    there = (scores > 0).tolist()
    names = [words.words[i] if any_ else "" for i, any_ in zip(place.tolist(), there, strict=True)]
    return RunnersUp(tuple(names), scores.float().cpu())


def _first_of_each(words: Sequence[str], text: torch.Tensor) -> torch.Tensor:
    """(W,) int64: for each word the place of the first with the same name and (W, D) row.

    One text must fit a mask equally in both places, or what comes second is up to a processor's rounding: a
    product of matrices rounds equal columns differently.
    """
    places: dict[str, int] = {}
    first = []
    for place, word in enumerate(words):
        earlier = places.setdefault(word.casefold(), place)
        first.append(earlier if torch.equal(text[earlier], text[place]) else place)
    return torch.tensor(first, dtype=torch.int64, device=text.device)


def _beaten(fit: torch.Tensor, probs: torch.Tensor, competes: torch.Tensor) -> torch.Tensor:
    """(N, K): the labels' of (N, W) probabilities, less where one is not the best, see `judge`."""
    own = probs[:, : len(competes)]
    first = fit.argmax(dim=1)  # (N,) the best competitor of nearly every label
    place = first[:, None].expand_as(own).clone()
    mask, label = (~competes[:, first].T).nonzero(as_tuple=True)  # of these it is not
    place[mask, label] = best_competitors(fit, competes, mask, label)[0]
    known = place.clamp(min=0)
    beaten = (place >= 0) & (fit.gather(1, known) > fit[:, : len(competes)])
    left = (1 - probs.gather(1, known)).clamp(LEAST_LEFT, MOST_LEFT)
    return torch.where(beaten, own * left, own)


def _shared_out(probs: torch.Tensor) -> torch.Tensor:
    """(N, K): from the most probable on, each gets at most what those before it left of 1."""
    ordered, order = probs.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(dim=1) - ordered
    return torch.zeros_like(probs).scatter(1, order, torch.minimum(ordered, (1 - before).clamp(min=0)))
