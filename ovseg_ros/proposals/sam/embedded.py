"""What Segment Anything's encoder made of the last frame, and the masks that prompts get from it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.proposals.sam.images import resized
from ovseg_ros.proposals.sam.precision import SamInPrecision
from ovseg_ros.proposals.sam.prompts import Prompts

if TYPE_CHECKING:
    from segment_anything import SamPredictor


@dataclass(frozen=True)
class Embedded:
    """What the encoder made of one frame, for prompts that follow."""

    frame: weakref.ref[Frame]
    predictor: SamPredictor
    working_hw: tuple[int, int]


class LastFrame:
    """The embedding of the frame that was asked for last, for as long as that frame lives."""

    def __init__(self, model: SamInPrecision) -> None:
        """Holds none yet."""
        self._model = model
        self._kept: Embedded | None = None

    def of(self, frame: Frame, working_hw: tuple[int, int]) -> Embedded:
        """The frame's, encoded once.

        Args:
            frame: its image must not be written to between calls.
            working_hw: the size in which it is looked at.
        """
        kept = self._kept
        if kept is not None and kept.frame() is frame:
            return kept
        from segment_anything import SamPredictor

        self._kept = kept = None  # the old embedding's memory first
        predictor = SamPredictor(self._model)
        predictor.set_image(resized(frame.image_rgb, working_hw))
        self._kept = embedded = Embedded(weakref.ref(frame, self._forget), predictor, working_hw)
        return embedded

    def _forget(self, gone: weakref.ref[Frame]) -> None:
        if self._kept is not None and self._kept.frame is gone:
            self._kept = None


@torch.no_grad()
def prompted(
    model: SamInPrecision, embedded: Embedded, size_hw: tuple[int, int], prompts: Prompts, multimask: str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Decodes one batch of prompts.

    Args:
        model: that embedded the frame.
        embedded: see there.
        size_hw: of the frame.
        prompts: N >= 1, in pixels of the frame.
        multimask: "best", "all" or "single", see `SamProposals.propose_at`.

    Returns:
        (M,H,W) bool masks, (M,) scores and (M,h,w) logits, on the CPU.
    """
    scale = np.array(embedded.working_hw[::-1]) / size_hw[::-1]  # (x, y)
    predictor, working, device = embedded.predictor, embedded.working_hw, model.device
    points = labels = boxes = None
    if prompts.points_xy is not None:
        scaled = predictor.transform.apply_coords(prompts.points_xy * scale, working)  # (N,P,2)
        points = torch.as_tensor(scaled, dtype=torch.float32, device=device)
        labels = torch.as_tensor(prompts.labels, dtype=torch.int, device=device)
    if prompts.boxes_xyxy is not None:
        scaled = predictor.transform.apply_boxes(prompts.boxes_xyxy * np.tile(scale, 2), working)  # (N,4)
        boxes = torch.as_tensor(scaled, dtype=torch.float32, device=device)
    sparse, dense = model.prompt_encoder(
        points=None if points is None else (points, labels), boxes=boxes, masks=None
    )
    logits, scores = model.mask_decoder(
        image_embeddings=predictor.get_image_embedding(),
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask != "single",
    )  # (N,3|1,h,w), (N,3|1)
    if multimask == "best":
        rows, best = torch.arange(len(scores), device=scores.device), scores.argmax(dim=1)
        logits, scores = logits[rows, best][:, None], scores[rows, best][:, None]
    full = model.postprocess_masks(logits, predictor.input_size, size_hw)
    masks = full > model.mask_threshold
    return masks.flatten(0, 1).cpu(), scores.flatten().clamp(0, 1).cpu(), logits.flatten(0, 1).cpu()
