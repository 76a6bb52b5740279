"""A SAM 2 network of transformers, asked in a precision: an image once, then prompts or its memory."""

from __future__ import annotations

import copy
import itertools
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import Network, Precision, check_device, repaired, under_autocast
from ovseg_ros.proposals.sam.precision import CHECK_POINTS, PrecisionReport, against_fp32
from ovseg_ros.proposals.sam.prompts import Prompts

CUT = 0.0
"""Logit above which a pixel is in the mask."""

Features = tuple[torch.Tensor, ...]
"""What the image encoder gives, fine to coarse, float32: (1, C, h, w) at strides 4, 8 and 16, for prompts.
After that, of a network for video, the same as its memory reads it, (h·w, 1, C), and three codes of place."""

_LEVELS = 3


class Sam2Network:
    """A `Sam2Model` or `EdgeTamModel`, its heavy parts in 16 bits where asked for; or one of those for video.

    The prompt encoder stays in float32: it takes sines of angles of some tens of radians, of which 16 bits
    would leave no position. What overflows in 16 bits is computed again in float32, with a warning the first
    time. Nothing here has a gradient.

    Attributes:
        video: the whole network where it is one for video, with the same parts for images; else None.
    """

    def __init__(self, model: nn.Module, precision: Precision = "fp32", *, repair: bool = True) -> None:
        """Wraps a network.

        Args:
            model: on its device, in evaluation mode; see `models.sam2`. With memory or without.
            precision: "fp32" leaves autocast out.
            repair: False hands on what is not finite.

        Raises:
            ConfigError: another word, or one the device cannot do.
        """
        from transformers import Sam2ImageProcessor

        self.video: Any = model if hasattr(model, "memory_encoder") else None
        self.model: Any = model if self.video is None else _image_part(self.video)
        self.device = next(model.parameters()).device
        self.side: int = self.model.config.prompt_encoder_config.image_size
        self.precision = check_device(precision, self.device)
        self._repairs = repair
        self._processor = Sam2ImageProcessor(size={"height": self.side, "width": self.side})
        self._mixed = _mixed(self.model)
        self._mixed_video = None if self.video is None else _mixed(self.video)
        self._encode, self._decode = (
            under_autocast(half, self.precision, self.device) for half in (self.features_of, self._prompts)
        )
        self._remember = under_autocast(self._video_step, self.precision, self.device)
        if repair and self.precision != "fp32":
            full = (under_autocast(half, "fp32", self.device) for half in (self.features_of, self._prompts))
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

    def new_session(self, frame: int, mask: torch.Tensor) -> Any:
        """What a network for video remembers of one thing, before its first `step`.

        Args:
            frame: number of the frame in which it begins.
            mask: (H, W) bool of it in that frame.
        """
        session = self._video_processor.init_video_session(inference_device=self.device)
        self._video_processor.process_new_mask_for_video_frame(session, frame, [0], [mask])
        return session

    @cached_property
    def _video_processor(self) -> Any:
        from transformers import Sam2VideoProcessor, Sam2VideoVideoProcessor

        return Sam2VideoProcessor(self._processor, Sam2VideoVideoProcessor(), target_size=self.side)

    def step(self, session: Any, frame: int, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """One thing in one frame, remembered in its session.

        Args:
            session: of `new_session`; it has seen all frames from its first to the one before.
            frame: its number.
            features: of its image.

        Returns:
            (h, w) float32 logits, and () float32 in (0, 1) whether it is in view.
        """
        seen, places = features[_LEVELS : 2 * _LEVELS], features[2 * _LEVELS :]
        session.cache.cache_vision_features(
            frame, {"vision_feats": list(seen), "vision_pos_embeds": list(places)}
        )
        logits, presence = self._remember(session, frame)
        return logits[0, 0], presence.flatten()[0].sigmoid()

    def _video_step(self, session: Any, frame: int) -> tuple[torch.Tensor, torch.Tensor]:
        no_pixels = torch.empty(0)  # they are asked for of a stream, and not looked at beside features
        out = self._mixed_video(session, frame_idx=frame, frame=no_pixels)
        return out.pred_masks, out.object_score_logits  # (1,1,h,w), (1,1)

    def _tensor(self, values: npt.NDArray[np.float64]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, torch.float32)

    def encode_by(self, program: Network) -> None:
        """Has something else run the image encoder; what is not finite then, torch computes in float32."""
        self._encode = program
        if self._repairs:
            exact = under_autocast(self.features_of, "fp32", self.device)
            name = f"{type(self.model).__name__}'s image encoder"
            self._encode = repaired(program, exact, name=name, precision="another runtime")

    def features_of(self, pixels: torch.Tensor) -> Features:
        """What the image encoder gives of pixels (1, 3, S, S), in whatever precision is around it."""
        if self._mixed_video is None:
            return tuple(self._mixed.get_image_embeddings(pixels))
        out = self._mixed_video.get_image_features(pixels, return_dict=True)
        seen, places = out.fpn_hidden_states, out.fpn_position_encoding  # (h·w,1,C) each
        *fine, coarse = seen
        prompted = (*fine, coarse + self._mixed.no_memory_embedding)  # as `get_image_embeddings` has it
        sizes = self._mixed.backbone_feature_sizes
        maps = (part.permute(1, 2, 0).unflatten(2, size) for part, size in zip(prompted, sizes, strict=True))
        return (*maps, *seen, *places)

    def _prompts(
        self,
        features: Features,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out = self._mixed(
            image_embeddings=list(features[:_LEVELS]),
            input_points=points,
            input_labels=labels,
            input_boxes=boxes,
            multimask_output=multimask,
        )
        return out.pred_masks, out.iou_scores  # (1,N,M,h,w), (1,N,M)


def _mixed(model: Any) -> Any:
    """The same weights, the prompt encoder in float32 whatever is around it."""
    mixed = copy.copy(model)
    exact = {name: _Exact(getattr(model, name)) for name in ("prompt_encoder", "shared_image_embedding")}
    mixed._modules = {**model._modules, **exact}
    return mixed


def _image_part(video: Any) -> Any:
    """The network for single images that a network for video holds; the weights are shared."""
    import transformers

    kinds = {"sam2_video": transformers.Sam2Model, "edgetam_video": transformers.EdgeTamModel}
    network = kinds[video.config.model_type]
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    said = {name: copy.deepcopy(getattr(video.config, name).to_dict()) for name in parts}
    with torch.device("meta"):  # its own weights are never made
        image = network(network.config_class(**said))
    for name in image._modules:
        setattr(image, name, getattr(video, name))
    image.no_memory_embedding = video.no_memory_embedding
    return image.eval()


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
            return self.part(*map(_in_32_bits, args), **{key: _in_32_bits(v) for key, v in kwargs.items()})


def _in_32_bits(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def grid_prompts(points_xy: npt.NDArray[np.float64], size_hw: tuple[int, int]) -> Prompts:
    """One point per prompt, from (N, 2) x, y in (0, 1)."""
    points = points_xy[:, None] * np.array(size_hw[::-1], np.float64)  # (N,1,2)
    return Prompts(None, points, np.ones(points.shape[:2], np.int64))


def check_prompts(size_hw: tuple[int, int]) -> Prompts:
    """The points on whose masks a network is held against itself."""
    steps = (np.arange(CHECK_POINTS) + 0.5) / CHECK_POINTS
    return grid_prompts(np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2), size_hw)


def check_precision(
    model: nn.Module,
    precision: Precision,
    image_rgb: npt.NDArray[np.uint8] | None = None,
    *,
    tolerance: float = 0.05,
) -> PrecisionReport:
    """As `proposals.sam.precision.check_precision`, of a network that `Sam2Network` takes."""

    def ask(one: Precision, image: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, ...]:
        size_hw = image.shape[0], image.shape[1]
        network = Sam2Network(model, one, repair=False)
        features = network.embed(image)
        return (*network.decode(features, check_prompts(size_hw), size_hw, multimask=True), *features)

    return against_fp32(ask, precision, image_rgb, cut=CUT, tolerance=tolerance)
