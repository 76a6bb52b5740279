"""Things that are found by words, followed: which track each mask is, whatever it was found by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ovseg_ros.core.candidates import Candidates
from ovseg_ros.core.frame import Proposals
from ovseg_ros.core.maps import BoxedMask, mask_iou
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.scene import Found, Scene
from ovseg_ros.core.tracking.association import assign
from ovseg_ros.core.tracking.confirmation import SAME_THING_IOU


@dataclass(frozen=True)
class FollowedScene:
    """A scene some of whose things have tracks; it changes nothing, whatever is asked of it.

    Attributes:
        scene: that finds.
        masks: T things of this frame that are followed.
        track_ids: (T,) int64 of them.
    """

    scene: Scene
    masks: Sequence[BoxedMask]
    track_ids: torch.Tensor

    def find(self, words: Sequence[str], encoder: Any) -> Found:
        """As the scene finds them; a mask that is one of the followed things, by an IoU of 0.5, is its."""
        found = self.scene.find(words, encoder)
        ids = torch.zeros(len(found.masks), dtype=torch.int64)
        iou = mask_iou(self.masks, found.masks, least=SAME_THING_IOU)
        for t, n in assign(iou.astype(np.float32), SAME_THING_IOU):
            ids[n] = self.track_ids[t]
        return dataclasses.replace(found, track_ids=ids)


def as_candidates(found: Found, options: SegmenterOptions) -> Candidates:
    """What was found, as masks for the tracks; none is encoded."""
    never = torch.zeros(len(found.masks), dtype=torch.bool)
    return Candidates(Proposals(found.masks, found.scores), never, options)
