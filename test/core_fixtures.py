"""A tiny CLIP with random weights, and stand-ins for proposers and encoders; no downloads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.core.frame import Frame, Proposals

TINY_SIDE, TINY_PATCH, TINY_WIDTH, TINY_DIM, TINY_LAYERS = 32, 8, 24, 16, 4
TINY_PATCHES = (TINY_SIDE // TINY_PATCH) ** 2


def tiny_clip(seed: int = 0, **vision: Any) -> torch.nn.Module:
    """An open_clip CLIP, 32 px input, 16 patches of width 24, 4 blocks, D = 16."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    torch.manual_seed(seed)
    vision_cfg = {
        "layers": TINY_LAYERS,
        "width": TINY_WIDTH,
        "head_width": 12,
        "patch_size": TINY_PATCH,
        "image_size": TINY_SIDE,
    }
    text = CLIPTextCfg(context_length=12, vocab_size=300, width=16, heads=2, layers=2)
    return CLIP(TINY_DIM, CLIPVisionCfg(**(vision_cfg | vision)), text).eval()


def tiny_tokenizer(texts: list[str]) -> torch.Tensor:
    """(K, 12) ids: bytes of the text, cut at 10, between a start and an end token."""
    ids = torch.zeros((len(texts), 12), dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        codes = list(text.encode())[:10]
        row[: len(codes) + 2] = torch.tensor([298, *codes, 299])
    return ids


class FixedProposer:
    """Gives the same masks for every frame."""

    def __init__(self, masks: torch.Tensor, scores: torch.Tensor | None = None) -> None:
        self.proposals = Proposals(masks, torch.ones(len(masks)) if scores is None else scores)

    def propose(self, frame: Frame) -> Proposals:
        return self.proposals


class ColourEncoder:
    """Embeds a region by its mean colour, and a colour's name by that colour: red, green, blue, black."""

    size, embedding_dim, logit_scale = 8, 4, 20.0

    def __init__(self) -> None:
        self.words = {"red": 0, "green": 1, "blue": 2, "crimson": 0}
        self.encoded: list[str] = []
        self.batches: list[int] = []

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        self.batches.append(len(pixels))
        assert region_masks is not None
        inside = (pixels * region_masks).sum(dim=(2, 3)) / region_masks.sum(dim=(2, 3))  # (N,3)
        return F.normalize(F.pad(inside - inside.mean(dim=1, keepdim=True), (0, 1)), dim=1)

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        self.encoded.extend(labels)
        rows = torch.zeros(len(labels), 4)
        for row, label in zip(rows, labels, strict=True):
            if label in self.words:
                row[:3] = -1 / 3
                row[self.words[label]] = 2 / 3
            else:
                row[3] = 1.0
        return F.normalize(rows, dim=1)
