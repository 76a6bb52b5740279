"""The masks of a frame that are worth embedding, before and after they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.options import SegmenterOptions


@dataclass(frozen=True)
class Candidates:
    """The masks that stay of what a generator proposed.

    Attributes:
        proposals: N masks, at most `max_masks`, in the generator's order.
        is_encodable: (N,) bool on the CPU, which of them are large enough for CLIP to see.
        options: by which they were chosen.
    """

    proposals: Proposals
    is_encodable: torch.Tensor
    options: SegmenterOptions

    def __len__(self) -> int:
        return len(self.proposals)

    @cached_property
    def masks_on_cpu(self) -> torch.Tensor:
        """(N, H, W) bool; of masks on a device they are fetched once, however many ask."""
        return self.proposals.masks.cpu()

    def embedded(
        self,
        frame: Frame,
        embeddings: torch.Tensor,
        timings: Mapping[str, float],
        *,
        has_clip_embedding: torch.Tensor | None = None,
        track_ids: torch.Tensor | None = None,
        boxes_xyxy: torch.Tensor | None = None,
    ) -> EmbeddedFrame:
        """Puts together what is known about the frame.

        Args:
            frame: the one the masks were proposed on.
            embeddings: (N, D) float32 unit rows, zeros for masks CLIP has not seen.
            timings: seconds per stage.
            has_clip_embedding: (N,) bool, which masks CLIP has seen; those it may see when None.
            track_ids: (N,) int64, 0 for a mask that is not tracked; all 0 when None.
            boxes_xyxy: (N, 4) int64 tight boxes where they are known, zeros for an empty mask.
        """
        kept = self.proposals
        seen = self.is_encodable if has_clip_embedding is None else has_clip_embedding
        return EmbeddedFrame(
            frame=frame,
            masks=self.masks_on_cpu,
            mask_scores=kept.scores.cpu().float(),
            embeddings=embeddings,
            timings=timings,
            has_clip_embedding=seen.cpu() & self.options.uses_clip,
            soft=None if kept.soft is None else kept.soft.cpu(),
            class_embeddings=kept.class_embeddings,
            non_object=kept.non_object,
            scale_shift=kept.scale_shift,
            scene=kept.scene,
            embedding_key=self.options.embedding_key,
            filled=None if boxes_xyxy is None else (boxes_xyxy[:, 2] > 0),  # type: ignore[arg-type]
            track_ids=track_ids,  # type: ignore[arg-type]  # None is found out there, as are the other two
            boxes_xyxy=boxes_xyxy,  # type: ignore[arg-type]
        )


def choose(proposals: Proposals, options: SegmenterOptions) -> Candidates:
    """The masks that stay, at most `max_masks`, in their order.

    Where CLIP alone names masks, those too small are dropped. Where the generator has a say, an empty mask
    stays, as in the paper: its soft values still count in the soft semantic map.
    """
    large = _areas(proposals.masks) >= options.min_mask_pixels
    candidates = torch.arange(len(large)) if options.uses_generator else large.nonzero()[:, 0]
    scores = proposals.scores.cpu()
    best = scores[candidates].argsort(descending=True, stable=True)[: options.max_masks]
    kept = candidates[best].sort().values
    return Candidates(proposals.take(kept.to(proposals.masks.device)), large[kept], options)


def _areas(masks: torch.Tensor) -> torch.Tensor:
    """(N,) int64 on the CPU: pixels of each of N masks, which stay where they are."""
    if masks.device.type != "cpu":
        return masks.flatten(1).count_nonzero(dim=1).cpu()  # all together: each answer would be waited for
    # In NumPy: ten times faster than a sum over bool, and in one thread.
    return torch.tensor([np.count_nonzero(mask.numpy()) for mask in masks], dtype=torch.int64)
