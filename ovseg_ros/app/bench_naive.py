"""The plain way through the method, which the benchmark compares ours with.

As OVSeg's released code goes about it: every frame anew; mask after mask cut out, blanked, normalised and
resized on its own; all of them in one batch through CLIP in float32; every class over every pixel. What the
released code does beside that and nobody here needs (a second set of crops for pictures, resizing maps to the
size they have) is left out, which makes this way cheaper than it is.

The released evaluation code keeps the text embedding of each word it has seen; its web demo encodes the words
again for every picture. `text="cached"` and `text="anew"` are these two.

Written from a description, not from that code. Source: Liang et al., CVPR 2023, section 3; docs/speed.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench_clock import Stages, Watch
from ovseg_ros.core.frame import Frame, Proposer
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD

BATCH = 256  # sentences at once through the text tower


@dataclass(frozen=True)
class NaiveResult:
    """What the plain way found.

    Attributes:
        embeddings: (M, D) unit rows of the masks that are not empty.
        probs: (M, K) over the labels.
        label_map: (H, W) int64 index of the label, 255 where no mask is.
    """

    embeddings: torch.Tensor
    probs: torch.Tensor
    label_map: torch.Tensor


class NaivePath:
    """Propose, crop, encode, text, label, compose; nothing is carried over from frame to frame but words."""

    def __init__(
        self,
        proposer: Proposer,
        clip_model: Any,
        tokenizer: Any,
        *,
        size: int,
        logit_scale: float,
        templates: Sequence[str],
        background: Sequence[str] = (),
        mask_prompts: torch.Tensor | None = None,
        text: Literal["cached", "anew"] = "cached",
        device: torch.device | str = "cpu",
    ) -> None:
        """Puts it together.

        Args:
            proposer: gives the masks.
            clip_model: an open_clip model in float32 on `device`, with a VisionTransformer if there are
                prompts.
            tokenizer: list of texts -> token ids.
            size: side of the model's input in pixels.
            logit_scale: multiplies cosines.
            templates: sentences around each word.
            background: words that compete with the labels; the released code has one learned row there.
            mask_prompts: (depth, patches, width), or None.
            text: see above.
            device: where it runs.
        """
        self.proposer, self.clip_model, self.tokenizer = proposer, clip_model, tokenizer
        self.size, self.logit_scale = size, logit_scale
        self.templates, self.background = tuple(templates), tuple(background)
        self.prompts, self.text, self.device = mask_prompts, text, torch.device(device)
        self.words: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def frame(self, frame: Frame, labels: Sequence[str]) -> tuple[NaiveResult, Stages]:
        """One frame from pixels to label map, and the seconds of each stage."""
        watch = Watch(self.device)
        masks = self.proposer.propose(frame).masks.to(self.device)
        masks = masks[masks.flatten(1).any(dim=1)]
        watch("propose")
        pixels, region_masks = crop(frame, masks, self.size)
        watch("crop")
        embeddings = F.normalize(self._encode(pixels, region_masks), dim=-1) if len(pixels) else pixels
        watch("encode")
        rivals = [word for word in self.background if word not in labels]
        words = torch.stack([self._word(word) for word in (*labels, *rivals)])  # (K+B,D)
        watch("text")
        probs = masks.new_zeros((len(masks), len(labels)), dtype=torch.float32)
        if len(masks):
            probs = (self.logit_scale * embeddings @ words.T).softmax(dim=-1)[:, : len(labels)]
        watch("label")
        label_map = compose(masks, probs).cpu()
        watch("compose")
        return NaiveResult(embeddings.cpu(), probs.cpu(), label_map), watch.stages

    def _encode(self, pixels: torch.Tensor, region_masks: torch.Tensor) -> torch.Tensor:
        if self.prompts is None:
            features: torch.Tensor = self.clip_model.encode_image(pixels)
            return features
        return encode_with_prompts(self.clip_model.visual, self.prompts, pixels, region_masks)

    def _word(self, word: str) -> torch.Tensor:
        if self.text == "cached" and word in self.words:
            return self.words[word]
        sentences = [template.replace("{}", word) for template in self.templates]
        rows = F.normalize(self.clip_model.encode_text(self.tokenizer(sentences).to(self.device)), dim=-1)
        self.words[word] = F.normalize(rows.mean(dim=0), dim=0)
        return self.words[word]


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
