"""What is known about one frame before the words: its masks and their embeddings."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.core.soft_masks import SoftMasks

if TYPE_CHECKING:
    from ovseg_ros.core.scene import Scene


@dataclass(frozen=True)
class EmbeddedFrame:
    """Masks of one frame and their embeddings; knows nothing of words.

    Attributes:
        frame: the input.
        masks: (N, H, W) bool on the CPU, N >= 0; may overlap.
        mask_scores: (N,) float32 in [0, 1], how sure the proposer is.
        embeddings: (N, D) float32 unit rows, on the encoder's device; zeros for masks CLIP has not seen.
        timings: seconds per stage.
        has_clip_embedding: (N,) bool, which masks CLIP has seen; all of them by default.
        filled: (N,) bool, which masks have a pixel; found out once, as every query needs it.
        soft: the N masks before the threshold, None from generators that have none.
        class_embeddings: (N, C) float32, the generator's own, None from generators that do not classify.
        non_object: (B, C) float32 rows that compete where class embeddings are compared with text, or None.
        scale_shift: (N, 2) float32 of generators whose scores are absolute, see `Proposals`; None of others.
        scene: what words find masks in, see `Proposals`; None where the masks are those that there are.
        embedding_key: `SegmenterOptions.embedding_key` it was embedded under; None: not known.
        track_ids: (N,) int64 on the CPU, the same for the same thing from frame to frame, 0 for a mask that
            is not tracked; all 0 by default.
        boxes_xyxy: (N, 4) int64, the tight box of each mask, the last two exclusive, zeros for an empty mask;
            found out here where it is not given.
    """

    frame: Frame
    masks: torch.Tensor
    mask_scores: torch.Tensor
    embeddings: torch.Tensor
    timings: Mapping[str, float] = field(default_factory=dict)
    has_clip_embedding: torch.Tensor = None  # type: ignore[assignment]  # set below, as are three more
    filled: torch.Tensor = None  # type: ignore[assignment]
    soft: SoftMasks | None = None
    class_embeddings: torch.Tensor | None = None
    non_object: torch.Tensor | None = None
    scale_shift: torch.Tensor | None = None
    scene: Scene | None = None
    embedding_key: tuple[Hashable, ...] | None = None
    track_ids: torch.Tensor = None  # type: ignore[assignment]
    boxes_xyxy: torch.Tensor = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.has_clip_embedding is None:
            object.__setattr__(self, "has_clip_embedding", torch.ones(len(self), dtype=torch.bool))
        if self.filled is None or self.boxes_xyxy is None:
            boxes_xyxy, filled = mask_boxes(self.masks)
            object.__setattr__(self, "boxes_xyxy", boxes_xyxy)
            object.__setattr__(self, "filled", filled)
        if self.track_ids is None:
            object.__setattr__(self, "track_ids", torch.zeros(self.masks.shape[0], dtype=torch.int64))

    def __len__(self) -> int:
        return self.masks.shape[0]

    def take(self, index: torch.Tensor) -> EmbeddedFrame:
        """Some of the masks with all that belongs to them, by (M,) int64 index on the CPU."""
        given, odds = self.class_embeddings, self.scale_shift
        return replace(
            self,
            masks=self.masks[index],
            mask_scores=self.mask_scores[index.to(self.mask_scores.device)],
            embeddings=self.embeddings[index.to(self.embeddings.device)],
            has_clip_embedding=self.has_clip_embedding[index.to(self.has_clip_embedding.device)],
            filled=self.filled[index.to(self.filled.device)],
            soft=None if self.soft is None else self.soft.take(index),
            class_embeddings=None if given is None else given[index.to(given.device)],
            scale_shift=None if odds is None else odds[index.to(odds.device)],
            track_ids=self.track_ids[index],
            boxes_xyxy=self.boxes_xyxy[index],
        )

    def is_classifiable(self, options: SegmenterOptions) -> torch.Tensor:
        """(N,) bool: which masks somebody has an opinion on; where CLIP alone has, those it has seen."""
        return self.has_clip_embedding | options.uses_generator
