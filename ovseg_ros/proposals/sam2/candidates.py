"""Masks that may be proposed, on the network's coarse grid until it is known which are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ovseg_ros.core.frame import Proposals
from ovseg_ros.proposals.sam2.masks import (
    distinct,
    enlarged,
    mask_iou,
    nearest_box_iou,
    outer_boxes,
    shrunk,
)

COVERED_IOU = 0.8
"""Of boxes: a track's box this like one that is known already is not asked for."""


@dataclass(frozen=True)
class Candidates:
    """N masks of one image, on the device.

    Attributes:
        cells: (N, h, w) bool on the network's grid, to compare them.
        scores: (N,) float32 in [0, 1].
        logits: (N, h, w) float32, of which masks are made.
        given: (N, H, W) bool, what is proposed instead where `is_given`; None where that is nowhere.
        is_given: (N,) bool.
        ids: (N,) int64, numbers of things that are remembered; None where none is.
    """

    cells: torch.Tensor
    scores: torch.Tensor
    logits: torch.Tensor
    given: torch.Tensor | None
    is_given: torch.Tensor
    ids: torch.Tensor | None = None

    def take(self, index: torch.Tensor) -> Candidates:
        """Some of them, by (M,) int64 index or (N,) bool."""
        return Candidates(
            self.cells[index],
            self.scores[index],
            self.logits[index],
            None if self.given is None else self.given[index],
            self.is_given[index],
            None if self.ids is None else self.ids[index],
        )

    def without(self, cells: torch.Tensor, iou: float) -> Candidates:
        """Those that have less than that IoU with all of (M, h, w) bool masks."""
        if not len(cells) or not len(self.scores):
            return self
        return self.take(mask_iou(self.cells, cells).amax(dim=1) < iou)


def uncovered(
    found: Proposals, followed_xyxy: torch.Tensor, carried: Candidates, least_agreement: float
) -> tuple[Proposals, torch.Tensor]:
    """What need not be asked for goes, as it is remembered.

    Args:
        found: another generator's masks, none of them empty, on the device.
        followed_xyxy: (M, 4) float64 boxes of tracks on the image, on the CPU.
        carried: what is remembered.
        least_agreement: IoU from which a found mask and one that is remembered are one thing.

    Returns:
        The masks and boxes that stay.
    """
    if not len(carried.scores):
        return found, followed_xyxy
    size_hw, grid_hw = found.masks.shape[1:], carried.cells.shape[1:]
    if len(found):
        nearest = mask_iou(shrunk(found.masks, (grid_hw[0], grid_hw[1])), carried.cells).amax(dim=1)
        found = found.take(nearest < least_agreement)
    if len(followed_xyxy):
        scale = torch.tensor([size_hw[1] / grid_hw[1], size_hw[0] / grid_hw[0]], dtype=torch.float64)
        boxes = outer_boxes(carried.cells) * scale.repeat(2)
        followed_xyxy = followed_xyxy[nearest_box_iou(followed_xyxy, boxes) < COVERED_IOU]
    return found, followed_xyxy


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
    if len(parts) == 1 and parts[0].given is None and parts[0].ids is None:
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
    ids = None
    if any(part.ids is not None for part in parts):
        none = (torch.zeros_like(part.is_given, dtype=torch.int64) for part in parts)
        ids = torch.cat(
            [zeros if part.ids is None else part.ids for part, zeros in zip(parts, none, strict=True)]
        )
        ids = ids[keep]
    return filled(Proposals(torch.cat(masks), scores[keep], object_ids=ids)), count


def filled(proposals: Proposals) -> Proposals:
    """Without empty masks: a thing may be less than a pixel of a small image."""
    return proposals.take(proposals.masks.flatten(1).any(dim=1))
