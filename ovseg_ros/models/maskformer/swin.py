"""Swin Transformer as a backbone, for images of any size, named as in the released files.

Windows, their attention and the merging of patches are timm's, whose names are the released ones. Its blocks
are not: they roll the grid before they pad it, so windows fall elsewhere on images that are no multiple of
the window. transformers' MaskFormer computes the same as ours, but under names of its own that have changed
between its releases, and a pass on a CPU takes 1.09 times the time (Swin-B, 416 x 640) and 1.27 times the
memory (640 x 864).

Source: Liu et al., "Swin Transformer", arXiv 2103.14030, section 3; Cheng et al., arXiv 2107.06278, which
adds a LayerNorm to each stage's output.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from timm.layers import Mlp, PatchEmbed
from timm.models.swin_transformer import PatchMerging, WindowAttention, window_partition, window_reverse
from torch import nn

from ovseg_ros.models.maskformer.config import SwinConfig

_APART = -100.0  # added to the score of two positions that are neighbours only through the cyclic shift
_PATCH = 4  # pixels


class SwinBackbone(nn.Module):
    """Four (or other) stages of windowed self-attention, each at half the size of the one before."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        depths, heads, window = config.depths, config.num_heads, config.window
        self.patch_embed = PatchEmbed(
            None, _PATCH, embed_dim=config.embed_dim, norm_layer=nn.LayerNorm, output_fmt="NHWC"
        )
        self.layers = nn.ModuleList()
        for stage, channels in enumerate(config.channels):
            blocks = nn.ModuleList(
                SwinBlock(channels, heads[stage], window, window // 2 if index % 2 else 0, config.mlp_ratio)
                for index in range(depths[stage])
            )
            self.layers.append(nn.ModuleDict({"blocks": blocks}))
            if stage + 1 < len(depths):
                self.layers[stage]["downsample"] = PatchMerging(channels)
            self.add_module(f"norm{stage}", nn.LayerNorm(channels))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of every stage.

        Args:
            pixels: (1, 3, h, w) normalised; h and w multiples of 4.

        Returns:
            (1, channels[i], h / 2**(i+2), w / 2**(i+2)) per stage, odd sizes rounded up.
        """
        x = self.patch_embed(pixels)  # (1, h/4, w/4, C)
        features = []
        for stage, layer in enumerate(self.layers):
            for block in layer["blocks"]:
                x = block(x)
            features.append(self.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous())
            if "downsample" in layer:
                x = layer["downsample"](x)  # (1, h/2, w/2, 2C)
        return features


class SwinBlock(nn.Module):
    """x += attention(norm1(x)) within windows; x += perceptron(norm2(x)).

    Args:
        channels: of the grid's vectors.
        heads: of the attention.
        window: side of a window.
        shift: by how many positions the windows are moved down and right, less than `window`.
        mlp_ratio: hidden channels of the perceptron, in multiples of `channels`.
    """

    def __init__(self, channels: int, heads: int, window: int, shift: int, mlp_ratio: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, heads, window_size=window)
        self.attn.fused_attn = True  # torch's own attention, which timm holds back for windows
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, int(mlp_ratio * channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, h, w, C) -> (1, h, w, C)."""
        x = x + self._attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Pads to whole windows, rolls, attends within each window, rolls back, cuts the padding off."""
        _, height, width, _ = x.shape
        side = (self.window, self.window)
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape[1:3]
        apart = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            apart = _shifted_apart(*padded, self.window, self.shift, x.device).to(x.dtype) * _APART
        windows = window_partition(x, side).flatten(1, 2)  # (nW, window**2, C)
        windows = self.attn(windows, apart).unflatten(1, side)  # (nW, window, window, C)
        x = window_reverse(windows, side, *padded)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


def _shifted_apart(height: int, width: int, window: int, shift: int, device: torch.device) -> torch.Tensor:
    """Which pairs in a rolled grid's windows are no neighbours in the grid: (nW, n, n) bool.

    The last `shift` rows and columns of the rolled grid came over from the other side.
    """
    row = torch.arange(height, device=device) >= height - shift
    column = torch.arange(width, device=device) >= width - shift
    side = row[:, None] * 2 + column[None]  # (height, width): which of four sides a position came from
    of_window = window_partition(side[None, :, :, None], (window, window)).flatten(1)  # (nW, n)
    return of_window[:, :, None] != of_window[:, None]
