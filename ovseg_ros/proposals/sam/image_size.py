"""A Segment Anything network that looks at smaller (or larger) images than it was built for."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

PATCH = 16
"""Pixels of the network's input per side of a patch."""


def at_image_size(sam: Sam, side: int | None) -> Sam:
    """The same network with another input size; its weights are shared, not copied.

    The positional embedding is scaled to the new grid of patches (bicubic); relative positions are scaled by
    segment-anything itself wherever the grid is another one. The network was not trained for it.

    Args:
        sam: not changed.
        side: of the square input in pixels, a multiple of 16; None or the network's own gives `sam` itself.

    Raises:
        ConfigError: a side that is no such multiple.
    """
    if side is None or side == sam.image_encoder.img_size:
        return sam
    if side < PATCH or side % PATCH:
        raise ConfigError(f"expected image_size as a multiple of {PATCH}, at least {PATCH}, got {side}")
    grid = side // PATCH
    encoder = copy.copy(sam.image_encoder)
    position = encoder.pos_embed.detach().permute(0, 3, 1, 2)  # (1,C,h,w)
    scaled = F.interpolate(position, size=(grid, grid), mode="bicubic", align_corners=False)
    own = torch.nn.Parameter(scaled.permute(0, 2, 3, 1).contiguous(), encoder.pos_embed.requires_grad)
    encoder._parameters = {**encoder._parameters, "pos_embed": own}
    encoder.img_size = side
    prompts = copy.copy(sam.prompt_encoder)
    prompts.image_embedding_size = (grid, grid)
    prompts.input_image_size = (side, side)
    prompts.mask_input_size = (4 * grid, 4 * grid)
    other: Sam = copy.copy(sam)
    other._modules = {**sam._modules, "image_encoder": encoder, "prompt_encoder": prompts}
    return other
