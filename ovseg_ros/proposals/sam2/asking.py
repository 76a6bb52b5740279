"""A SAM 2 network asked on a frame: encoded once, prompts in batches, and which of the answers are good."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.proposals.sam.limits import Limits
from ovseg_ros.proposals.sam.prompts import Prompts, read_prompts
from ovseg_ros.proposals.sam2.candidates import Candidates, made
from ovseg_ros.proposals.sam2.masks import full_stability, stability
from ovseg_ros.proposals.sam2.network import CUT, Features, Sam2Network
from ovseg_ros.proposals.sam2.options import Sam2Options


class Asking:
    """Asks a network, and keeps the features of the last frame for as long as that lives."""

    def __init__(self, network: Sam2Network, options: Sam2Options, limits: Limits) -> None:
        """See the class; `limits` says how many prompts go at once."""
        self.network, self.options, self._limits = network, options, limits
        self._embedded: tuple[weakref.ref[Frame], Features] | None = None

    def embed(self, frame: Frame) -> Features:
        """The frame's features, encoded once; its image must not be written to between calls."""
        if self._embedded is not None and self._embedded[0]() is frame:
            return self._embedded[1]
        self._embedded = None  # the old features' memory first
        features = self.network.embed(frame.image_rgb)
        self._embedded = weakref.ref(frame, self._forget), features
        return features

    def answers(
        self, frame: Frame, prompts: Prompts, *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, M, h, w) logits and (N, M) predicted IoU of N >= 1 prompts."""
        features = self.embed(frame)
        parts = [
            self.network.decode(features, part, frame.size_hw, multimask=multimask)
            for part in self._batches(prompts)
        ]
        logits, rated = (torch.cat(column) for column in zip(*parts, strict=True))
        return logits, rated

    def of_boxes(
        self, frame: Frame, boxes_xyxy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, h, w) logits, (N,) scores and (N,) bool whether both thresholds are passed."""
        prompts = read_prompts(frame.size_hw, boxes_xyxy, None, None)
        logits, rated = (part[:, 0] for part in self.answers(frame, prompts, multimask=False))
        options = self.options
        stable = stability(logits, CUT, options.stability_score_offset)
        is_good = (rated > options.pred_iou_thresh) | (options.pred_iou_thresh == 0)
        is_good &= (stable > options.stability_score_thresh) | (options.stability_score_thresh == 0)
        return logits, rated.clamp(0, 1) * stable, is_good

    def boxed(self, frame: Frame, boxes_xyxy: torch.Tensor) -> Candidates:
        """One mask per box, without those that the network rates low or that change when the cut moves."""
        logits, rated, is_good = self.of_boxes(frame, boxes_xyxy)
        return made(logits[is_good], rated[is_good], CUT)

    def gridded(self, frame: Frame, prompts: Prompts) -> Candidates:
        """The grid's masks as `Sam2ImageProcessor.filter_masks` filters them, each box once."""
        from torchvision.ops import nms

        options, parts = self.options, []
        features = self.embed(frame)
        for part in self._batches(prompts):
            logits, rated = self.network.decode(features, part, frame.size_hw, multimask=True)
            logits, rated = logits.flatten(0, 1), rated.flatten()
            if options.pred_iou_thresh > 0:
                keep = rated > options.pred_iou_thresh
                logits, rated = logits[keep], rated[keep]
            stable, boxes = full_stability(logits, frame.size_hw, CUT, options.stability_score_offset)
            if options.stability_score_thresh > 0:
                keep = stable > options.stability_score_thresh
                logits, rated, stable, boxes = logits[keep], rated[keep], stable[keep], boxes[keep]
            parts.append((logits, rated, stable, boxes))
        logits, rated, stable, boxes = (torch.cat(column) for column in zip(*parts, strict=True))
        keep = nms(boxes, rated, options.box_nms_thresh)
        return made(logits[keep], rated[keep].clamp(0, 1) * stable[keep], CUT)

    def _batches(self, prompts: Prompts) -> Iterator[Prompts]:
        batch = max(1, self.options.prompts_per_batch // self._limits.share)
        for start in range(0, len(prompts), batch):
            yield prompts.part(start, batch)

    def _forget(self, gone: weakref.ref[Frame]) -> None:
        if self._embedded is not None and self._embedded[0] is gone:
            self._embedded = None
