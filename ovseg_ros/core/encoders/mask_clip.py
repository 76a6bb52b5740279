"""CLIP that is told which patches are background: mask prompt tuning (OVSeg section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.encoders.text_cache import TextCache
from ovseg_ros.core.encoders.text_tower import encode_sentences
from ovseg_ros.core.encoders.timm_tower import is_timm_vit, prompt_shape, timm_vit_features
from ovseg_ros.core.encoders.vit_tower import is_vit, vit_features
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.words import VILD_TEMPLATES
from ovseg_ros.errors import ConfigError, InvalidInputError

Tokenizer = Callable[[list[str]], torch.Tensor]

PROMPT_STD = 0.02
"""Standard deviation of freshly initialised mask prompts, as in the paper's code."""


class MaskPromptedClip(nn.Module):
    """An open_clip model with learned tokens in place of background patches.

    With region masks, each patch token T becomes T⊗M + P⊗(1−M), where M is 1 for a patch that holds any
    pixel of the region and P is `mask_prompts[0]`: after the patch embedding, before class token and
    positional embedding. With depth d it happens again after transformer blocks 1 … d−1, with
    `mask_prompts[1 … d−1]`; the class token is never touched. Without prompts or without masks this is the
    plain model. Patch dropout, if the model has any, is skipped when masks are given, and without gradients.

    Attributes:
        mask_prompts: Parameter (depth, patches, width), or None. Gradients reach it through
            `encode_regions`; freeze the rest with `clip_model.requires_grad_(False)` to tune prompts alone.
        size: S, the input side in pixels.
        embedding_dim: D.
        logit_scale: multiplies cosines before the softmax.
        logit_bias: of a model trained with a sigmoid: logit_scale · cosine + logit_bias are its log odds that
            a text goes with an image. None of all others.
        mean: what the model subtracts from RGB in [0, 1].
        std: and divides by.
    """

    mask_prompts: nn.Parameter | None
    _rescale: torch.Tensor

    def __init__(
        self,
        clip_model: nn.Module,
        tokenizer: Tokenizer,
        mask_prompts: torch.Tensor | None = None,
        *,
        size: int | None = None,
        logit_scale: float | None = None,
        mean: tuple[float, ...] = CLIP_MEAN,
        std: tuple[float, ...] = CLIP_STD,
    ) -> None:
        """Wraps a model; nothing is copied.

        Args:
            clip_model: an open_clip `CLIP` or `CustomTextCLIP`; with prompts its image tower must be
                open_clip's VisionTransformer, or one of timm's (`is_timm_vit`).
            tokenizer: list of K texts -> (K, L) token ids, as open_clip.get_tokenizer gives (longer texts
                are cut there, at 77 tokens for OpenAI's).
            mask_prompts: (depth, patches, width); see `new_mask_prompts`.
            size: input side, by default the image tower's own.
            logit_scale: by default exp of the model's own.
            mean: three, the model's own normalisation; see there.
            std: three.

        Raises:
            ConfigError: a tower that cannot take prompts, prompts of another shape, a size not known.
        """
        super().__init__()
        self.clip_model: Any = clip_model
        self.tokenizer = tokenizer
        self.text_cache = TextCache()
        self.size = _input_side(clip_model) if size is None else size
        self.logit_scale = _own_logit_scale(clip_model) if logit_scale is None else float(logit_scale)
        self.logit_bias = _own_logit_bias(clip_model)
        self.embedding_dim = _embedding_dim(clip_model)
        self.mean, self.std = tuple(mean), tuple(std)
        self.register_buffer("_rescale", _rescaling(self.mean, self.std), persistent=False)
        if mask_prompts is None:
            self.mask_prompts = None
        else:
            _check_prompts(clip_model, mask_prompts)
            self.mask_prompts = nn.Parameter(mask_prompts.detach().clone())

    @property
    def device(self) -> torch.device:
        """Where the image tower lives, and where embeddings come back."""
        return _first_parameter(self.clip_model.visual).device

    def forward(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """The same as `encode_regions`, so that wrappers such as DataParallel work."""
        return self.encode_regions(pixels, region_masks)

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds masked crops. Differentiable; in `torch.no_grad()` the same with less work.

        Args:
            pixels: (N, 3, S, S) CLIP-normalised, from `crop_regions`.
            region_masks: (N, 1, S, S), above 0 where the region is; None, or no prompts, gives plain CLIP.

        Returns:
            (N, D) float32 unit rows on the model's device; (0, D) for N = 0.

        Raises:
            InvalidInputError: shapes are not as above.
        """
        side = self.size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, side, side):
            raise InvalidInputError(f"expected pixels (N,3,{side},{side}), got {tuple(pixels.shape)}")
        if region_masks is not None and region_masks.shape != (pixels.shape[0], 1, side, side):
            raise InvalidInputError(
                f"expected region_masks ({pixels.shape[0]},1,{side},{side}), got {tuple(region_masks.shape)}"
            )
        weight = _first_parameter(self.clip_model.visual)
        if pixels.shape[0] == 0:
            return torch.zeros((0, self.embedding_dim), device=weight.device)
        pixels, visual = self.rescaled(pixels.to(weight.device, weight.dtype)), self.clip_model.visual
        if self.mask_prompts is not None and region_masks is not None:
            prompted = vit_features if is_vit(visual) else timm_vit_features
            features = prompted(visual, pixels, region_masks.to(weight.device), self.mask_prompts)
        elif is_vit(visual) and not torch.is_grad_enabled():
            features = vit_features(visual, pixels)
        else:
            features = self.clip_model.encode_image(pixels)
        return F.normalize(features.float(), dim=-1)

    def rescaled(self, pixels: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) with CLIP's normalisation -> with the model's own, which most have in common."""
        if (self.mean, self.std) == (CLIP_MEAN, CLIP_STD):
            return pixels
        factors = self._rescale.to(pixels.dtype)
        return pixels * factors[0] + factors[1]

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """Embeds labels; each (label, templates) pair is encoded once and then comes from a cache.

        Args:
            labels: K words or phrases.
            templates: sentences with one `{}` each; the 14 of ViLD when None.

        Returns:
            (K, D) float32 unit rows on the model's device, without gradient; (0, D) for no labels.
        """
        if len(labels) == 0:
            return torch.zeros((0, self.embedding_dim), device=self.device)
        chosen = VILD_TEMPLATES if templates is None else templates

        @torch.no_grad()
        def encode(sentences: list[str]) -> torch.Tensor:
            ids = self.tokenizer(sentences).to(self.device)
            return encode_sentences(self.clip_model, ids)

        return self.text_cache.encode(labels, chosen, encode).to(self.device)


def new_mask_prompts(
    clip_model: nn.Module, depth: int = 3, *, generator: torch.Generator | None = None
) -> torch.Tensor:
    """Fresh mask prompts for a model: normal, standard deviation 0.02.

    Args:
        clip_model: an open_clip model with a VisionTransformer.
        depth: how many times background tokens are replaced, 1 … number of transformer blocks (paper: 3).
        generator: source of randomness, a CPU generator.

    Returns:
        (depth, patches, width) float32 on the CPU.

    Raises:
        ConfigError: the tower cannot take prompts, or depth is out of range.
    """
    blocks, patches, width = _prompt_shape(clip_model)
    if not 1 <= depth <= blocks:
        raise ConfigError(f"expected depth in 1…{blocks}, got {depth}")
    return PROMPT_STD * torch.randn(depth, patches, width, generator=generator)


def _prompt_shape(clip_model: nn.Module) -> tuple[int, int, int]:
    """(transformer blocks, patches, width) of a tower that can take prompts."""
    visual: Any = getattr(clip_model, "visual", None)
    if is_timm_vit(visual):
        return prompt_shape(visual)
    if not is_vit(visual):
        raise ConfigError(
            "mask prompts need a VisionTransformer of open_clip's or timm's as image tower, got "
            f"{type(getattr(visual, 'trunk', visual)).__name__}; use a ViT, or no prompts"
        )
    patches, width = visual.positional_embedding.shape
    return len(visual.transformer.resblocks), patches - 1, width


def _check_prompts(clip_model: nn.Module, prompts: torch.Tensor) -> None:
    blocks, patches, width = _prompt_shape(clip_model)
    if prompts.ndim != 3 or not 1 <= prompts.shape[0] <= blocks or prompts.shape[1:] != (patches, width):
        raise ConfigError(
            f"expected mask_prompts (1…{blocks},{patches},{width}) for this tower, got {tuple(prompts.shape)}"
        )


def _first_parameter(module: nn.Module) -> torch.Tensor:
    return next(module.parameters())


def _input_side(clip_model: nn.Module) -> int:
    side = getattr(getattr(clip_model, "visual", None), "image_size", None)
    if isinstance(side, int):
        return side
    if isinstance(side, (tuple, list)) and len(side) == 2 and side[0] == side[1]:
        return int(side[0])
    raise ConfigError(f"expected a square input, got image_size {side}; give size")


def _own_logit_scale(clip_model: Any) -> float:
    scale = getattr(clip_model, "logit_scale", None)
    return 100.0 if scale is None else math.exp(float(scale.detach()))


def _own_logit_bias(clip_model: Any) -> float | None:
    bias = getattr(clip_model, "logit_bias", None)
    return None if bias is None else float(bias.detach())


def _rescaling(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """(2,3,1,1): factor and summand that make of CLIP's normalisation another."""
    own_mean, own_std, clip_mean, clip_std = (
        torch.tensor(values, dtype=torch.float64) for values in (mean, std, CLIP_MEAN, CLIP_STD)
    )
    return torch.stack([clip_std / own_std, (clip_mean - own_mean) / own_std])[:, :, None, None].float()


def _embedding_dim(clip_model: Any) -> int:
    visual = clip_model.visual
    if isinstance(getattr(visual, "output_dim", None), int):
        return int(visual.output_dim)
    side, weight = _input_side(clip_model), _first_parameter(visual)
    with torch.no_grad():
        blank = torch.zeros((1, 3, side, side), device=weight.device, dtype=weight.dtype)
        return int(clip_model.encode_image(blank).shape[-1])
