"""Masks that may be proposed, on the network's coarse grid until it is known which are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.core.frame import Proposals
from ovseg_ros.proposals.sam2.masks import distinct, enlarged


@dataclass(frozen=True)
class Candidates:
    """N masks of one image, on the device.

    Attributes:
        cells: (N, h, w) bool on the network's grid, to compare them.
        scores: (N,) float32 in [0, 1].
        logits: (N, h, w) float32, of which masks are made.
        given: (N, H, W) bool, what is proposed instead where `is_given`; None where that is nowhere.
        is_given: (N,) bool.
    """

    cells: torch.Tensor
    scores: torch.Tensor
    logits: torch.Tensor
    given: torch.Tensor | None
    is_given: torch.Tensor


def made(logits: torch.Tensor, scores: torch.Tensor, cut: float) -> Candidates:
    """Candidates that are the network's own: (N, h, w) logits and (N,) scores."""
    return Candidates(logits > cut, scores, logits, None, torch.zeros_like(scores, dtype=torch.bool))


def proposed(
    parts: Sequence[Candidates], size_hw: tuple[int, int], cut: float, duplicate_iou: float, most: int
) -> tuple[Proposals, int]:
    """The candidates as masks of the frame's size, each thing once.

    Args:
        parts: in their order; one alone with nothing given is a grid's, which has its own rule for copies.
        size_hw: of the frame.
        cut: logit above which a pixel is in.
        duplicate_iou: see `distinct`.
        most: so many masks, the best-scored.

    Returns:
        The masks, none empty; and how many there were before `most`.
    """
    if not parts:
        return Proposals.empty(*size_hw), 0
    scores = torch.cat([part.scores for part in parts])
    if len(parts) == 1 and parts[0].given is None:
        keep = torch.arange(len(scores), device=scores.device)
    else:
        keep = distinct(torch.cat([part.cells for part in parts]), scores, duplicate_iou)
    count = len(keep)
    if count > most:
        keep = keep[scores[keep].argsort(descending=True, stable=True)[:most]].sort().values
    masks, start = [], 0
    for part in parts:
        own = keep[(keep >= start) & (keep < start + len(part.scores))] - start
        start += len(part.scores)
        full = enlarged(part.logits[own], size_hw, cut)
        if part.given is not None:
            stays = part.is_given[own]
            full[stays] = part.given[own[stays]]
        masks.append(full)
    return filled(torch.cat(masks), scores[keep]), count


def filled(masks: torch.Tensor, scores: torch.Tensor) -> Proposals:
    """Without empty masks: a thing may be less than a pixel of a small image."""
    some = masks.flatten(1).any(dim=1)
    return Proposals(masks[some], scores[some])
