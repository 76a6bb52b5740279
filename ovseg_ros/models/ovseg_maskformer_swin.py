"""Swin Transformer as a backbone, for images of any size, named as in the released files.

Written out here because timm's rolls the grid before it pads it, so windows fall elsewhere on images that are
no multiple of the window; and because transformers' computes the same, but under inner names of its own, to
which every tensor would have to be renamed and which it is free to change.

Source: Liu et al., "Swin Transformer", arXiv 2103.14030, section 3; Cheng et al., arXiv 2107.06278, which
adds a LayerNorm to each stage's output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.errors import ConfigError

_APART = -100.0  # added to the score of two positions that are neighbours only through the cyclic shift
_PATCH = 4  # pixels


class SwinBackbone(nn.Module):
    """Four (or other) stages of windowed self-attention, each at half the size of the one before.

    Args:
        embed_dim: channels of the first stage; doubles from stage to stage.
        depths: blocks per stage; every second one has its windows shifted by half a window.
        num_heads: attention heads per stage, dividing the stage's channels.
        window: side of a window in positions.
        mlp_ratio: hidden channels of a block's perceptron, in multiples of its channels.

    Raises:
        ConfigError: depths and heads of different length, or channels that the heads do not divide.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        depths: Sequence[int],
        num_heads: Sequence[int],
        window: int,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        self.channels = [embed_dim * 2**stage for stage in range(len(depths))]
        if len(depths) != len(num_heads) or any(c % h for c, h in zip(self.channels, num_heads)):
            raise ConfigError(
                f"want as many num_heads as depths, each dividing {self.channels}, got {num_heads}"
            )
        self.patch_embed = PatchEmbedding(embed_dim)
        self.layers = nn.ModuleList(
            SwinStage(channels, depth, heads, window, mlp_ratio, merge=stage + 1 < len(depths))
            for stage, (channels, depth, heads) in enumerate(zip(self.channels, depths, num_heads))
        )
        for stage, channels in enumerate(self.channels):
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
            for block in layer.blocks:
                x = block(x)
            features.append(self.get_submodule(f"norm{stage}")(x).permute(0, 3, 1, 2).contiguous())
            if layer.downsample is not None:
                x = layer.downsample(x)  # (1, h/2, w/2, 2C)
        return features


class PatchEmbedding(nn.Module):
    """Each 4 x 4 patch becomes one normalised vector."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, _PATCH, _PATCH)
        self.norm = nn.LayerNorm(channels)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) -> (1, h/4, w/4, C)."""
        return self.norm(self.proj(pixels).permute(0, 2, 3, 1))


class SwinStage(nn.Module):
    """Blocks of one size, then, unless it is the last stage, the merging of patches."""

    def __init__(
        self, channels: int, depth: int, heads: int, window: int, mlp_ratio: float, *, merge: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock(channels, heads, window, window // 2 if index % 2 else 0, mlp_ratio)
            for index in range(depth)
        )
        self.downsample = PatchMerging(channels) if merge else None


class PatchMerging(nn.Module):
    """Each 2 x 2 neighbourhood becomes one vector of twice the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, h, w, C) -> (1, ceil(h/2), ceil(w/2), 2C); zeros stand in beyond odd edges."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # down first, then right
        return self.reduction(self.norm(torch.cat(corners, -1)))


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
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels)
        hidden = int(mlp_ratio * channels)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(channels, hidden), "fc2": nn.Linear(hidden, channels)})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, h, w, C) -> (1, h, w, C)."""
        x = x + self._attend(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))

    def _attend(self, x: torch.Tensor) -> torch.Tensor:
        """Pads to whole windows, rolls, attends within each window, rolls back, cuts the padding off."""
        _, height, width, _ = x.shape
        x = F.pad(x, (0, 0, 0, -width % self.window, 0, -height % self.window))
        padded = x.shape[1:3]
        apart = None
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
            apart = shifted_apart(*padded, self.window, self.shift, x.device)
        windows = to_windows(x, self.window)  # (nW, window**2, C)
        x = from_windows(self.attn(windows, apart), *padded, self.window)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        return x[:, :height, :width]


class WindowAttention(nn.Module):
    """softmax(q k' / sqrt(d) + B + apart) v within each window.

    B is looked up for each head by how far two positions lie apart: row (dy + w - 1)(2w - 1) + (dx + w - 1)
    of the table, for w the window's side.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        index = relative_position_index(window)
        self.register_buffer("relative_position_index", index, persistent=False)  # follows from the window
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: torch.Tensor, apart: torch.Tensor | None) -> torch.Tensor:
        """Attention within windows.

        Args:
            windows: (nW, n, C) with n the positions of a window, row by row.
            apart: (nW, n, n) bool, pairs that must not see each other; None where all may.

        Returns:
            (nW, n, C).
        """
        count, positions, channels = windows.shape
        qkv = self.qkv(windows).view(count, positions, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (nW, heads, n, d)
        bias = self.relative_position_bias_table[self.relative_position_index]  # (n, n, heads)
        bias = bias.permute(2, 0, 1)[None].to(q.dtype)  # (1, heads, n, n)
        if apart is not None:
            bias = bias + apart[:, None].to(q.dtype) * _APART  # (nW, heads, n, n)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (nW, heads, n, d)
        return self.proj(x.transpose(1, 2).reshape(count, positions, channels))


def relative_position_index(window: int) -> torch.Tensor:
    """(n, n) int64 rows of the bias table for each pair of a window's n = window**2 positions."""
    line = torch.arange(window)
    y, x = line.repeat_interleave(window), line.repeat(window)  # of each position
    down = y[:, None] - y[None] + window - 1
    right = x[:, None] - x[None] + window - 1
    return down * (2 * window - 1) + right


def shifted_apart(height: int, width: int, window: int, shift: int, device: torch.device) -> torch.Tensor:
    """Which pairs in a rolled grid's windows are no neighbours in the grid: (nW, n, n) bool.

    The last `shift` rows and columns of the rolled grid came over from the other side.
    """
    row = torch.arange(height, device=device) >= height - shift
    column = torch.arange(width, device=device) >= width - shift
    side = row[:, None] * 2 + column[None]  # (height, width): which of four sides a position came from
    of_window = to_windows(side[None, :, :, None], window)[:, :, 0]  # (nW, n)
    return of_window[:, :, None] != of_window[:, None]


def to_windows(x: torch.Tensor, window: int) -> torch.Tensor:
    """(1, h, w, C), h and w multiples of `window` -> (nW, window**2, C), windows row by row."""
    _, height, width, channels = x.shape
    x = x.view(height // window, window, width // window, window, channels).transpose(1, 2)
    return x.reshape(-1, window**2, channels)


def from_windows(windows: torch.Tensor, height: int, width: int, window: int) -> torch.Tensor:
    """(nW, window**2, C) -> (1, height, width, C); undoes `to_windows`."""
    x = windows.view(height // window, width // window, window, window, -1).transpose(1, 2)
    return x.reshape(1, height, width, -1)
