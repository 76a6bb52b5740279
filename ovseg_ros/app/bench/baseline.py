"""The method as it was released, which the benchmark compares ours with.

As OVSeg's released code goes about it: every frame anew; mask after mask cut out, blanked, normalised and
resized on its own; all of them in one batch through the encoder in float32; every class over every pixel; all
networks in torch. What the released code does beside that and nobody here needs (a second set of crops for
pictures, resizing maps to the size they have) is left out, which makes the baseline cheaper than it is.

The released evaluation code keeps the text embedding of each word it has seen; its web demo encodes the words
again for every picture (`words_anew`).

Written from a description, not from that code. Source: Liang et al., CVPR 2023, section 3; docs/speed.md.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench.clock import Stages
from ovseg_ros.core.device import wait_for
from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD, region_views
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.proposals.colour import ColourMasks
from ovseg_ros.proposals.union import UnionProposals


@dataclass(frozen=True)
class BaselineResult:
    """What the baseline found.

    Attributes:
        embeddings: (M, D) unit rows of the masks that are not empty.
        probs: (M, K) over the labels.
        label_map: (H, W) int64 index of the label, 255 where no mask is.
    """

    embeddings: torch.Tensor
    probs: torch.Tensor
    label_map: torch.Tensor


class Baseline:
    """Propose, crop, encode, text, classify, compose; from frame to frame nothing is kept but words."""

    def __init__(self, segmenter: OpenVocabularySegmenter) -> None:
        """Takes a segmenter's proposals, words and weights; a CLIP's copied, in float32.

        Raises:
            ConfigError: an encoder that is neither a CLIP nor the one of `lite`.
        """
        clip = in_32_bits(segmenter.clip)
        if not isinstance(clip, MaskPromptedClip | AdaptedClassifier):
            raise ConfigError(
                f"the baseline needs a CLIP to run, got {type(clip).__name__}; take the preset mini or lite, "
                "or one whose encoder is of kind clip"
            )
        self.segmenter = segmenter.rebuilt(proposer=in_torch_32(segmenter.proposer))
        self.clip, self.device = clip, segmenter.device
        self.size, self.logit_scale = clip.size, clip.logit_scale
        self.templates, self.background = segmenter.options.templates, segmenter.options.background
        self._words: dict[str, torch.Tensor] = {}
        self.is_clip = isinstance(clip, MaskPromptedClip)
        if isinstance(clip, MaskPromptedClip):
            prompts = clip.mask_prompts
            self.clip_model, self.tokenizer = copy.deepcopy(clip.clip_model).float(), clip.tokenizer
            self.prompts = None if prompts is None else prompts.detach().clone().float()  # (depth,P,W)

    @torch.no_grad()
    def frame(
        self, frame: Frame, labels: Sequence[str], *, words_anew: bool = False
    ) -> tuple[BaselineResult, Stages]:
        """One frame from pixels to label map, and the seconds of each stage."""
        stages, last = {}, time.perf_counter()

        def ends(stage: str) -> None:
            nonlocal last
            wait_for(self.device)
            stages[stage], last = time.perf_counter() - last, time.perf_counter()

        candidates = self.segmenter.propose(frame)  # ours has no more masks than these either
        masks = candidates.proposals.masks[candidates.is_encodable].to(self.device)
        ends("propose")
        pixels, region_masks = self._crops(frame, masks)
        ends("crop")
        embeddings = F.normalize(self._encode(pixels, region_masks), dim=-1) if len(pixels) else pixels
        ends("encode")
        words = self.encode_words(labels, anew=words_anew)
        ends("text")
        probs = masks.new_zeros((len(masks), len(labels)), dtype=torch.float32)
        if len(masks):
            probs = (self.logit_scale * embeddings @ words.T).softmax(dim=-1)[:, : len(labels)]
        ends("classify")
        label_map = compose(masks, probs).cpu()
        ends("compose")
        return BaselineResult(embeddings.cpu(), probs.cpu(), label_map), stages

    @torch.no_grad()
    def encode_words(self, labels: Sequence[str], *, anew: bool = False) -> torch.Tensor:
        """(K+B, D) unit rows of the labels and of the background words that are none of them.

        Raises:
            ConfigError: words anew of an encoder that is no CLIP, which keeps them itself.
        """
        words = [*labels, *(word for word in self.background if word not in labels)]
        if not self.is_clip:
            if anew:
                raise ConfigError(f"expected a CLIP to encode words anew, got {type(self.clip).__name__}")
            return self.clip.encode_text(words, self.templates)  # type: ignore[no-any-return]
        for word in words:
            if anew or word not in self._words:
                sentences = [template.replace("{}", word) for template in self.templates]
                rows = self.clip_model.encode_text(self.tokenizer(sentences).to(self.device))
                self._words[word] = F.normalize(F.normalize(rows, dim=-1).mean(dim=0), dim=0)
        return torch.stack([self._words[word] for word in words])

    def _crops(self, frame: Frame, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As `crop`; for an encoder that is no CLIP as the preset has them, mask after mask."""
        if self.is_clip or not len(masks):
            return crop(frame, masks, self.size)
        views = [region_views(frame, one, self.size, self.segmenter.options)[0] for one in masks.split(1)]
        return torch.cat([pixels for pixels, _ in views]), torch.cat(
            [inside for _, inside in views if inside is not None]
        )

    def _encode(self, pixels: torch.Tensor, region_masks: torch.Tensor) -> torch.Tensor:
        if not self.is_clip:
            return self.clip.encode_regions(pixels, region_masks)  # type: ignore[no-any-return]
        if self.prompts is None:
            features: torch.Tensor = self.clip_model.encode_image(pixels)
            return features
        return encode_with_prompts(self.clip_model.visual, self.prompts, pixels, region_masks)


def in_torch_32(proposer: Any) -> Any:
    """The generator with its colour mask networks run by torch in float32."""
    if isinstance(proposer, UnionProposals):
        return UnionProposals([in_torch_32(member) for member in proposer.members], proposer.options)
    if isinstance(proposer, ColourMasks):
        options = replace(proposer.options, precision="fp32", runtime="torch")
        return ColourMasks(proposer.backbone, proposer.network, options, proposer.device)
    return proposer


def in_32_bits(clip: Any) -> Any:
    """The encoder itself, without what runs its image tower in 16 bits."""
    return getattr(clip, "encoder", clip)


def crop(frame: Frame, masks: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask after mask: its tight box, the rest of it in CLIP's mean colour, normalised, squashed to a square.

    Args:
        frame: its colour image is cut.
        masks: (M, H, W) bool, none of them empty.
        size: S in pixels.

    Returns:
        (M, 3, S, S) float32 normalised pixels and (M, 1, S, S) float32 masks in {0, 1}.
    """
    device = masks.device
    image = torch.from_numpy(frame.image_rgb.copy()).to(device).permute(2, 0, 1).float()  # (3,H,W)
    mean, std = (255 * torch.tensor(values, device=device)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    regions, region_masks = [], []
    for mask in masks:
        rows, columns = mask.any(dim=1).nonzero()[:, 0], mask.any(dim=0).nonzero()[:, 0]
        y0, y1, x0, x1 = (int(edge) for edge in (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1))
        inside = mask[None, y0:y1, x0:x1].float()
        region = image[:, y0:y1, x0:x1] * inside + mean * (1 - inside)
        region = (region - mean) / std
        regions.append(F.interpolate(region[None], (size, size), mode="bicubic", align_corners=False))
        region_masks.append(F.interpolate(inside[None], (size, size), mode="nearest"))
    if not regions:
        return torch.zeros((0, 3, size, size), device=device), torch.zeros((0, 1, size, size), device=device)
    return torch.cat(regions), torch.cat(region_masks)


def encode_with_prompts(
    visual: Any, prompts: torch.Tensor, pixels: torch.Tensor, region_masks: torch.Tensor
) -> torch.Tensor:
    """open_clip's VisionTransformer with learned tokens where a patch is all background; (M, D)."""
    share = F.avg_pool2d(region_masks, visual.conv1.kernel_size).flatten(1)[:, :, None]
    keep = share.ceil()  # (M,P,1): 1 where any pixel of the patch is inside
    x = visual.conv1(pixels).flatten(2).transpose(1, 2)  # (M,P,W)
    x = x * keep + prompts[0] * (1 - keep)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    x = visual.ln_pre(x)
    for number, block in enumerate(visual.transformer.resblocks, start=1):
        x = block(x)
        if number < len(prompts):
            x = torch.cat([x[:, :1], x[:, 1:] * keep + prompts[number] * (1 - keep)], dim=1)
    pooled, _ = visual._pool(x)
    features: torch.Tensor = pooled if visual.proj is None else pooled @ visual.proj
    return features


def compose(masks: torch.Tensor, probs: torch.Tensor) -> torch.Tensor:
    """(H, W) int64: the class whose probabilities, summed over the masks at a pixel, are highest there."""
    covered = masks.any(dim=0)
    if not covered.any() or not probs.shape[1]:
        return torch.full(masks.shape[1:], 255, device=masks.device)
    per_class = torch.einsum("qc,qhw->chw", probs, masks.float())  # (K,H,W)
    return torch.where(covered, per_class.argmax(dim=0), 255)
