"""The loss: symmetric InfoNCE between region embeddings and the locked text embeddings of their nouns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F


def contrastive_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    nouns: torch.Tensor,
    scale: torch.Tensor,
    *,
    same_noun: str = "negative",
    distance: float = 0.0,
) -> torch.Tensor:
    """½ (CE(s·I·Tᵀ, target) + CE(s·T·Iᵀ, target)) + distance · mean(1 − cosine of the pair).

    Args:
        images: (B, D) unit rows.
        texts: (B, D) unit rows, row i belongs to image i.
        nouns: (B,) int64, equal where the nouns are.
        scale: s, multiplies cosines.
        same_noun: "negative": the target of row i is i, whatever the others are called (the paper);
            "positive": it is shared equally among all rows with its noun.
        distance: weight of the last term.

    Returns:
        The mean over the batch, 0-d.
    """
    cosines = images @ texts.T  # (B, B)
    logits = scale * cosines
    if same_noun == "positive":
        same = (nouns[:, None] == nouns[None, :]).to(logits.dtype)
        target = same / same.sum(dim=1, keepdim=True)
    else:
        target = torch.arange(len(images), device=images.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    return loss + distance * (1 - cosines.diagonal()).mean() if distance else loss


class GlobalBatch:
    """Puts the parts of a batch together that the processes have, so that each sees all negatives.

    Every process computes the whole loss, and its gradient flows into its own part alone, once for each
    process: the mean over processes, which DistributedDataParallel takes, is then the gradient of the whole
    loss, and those of shared scalars such as the logit scale come out right too.

    Args:
        gather: tensor of this process -> those of all, in order of rank, without gradient.
        rank: of this process.
        ranks: how many there are.
    """

    def __init__(self, gather: object, rank: int = 0, ranks: int = 1) -> None:
        self._gather, self._rank, self._ranks = gather, rank, ranks

    def all(self, part: torch.Tensor) -> torch.Tensor:
        """(b, …) on each process -> (ranks·b, …), with the gradient of the own rows."""
        if self._ranks == 1:
            return part
        rows = self._gather(part.detach().contiguous()).clone()  # type: ignore[operator]
        if part.requires_grad:
            first = self._rank * len(part)
            rows[first : first + len(part)] = part.detach() + self._ranks * (part - part.detach())
        return rows


def noun_ids(nouns: Sequence[str]) -> torch.Tensor:
    """(B,) int64, equal where the nouns are equal, also between processes."""
    digests = (hashlib.blake2b(noun.encode(), digest_size=8).digest() for noun in nouns)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests])
