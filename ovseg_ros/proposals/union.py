"""Several generators as one: their masks together, without duplicates."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals, as_proposer
from ovseg_ros.core.maps import boxed_masks, mask_iou
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

WARN_EVERY_S = 30.0
"""Depth that comes and goes is told of at most so often."""

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class UnionOptions:
    """How `UnionProposals` joins its members.

    Attributes:
        duplicate_iou: two masks of this IoU or more are one thing, in (0, 1]; at 1 only copies go.
        skip_without_depth: members that need depth are left out while frames come without depth or
            intrinsics, with a warning where there was depth before; False lets such a frame be refused.
    """

    duplicate_iou: float = 0.85
    skip_without_depth: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.duplicate_iou <= 1:
            raise ConfigError(f"want duplicate_iou in (0, 1], got {self.duplicate_iou}")


class UnionProposals:
    """Proposes what any of its members does; of two masks of the same thing the better-scored one stays.

    Scores are taken as they come, so members whose scores mean different things compete unevenly: a score of
    `depth_clusters` is not a predicted IoU. That decides which of two duplicates stays, and nothing else.
    """

    def __init__(self, members: Sequence[Any], options: UnionOptions | None = None) -> None:
        """Joins generators.

        Args:
            members: at least one; in case of equal scores the earlier one's mask stays.
            options: see `UnionOptions`.

        Raises:
            ConfigError: no members.
        """
        if not members:
            raise ConfigError("want at least one generator in a union, got none")
        self.members = tuple(members)
        self.options = UnionOptions() if options is None else options
        self._had_depth, self._warned_s = False, -math.inf

    @property
    def needs_depth(self) -> bool:
        """Any member needs it; where such members may be left out, all of them do."""
        needs = [as_proposer(member).needs_depth for member in self.members]
        return all(needs) if self.options.skip_without_depth else any(needs)

    @property
    def classifies(self) -> bool:
        """Every member gives class embeddings; they must be of one network's text space to be kept."""
        return all(as_proposer(member).classifies for member in self.members)

    @property
    def grid_points(self) -> int | None:
        """Of the member that asks most."""
        return max(filter(None, (as_proposer(member).grid_points for member in self.members)), default=None)

    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """The members' masks in their order, those of the first member first, duplicates taken out.

        Soft masks are kept where every member that gave masks has them on one grid, and class embeddings
        where each has them with as many columns and the same non-object rows: for a part of the
        masks alone they would be of no use. Without soft masks, empty masks are dropped.

        Args:
            frame: see the members.
            hints: handed to the members.

        Returns:
            N >= 0 masks on the CPU.

        Raises:
            InvalidInputError: a member cannot use the frame, or gave masks of another size.
        """
        parts = []
        for member in self._able(frame):
            parts.append(as_proposer(member).propose(frame, hints))
            parts[-1].check_size(frame, member)
        given = [part for part in parts if len(part)]
        if not given:
            return Proposals.empty(*frame.size_hw)
        return without_duplicates(given, self.options.duplicate_iou)

    def _able(self, frame: Frame) -> Sequence[Any]:
        """The members that are asked about this frame."""
        if frame.depth_m is not None and frame.intrinsics is not None:
            self._had_depth = True
            return self.members
        able = [member for member in self.members if not as_proposer(member).needs_depth]
        if not self.options.skip_without_depth or not able or len(able) == len(self.members):
            return self.members
        now_s = time.monotonic()
        # Colour alone is nothing to warn of where there never was more.
        if self._had_depth and now_s - self._warned_s >= WARN_EVERY_S:
            left_out = [type(member).__name__ for member in self.members if as_proposer(member).needs_depth]
            _LOG.warning("depth was there and is missing: %s left out of the union", ", ".join(left_out))
            self._warned_s = now_s
        self._had_depth = False
        return able


def without_duplicates(parts: Sequence[Proposals], duplicate_iou: float) -> Proposals:
    """Proposals one after another, on the CPU; of two masks of one thing the better-scored stays.

    Args:
        parts: of one image; at least one.
        duplicate_iou: see `distinct`.

    Returns:
        With soft masks and class embeddings as `UnionProposals.propose` says.
    """
    joined = _concatenated(parts)
    masks = joined.masks.numpy()
    keep = distinct(masks, joined.scores.numpy(), duplicate_iou)
    if joined.soft is None:
        keep = keep[masks[keep].any(axis=(1, 2))]
    return joined.take(torch.from_numpy(keep))


def _concatenated(parts: Sequence[Proposals]) -> Proposals:
    masks = torch.cat([part.masks.cpu() for part in parts])  # (N,H,W)
    scores = torch.cat([part.scores.cpu().float() for part in parts])  # (N,)
    embeddings = _joined_embeddings(parts)
    rivals = parts[0].non_object if embeddings is not None else None
    return Proposals(masks, scores, _joined_soft(parts), embeddings, None if rivals is None else rivals.cpu())


def _joined_soft(parts: Sequence[Proposals]) -> SoftMasks | None:
    soft = [part.soft for part in parts if part.soft is not None]
    grids = {(tuple(s.logits.shape[1:]), tuple(s.padded_hw), tuple(s.valid_hw)) for s in soft}
    if len(soft) < len(parts) or len(grids) != 1:
        return None
    return SoftMasks(torch.cat([s.logits.cpu().float() for s in soft]), soft[0].padded_hw, soft[0].valid_hw)


def _joined_embeddings(parts: Sequence[Proposals]) -> torch.Tensor | None:
    """(N, C), or None where they are not of one space: other columns or other rivals."""
    rows = [part.class_embeddings for part in parts if part.class_embeddings is not None]
    if len(rows) < len(parts) or len({row.shape[1] for row in rows}) != 1:
        return None
    rivals = [part.non_object for part in parts]
    if any(_differ(rivals[0], other) for other in rivals[1:]):
        return None
    return torch.cat([row.cpu().float() for row in rows])


def _differ(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    if a is None or b is None:
        return a is not b
    return not torch.equal(a.cpu(), b.cpu())


def distinct(masks: BoolArray, scores: npt.NDArray[np.float32], duplicate_iou: float) -> IntArray:
    """Which masks stay when each is compared with the better ones that stayed.

    Args:
        masks: (N, H, W).
        scores: (N,); of equal ones the earlier is the better.
        duplicate_iou: a mask goes when its IoU with one that stayed reaches this, in (0, 1].

    Returns:
        (M,) int64 indices, ascending. An empty mask is no one's duplicate.
    """
    boxed = boxed_masks(masks)
    iou = mask_iou(boxed, boxed, least=duplicate_iou)  # (N,N)
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable").tolist():
        if not (iou[i, kept] >= duplicate_iou).any():
            kept.append(i)
    return np.array(sorted(kept), np.int64)
