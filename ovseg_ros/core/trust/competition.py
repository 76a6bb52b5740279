"""Who competes with an asked word, and how far it is ahead of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovseg_ros.core.words import Meanings

PAIRS_AT_ONCE = 2048
"""Of mask and label are looked at; with a thousand words that is 8 MB."""


@dataclass(frozen=True)
class Competition:
    """K asked words and R rivals that nobody asked for.

    Attributes:
        labels: K of them.
        rivals: R of them.
        competes: (K, K + R) bool: which words, labels first, compete with each label.
    """

    labels: tuple[str, ...]
    rivals: tuple[str, ...]
    competes: torch.Tensor

    @property
    def words(self) -> tuple[str, ...]:
        """All K + R, the labels first."""
        return (*self.labels, *self.rivals)


def competition(labels: Sequence[str], rivals: Sequence[str], meanings: Meanings) -> Competition:
    """Every word competes with a label, other labels too, but those that can mean the same step aside.

    Args:
        labels: K asked words.
        rivals: words that compete with them; repetitions, in any case, count once.
        meanings: what is the same.
    """
    kept = tuple({rival.casefold(): rival for rival in reversed(rivals)}.values())[::-1]
    words = (*labels, *kept)
    rows = [[not meanings.same(label, word) for word in words] for label in labels]
    competes = torch.tensor(rows, dtype=torch.bool).reshape(len(labels), len(words))
    competes[torch.arange(len(labels)), torch.arange(len(labels))] = False  # nobody competes with itself
    return Competition(tuple(labels), kept, competes)


def log_odds(fit: torch.Tensor, competes: torch.Tensor, nothing: float | None = None) -> torch.Tensor:
    """g(i, w) = fit(i, w) − log Σ_c exp fit(i, c), over all c that compete with w.

    The log odds of w in a softmax over itself and its competitors. Above 0 it outweighs all of them together.
    With `nothing`, that no word fits is one competitor more, of that fit on every mask: where a model says
    with a sigmoid how probable each word is, exp(fit − nothing) are its odds, and g is the log odds that w
    fits and no competitor, given that at most one of them does.

    Args:
        fit: (N, W) float, how well each of W words fits each mask, times the logit scale.
        competes: (K, W) bool, who competes with word w < K; with any other everyone else does.
        nothing: the fit of no word; None where that does not compete.

    Returns:
        (N, W) float32; +inf where nothing competes.

    Examples:
        >>> log_odds(torch.tensor([[1.0, 1.0, 5.0]]), torch.tensor([[False, True, False]]))[:, 0]
        tensor([0.])
    """
    if fit.shape[1] == 0:
        return fit
    if nothing is not None:
        fit = torch.cat([fit, torch.full_like(fit[:, :1], nothing)], dim=1)  # (N,W+1)
        return log_odds(fit, F.pad(competes, (0, 1), value=True))[:, :-1]
    count, device = len(competes), fit.device
    if device.type == "mps":  # knows no float64
        fit, competes = fit.cpu(), competes.cpu()
    # One exponential serves all words. In float64, as a word that steps aside may stand far above all others.
    highest = fit.amax(dim=1, keepdim=True).double()  # (N,1)
    parts = (fit.double() - highest).exp()  # (N,W)
    against = torch.cat(
        [parts @ competes.to(parts).T, (parts.sum(dim=1, keepdim=True) - parts[:, count:]).clamp(min=0)],
        dim=1,
    )
    odds = fit.double() - highest - against.log()
    lost, label = ((against[:, :count] == 0) & competes.any(dim=1)).nonzero(as_tuple=True)
    for some, of in zip(lost.split(PAIRS_AT_ONCE), label.split(PAIRS_AT_ONCE), strict=True):
        others = fit[some].double().masked_fill(~competes[of], -torch.inf)  # (M,W)
        odds[some, of] = fit[some, of].double() - others.logsumexp(dim=1)
    return odds.float().to(device)


def best_competitors(
    fit: torch.Tensor, competes: torch.Tensor, mask: torch.Tensor, label: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What fits a mask best of all that compete with one label, for M pairs of them.

    Args:
        fit: (N, W).
        competes: (K, W) bool.
        mask: (M,) int64 among the N.
        label: (M,) int64 among the K.

    Returns:
        (M,) int64 place among the W words, the first of equals, -1 where nothing competes; and (M,) its fit,
        -inf there.
    """
    places, fits = [label.new_zeros(0)], [fit.new_zeros(0)]
    for some, of in zip(mask.split(PAIRS_AT_ONCE), label.split(PAIRS_AT_ONCE), strict=True):
        best, place = fit[some].masked_fill(~competes[of], -torch.inf).max(dim=1)
        places.append(torch.where(best > -torch.inf, place, -1))
        fits.append(best)
    return torch.cat(places), torch.cat(fits)
