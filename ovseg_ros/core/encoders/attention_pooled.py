"""One pass for all masks with a transformer whose last step is a query that attends to patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, Tokenizer
from ovseg_ros.core.encoders.pooled_clip import OnePass, cell_shares
from ovseg_ros.core.encoders.timm_tower import attends_to_pool, timm_vit_masked_pool, timm_vit_tokens
from ovseg_ros.errors import ConfigError


class AttentionPooledClip(OnePass, MaskPromptedClip):
    """SigLIP or Perception Encoder of open_clip: embeds masks as crops, or all in one pass over the image.

    For the one pass the image is squashed to the tower's own square, as in its training; then each mask's
    patches alone are shown to the tower's last step, see `timm_vit_masked_pool`. What was said in the blocks
    before went through all patches, so a patch knows of its surroundings.
    """

    def __init__(
        self,
        clip_model: nn.Module,
        tokenizer: Tokenizer,
        mask_prompts: torch.Tensor | None = None,
        **others: Any,
    ) -> None:
        """Wraps a model; nothing is copied.

        Args:
            clip_model: an open_clip `CustomTextCLIP` whose image tower `attends_to_pool`.
            tokenizer: see `MaskPromptedClip`.
            mask_prompts: see there; they count for crops, not in the one pass.
            others: see there.

        Raises:
            ConfigError: another image tower, or prompts of another shape.
        """
        if not attends_to_pool(getattr(clip_model, "visual", None)):
            raise ConfigError(
                "expected an image tower of timm's with attention pooling, such as ViT-B-16-SigLIP2-256's"
            )
        super().__init__(clip_model, tokenizer, mask_prompts, **others)
        self.pooled_mean, self.pooled_std = self.mean, self.std

    def dense_hw(self, size_hw: tuple[int, ...]) -> tuple[int, int]:
        """The tower's own square, whatever the image: its patches have fixed places."""
        return self.size, self.size

    def _pooled_rows(
        self, pixels: torch.Tensor, masks: torch.Tensor, memory_budget: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        visual = self.clip_model.visual
        tokens = timm_vit_tokens(visual, pixels)
        grid = visual.trunk.patch_embed.grid_size
        shares = cell_shares(masks, grid, device=tokens.device, memory_budget=memory_budget)
        shares = shares.flatten(1)  # (N,P)
        filled = shares.sum(dim=1) > 0
        # An empty mask would have a softmax over nothing: it is shown all patches, its row thrown away.
        seen = torch.where(filled[:, None], shares, torch.full_like(shares, 1 / shares.shape[1]))
        return timm_vit_masked_pool(visual, tokens, seen), filled

    def _pooled_weight(self) -> torch.Tensor:
        weight: torch.Tensor = next(self.clip_model.visual.parameters())
        return weight
