"""A SAM 2 network of transformers, asked in a precision: an image once, then prompts by the batch."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import Precision, check_device, is_finite, repaired, under_autocast
from ovseg_ros.proposals.sam.precision import CHECK_POINTS, CHECK_SIDE, PrecisionReport, check_image, compared
from ovseg_ros.proposals.sam.prompts import Prompts

CUT = 0.0
"""Logit above which a pixel is in the mask."""

Features = tuple[torch.Tensor, ...]
"""What the image encoder gives, fine to coarse, float32: (1, C, h, w) at strides 4, 8 and 16."""


class Sam2Network:
    """A `Sam2Model` or `EdgeTamModel`, its heavy parts in 16 bits where asked for.

    The prompt encoder stays in float32: it takes sines of angles of some tens of radians, of which 16 bits
    would leave no position. What overflows in 16 bits is computed again in float32, with a warning the first
    time. Nothing here has a gradient.
    """

    def __init__(self, model: nn.Module, precision: Precision = "fp32", *, repair: bool = True) -> None:
        """Wraps a network.

        Args:
            model: on its device, in evaluation mode; see `models.sam2`.
            precision: "fp32" leaves autocast out.
            repair: False hands on what is not finite.

        Raises:
            ConfigError: another word, or one the device cannot do.
        """
        from transformers import Sam2ImageProcessor

        self.model: Any = model
        self.device = next(model.parameters()).device
        self.side: int = self.model.config.prompt_encoder_config.image_size
        self.precision = check_device(precision, self.device)
        self._processor = Sam2ImageProcessor(size={"height": self.side, "width": self.side})
        self._mixed: Any = copy.copy(model)  # the same weights
        exact = {name: _Exact(getattr(model, name)) for name in ("prompt_encoder", "shared_image_embedding")}
        self._mixed._modules = {**model._modules, **exact}
        self._encode, self._decode = (
            under_autocast(half, self.precision, self.device) for half in (self._image, self._prompts)
        )
        if repair and self.precision != "fp32":
            full = (under_autocast(half, "fp32", self.device) for half in (self._image, self._prompts))
            self._encode, self._decode = (
                repaired(short, fp32, name=f"{type(model).__name__}'s {part}", precision=self.precision)
                for short, fp32, part in zip(
                    (self._encode, self._decode), full, ("image encoder", "mask decoder"), strict=True
                )
            )

    def embed(self, image_rgb: npt.NDArray[np.uint8]) -> Features:
        """What prompts are answered from, of an image (H, W, 3) uint8, stretched to the square input."""
        pixels = torch.from_numpy(np.ascontiguousarray(image_rgb)).to(self.device).permute(2, 0, 1)
        batch = self._processor(
            pixels, input_data_format="channels_first", return_tensors="pt", device=self.device
        )
        features: Features = self._encode(batch["pixel_values"])
        return features

    def decode(
        self, features: Features, prompts: Prompts, size_hw: tuple[int, int], *, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The masks of one batch of prompts.

        Args:
            features: of the image.
            prompts: N >= 1, in pixels of the image.
            size_hw: of the image.
            multimask: three answers to each prompt, or one.

        Returns:
            (N, M, h, w) float32 logits on a grid over the whole image, a quarter of the input's side, and
            (N, M) float32 predicted IoU, on the device; M is 3 or 1.
        """
        scale = torch.tensor([self.side / size_hw[1], self.side / size_hw[0]], device=self.device)  # x, y
        points = labels = boxes = None
        if prompts.points_xy is not None and prompts.labels is not None:
            points = self._tensor(prompts.points_xy)[None] * scale  # (1,N,P,2)
            labels = torch.from_numpy(prompts.labels).to(self.device)[None]  # (1,N,P)
        if prompts.boxes_xyxy is not None:
            boxes = self._tensor(prompts.boxes_xyxy)[None] * scale.repeat(2)  # (1,N,4)
        logits, ratings = self._decode(features, points, labels, boxes, multimask)
        return logits[0], ratings[0]

    def _tensor(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, torch.float32)

    def _image(self, pixels: torch.Tensor) -> Features:
        return tuple(self._mixed.get_image_embeddings(pixels))

    def _prompts(
        self,
        features: Features,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out = self._mixed(
            image_embeddings=list(features),
            input_points=points,
            input_labels=labels,
            input_boxes=boxes,
            multimask_output=multimask,
        )
        return out.pred_masks, out.iou_scores  # (1,N,M,h,w), (1,N,M)


class _Exact(nn.Module):
    """A part that runs in float32 whatever autocast is around it; all else is the part's own."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._modules["part"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        device = next(itertools.chain(self.part.parameters(), self.part.buffers())).device
        with torch.autocast(device.type, enabled=False):
            return self.part(*args, **kwargs)


def grid_prompts(points_xy: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> Prompts:
    """One point per prompt, from (N, 2) x, y in (0, 1)."""
    points = points_xy[:, None] * np.array(size_hw[::-1], np.float64)  # (N,1,2)
    return Prompts(None, points, np.ones(points.shape[:2], np.int64))


def check_precision(
    model: nn.Module,
    precision: Precision,
    image_rgb: npt.NDArray[np.uint8] | None = None,
    *,
    tolerance: float = 0.05,
) -> PrecisionReport:
    """Runs a network in float32 and in another precision on one image and compares the masks.

    Args:
        model: on its device; not changed.
        precision: "bf16" or "fp16" ("fp32" compares it with itself).
        image_rgb: (H, W, 3) uint8; None takes `check_image`.
        tolerance: largest 1 - mask IoU and largest difference of predicted IoU, both as means.

    Returns:
        What came out; disagreement is reported, not raised.

    Raises:
        ConfigError: the device cannot do `precision` at all, or the tolerance is negative.
    """
    image = check_image(CHECK_SIDE) if image_rgb is None else image_rgb
    size_hw = image.shape[0], image.shape[1]
    steps = (np.arange(CHECK_POINTS) + 0.5) / CHECK_POINTS
    prompts = grid_prompts(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), size_hw)
    answers = []
    for network in (Sam2Network(model), Sam2Network(model, precision, repair=False)):
        features = network.embed(image)
        answer = network.decode(features, prompts, size_hw, multimask=True)
        answers.append((answer, is_finite((*features, *answer))))
    (exact, _), (short, finite) = answers
    return compared(exact, short, CUT, precision, tolerance, finite=finite)
