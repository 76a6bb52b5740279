"""What came second for each mask: by how much the best label is better than the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.errors import InvalidInputError

CLOSE_MARGIN = 0.2
"""Below it people are shown the runner-up beside the label: the two are close."""


@dataclass(frozen=True)
class RunnersUp:
    """What fits each of N masks best after its own best label, asked for or not.

    Attributes:
        names: N words, "" where nothing competed.
        scores: (N,) float32 in [0, 1] on the CPU, their probabilities, 0 where nothing competed. A word that
            nobody asked for may fit better than every label: then it is above the mask's own score.
    """

    names: tuple[str, ...]
    scores: torch.Tensor

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.names),):
            raise InvalidInputError(f"expected {len(self.names)} scores, got {tuple(self.scores.shape)}")

    def __len__(self) -> int:
        return len(self.names)


def find_runners_up(
    probs: torch.Tensor,
    names: Sequence[str],
    rival_probs: torch.Tensor | None = None,
    rivals: Sequence[str] = (),
) -> RunnersUp:
    """The second best of all that competed for each mask; its best label is the first.

    Args:
        probs: (N, K) of the labels.
        names: K labels.
        rival_probs: (N, B) of the words that competed but are no labels, in the same softmax; None for none.
        rivals: B names of these.

    Returns:
        Labels before rivals and the earlier first on ties; nothing for a mask nobody has an opinion on (a row
        of zeros), nor where K + B < 2, nor for K = 0.

    Raises:
        InvalidInputError: shapes and names differ.

    Examples:
        >>> find_runners_up(torch.tensor([[0.7, 0.1]]), ["cup", "pot"], torch.tensor([[0.2]]), ["wall"]).names
        ('wall',)
    """
    count = len(probs)
    everything = probs if rival_probs is None else torch.cat([probs, rival_probs.to(probs)], dim=1)  # (N,K+B)
    words = (*names, *rivals)
    if probs.shape[1] != len(names) or everything.shape[1] != len(words):
        raise InvalidInputError(f"expected {len(words)} columns for {words}, got {tuple(everything.shape)}")
    if count == 0 or len(names) == 0 or len(words) < 2:
        return RunnersUp(("",) * count, torch.zeros(count))
    best = probs.argmax(dim=1, keepdim=True)  # (N,1), the first of equals
    others = everything.scatter(1, best, -1.0)
    scores, index = others.max(dim=1)
    known = everything.amax(dim=1) > 0
    return RunnersUp(
        tuple(words[i] if there else "" for i, there in zip(index.tolist(), known.tolist(), strict=True)),
        torch.where(known, scores, 0.0).float().cpu(),
    )


def close_runner_up(score: float, runner_up: str, runner_up_score: float) -> str:
    """The runner-up in a few letters, "kettle 0.85", where it comes close to a label's score, else ""."""
    if not runner_up or score - runner_up_score >= CLOSE_MARGIN or runner_up_score < 0.005:
        return ""
    return f"{runner_up} {runner_up_score:.2f}"
