"""Several generators as one: their masks together, each thing once."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals, as_proposer
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.errors import ConfigError
from ovseg_ros.proposals.union.joined import concatenated, taken
from ovseg_ros.proposals.union.relief import Relief
from ovseg_ros.proposals.union.scores import calibrated
from ovseg_ros.proposals.union.things import Rules, things

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
        unrated_trust: IoU expected of the surest mask of a member whose scores are no predicted IoU, in
            [0, 1]; its scores are multiplied by it where another member's are.
        keep_parts: parts stay beside their wholes, and masks of several things beside the things.
        keep_support: masks that depth shows to be the table or floor itself stay.
    """

    duplicate_iou: float = 0.7
    skip_without_depth: bool = True
    unrated_trust: float = 0.65
    keep_parts: bool = False
    keep_support: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.duplicate_iou <= 1:
            raise ConfigError(f"expected duplicate_iou in (0, 1], got {self.duplicate_iou}")
        if not 0 <= self.unrated_trust <= 1:
            raise ConfigError(f"expected unrated_trust in [0, 1], got {self.unrated_trust}")


class UnionProposals:
    """Proposes what any of its members does, each thing once; `things.things` has the rules.

    Scores of members are compared. They are taken for predicted IoU unless a member says `scores_are_iou =
    False`, as `DepthClusters` does: see `scores.calibrated`.
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
            raise ConfigError("expected at least one generator in a union, got none")
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
    def scores_are_iou(self) -> bool:
        """Some member's scores are predicted IoU; those of the others are then put on their scale."""
        return any(map(_scores_are_iou, self.members))

    @property
    def grid_points(self) -> int | None:
        """Of the member that asks most."""
        return max(filter(None, (as_proposer(member).grid_points for member in self.members)), default=None)

    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """The members' masks in their order, those of the first member first, each thing once.

        Soft masks and class embeddings stay where `joined.concatenated` can keep them. Without soft masks,
        empty masks are dropped.

        Args:
            frame: see the members.
            hints: handed to the members.

        Returns:
            N >= 0 masks on the CPU. Scores as the members gave them, those that are no predicted IoU put on
            the scale of those that are, if any member's are.

        Raises:
            InvalidInputError: a member cannot use the frame, or gave masks of another size.
        """
        parts, rated = [], []
        for member in self._able(frame):
            part = as_proposer(member).propose(frame, hints)
            part.check_size(frame, member)
            if len(part):
                parts.append(part)
                rated += [_scores_are_iou(member)] * len(part)
        if not parts:
            return Proposals.empty(*frame.size_hw)
        joined = concatenated(parts)
        boxed, scores = boxed_masks(joined.masks), joined.scores.numpy()
        options = self.options
        if self.scores_are_iou:
            scores = calibrated(
                boxed,
                scores,
                np.array(rated),
                options.unrated_trust,
                options.duplicate_iou,
                frame.image_rgb,
            )
            joined = replace(joined, scores=torch.from_numpy(scores))
        rules = Rules(options.duplicate_iou, options.keep_parts, options.keep_support)
        return taken(joined, things(boxed, scores, rules, Relief.of(frame)))

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


def _scores_are_iou(member: Any) -> bool:
    return bool(getattr(member, "scores_are_iou", True))
