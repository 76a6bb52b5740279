"""MaskFormer's pixel decoder and transformer predictor, named as in the released files.

Written out here because transformers' decoder computes the positions in the features' precision, for which
bf16 is too coarse; otherwise it computes the same, under inner names of its own.

Source: Cheng et al., "Per-Pixel Classification is Not All You Need", arXiv 2107.06278, section 3.2 and 4.1;
the decoder is DETR's, Carion et al., arXiv 2005.12872, appendix A.3-A.4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.models.maskformer.config import OvsegMaskFormerConfig
from ovseg_ros.models.maskformer.layers import NormedConv, Perceptron

_GROUPS = 32  # of every GroupNorm


class PixelDecoder(nn.Module):
    """Feature pyramid from the coarsest map to the finest, which becomes the per-pixel embedding.

    y_n = layer_n(x_n);  y_i = layer_i(adapter_i(x_i) + nearest(y_{i+1}));  mask_features(y_1)

    where layer is conv 3 x 3, GroupNorm, ReLU, and adapter is conv 1 x 1, GroupNorm.
    """

    def __init__(self, config: OvsegMaskFormerConfig) -> None:
        super().__init__()
        channels, width = config.backbone.channels, config.conv_dim
        self.levels = len(channels)
        for level, inputs in enumerate(channels, 1):
            if level < self.levels:
                self.add_module(
                    f"adapter_{level}", NormedConv(inputs, width, 1, nn.GroupNorm(_GROUPS, width))
                )
                inputs = width
            self.add_module(f"layer_{level}", NormedConv(inputs, width, 3, nn.GroupNorm(_GROUPS, width)))
        self.mask_features = nn.Conv2d(width, config.mask_dim, 3, padding=1)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Maps (1, channels[i], h_i, w_i), fine to coarse -> (1, mask_dim, h_0, w_0)."""
        y = F.relu(self.get_submodule(f"layer_{self.levels}")(features[-1]))
        for level in range(self.levels - 1, 0, -1):
            fine = self.get_submodule(f"adapter_{level}")(features[level - 1])
            y = fine + F.interpolate(y, size=fine.shape[-2:], mode="nearest")
            y = F.relu(self.get_submodule(f"layer_{level}")(y))
        return self.mask_features(y)


class Predictor(nn.Module):
    """Queries look at the coarsest map and become a class embedding and a mask each."""

    def __init__(self, config: OvsegMaskFormerConfig) -> None:
        super().__init__()
        inputs, width = config.backbone.channels[-1], config.hidden_dim
        decoder = Decoder(width, config.heads, config.feedforward_dim, config.decoder_layers)
        self.transformer = nn.ModuleDict({"decoder": decoder})
        self.query_embed = nn.Embedding(config.queries, width)
        self.input_proj = nn.Identity() if inputs == width else nn.Conv2d(inputs, width, kernel_size=1)
        self.class_embed = Perceptron(width, config.embed_hidden_dim, config.embedding_dim)
        self.mask_embed = Perceptron(width, width, width, config.mask_dim)

    def forward(self, coarse: torch.Tensor, mask_features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and masks of the last decoder layer; those of earlier layers only serve training.

        Args:
            coarse: (1, inputs, h, w), the coarsest map.
            mask_features: (1, mask_dim, H, W), the pixel decoder's.

        Returns:
            (Q, C) class embeddings as they come, of any length, and (Q, H, W) mask logits.
        """
        dtype = torch.promote_types(self.query_embed.weight.dtype, torch.float32)
        memory = self.input_proj(coarse).flatten(2).transpose(1, 2)  # (1, hw, D)
        width = self.query_embed.weight.shape[1]
        position = sine_positions(coarse.shape[2], coarse.shape[3], width, dtype, coarse.device)
        queries = self.transformer["decoder"](memory, position[None], self.query_embed.weight[None])
        masks = torch.einsum("qc,chw->qhw", self.mask_embed(queries)[0], mask_features[0])
        return self.class_embed(queries)[0], masks


class Decoder(nn.Module):
    """DETR's decoder: layers that normalise after each step, then one more norm on what comes out."""

    def __init__(self, width: int, heads: int, feedforward_dim: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, feedforward_dim, batch_first=True) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, memory: torch.Tensor, position: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """From nothing but the query embeddings.

        Args:
            memory: (1, P, D) what the queries look at.
            position: (1, P, D) where it lies.
            query: (1, Q, D) learned, added to the state wherever it is compared.

        Returns:
            (1, Q, D).
        """
        state = torch.zeros_like(query)
        for layer in self.layers:
            state = layer(state, memory, memory + position, query)
        return self.norm(state)


class DecoderLayer(nn.TransformerDecoderLayer):
    """Self-attention, attention to the memory, perceptron; each is added to its input, then normalised.

    torch's own layer, whose names are the released ones, but with positions added to what is compared.
    """

    def forward(
        self, state: torch.Tensor, memory: torch.Tensor, placed: torch.Tensor, query: torch.Tensor
    ) -> torch.Tensor:
        """(1, Q, D) state -> (1, Q, D); `placed` is the memory with its positions added, for the keys."""
        asked = state + query
        state = self.norm1(state + self.self_attn(asked, asked, state, need_weights=False)[0])
        found = self.multihead_attn(state + query, placed, memory, need_weights=False)[0]
        state = self.norm2(state + found)
        return self.norm3(state + self.linear2(F.relu(self.linear1(state))))


def sine_positions(
    height: int, width: int, channels: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """DETR's sine embedding of a grid, its sides scaled to 2 pi.

    For a row y = 1…h: t = 2 pi y / (h + 1e-6); pairs sin(t / 10000^(2k/n)), cos(t / 10000^(2k/n)) for
    k = 0…n/2-1, with n half the channels. The first half of the channels tells the row, the other the column.

    Args:
        height: rows of the grid.
        width: columns of the grid.
        channels: D, a multiple of 4.
        dtype: float32 or float64; coarser ones cannot tell neighbours apart.
        device: where to make it.

    Returns:
        (height * width, D), row by row.
    """
    pairs = channels // 4
    power = torch.arange(pairs, dtype=dtype, device=device) / pairs
    frequency = 10000.0**-power  # (n/2,)

    def line(size: int) -> torch.Tensor:
        place = torch.arange(1, size + 1, dtype=dtype, device=device) / (size + 1e-6) * (2 * math.pi)
        angle = place[:, None] * frequency  # (size, n/2)
        return torch.stack((angle.sin(), angle.cos()), -1).flatten(1)  # (size, n)

    rows, columns = line(height), line(width)
    grid = (rows[:, None].expand(height, width, -1), columns[None].expand(height, width, -1))
    return torch.cat(grid, -1).flatten(0, 1)  # (height * width, D)
