"""ResNet with DeepLab's stem and multi-grid as a backbone (R101c), named as in the released files.

Source: He et al., arXiv 1512.03385; the stem of three 3 x 3 convolutions and the multi-grid of the last stage
as in Chen et al., arXiv 1706.05587, section 3.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from ovseg_ros.models.maskformer.config import ResNetConfig
from ovseg_ros.models.maskformer.layers import NormedConv


class ResNetBackbone(nn.Module):
    """Stem and four (or other) stages of bottlenecks; batch normalisation uses the stored statistics."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.stem = DeepLabStem(config.stem)
        self.stages = len(config.depths)
        inputs = config.stem
        for stage, (depth, outputs) in enumerate(zip(config.depths, config.channels)):
            blocks = nn.Sequential()
            for index in range(depth):
                stride = 2 if stage and index == 0 else 1
                dilation = config.multi_grid[index] if stage == self.stages - 1 else 1
                blocks.append(
                    Bottleneck(inputs, config.width * 2**stage, outputs, stride=stride, dilation=dilation)
                )
                inputs = outputs
            self.add_module(f"res{stage + 2}", blocks)

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of every stage.

        Args:
            pixels: (1, 3, h, w) normalised.

        Returns:
            (1, channels[i], h / 2**(i+2), w / 2**(i+2)) per stage, odd sizes rounded up.
        """
        x = self.stem(pixels)  # (1, stem, h/4, w/4)
        features = []
        for stage in range(self.stages):
            x = self.get_submodule(f"res{stage + 2}")(x)
            features.append(x)
        return features


class DeepLabStem(nn.Module):
    """Three 3 x 3 convolutions in place of one 7 x 7, then the 3 x 3 maximum: a quarter of the size."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = NormedConv(3, half, 3, FrozenBatchNorm2d(half), stride=2)
        self.conv2 = NormedConv(half, half, 3, FrozenBatchNorm2d(half))
        self.conv3 = NormedConv(half, outputs, 3, FrozenBatchNorm2d(outputs))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """(1, 3, h, w) -> (1, outputs, h/4, w/4)."""
        x = pixels
        for conv in (self.conv1, self.conv2, self.conv3):
            x = F.relu(conv(x))
        return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


class Bottleneck(nn.Module):
    """relu(x + conv1x1(relu(conv3x3(relu(conv1x1(x)))))); the 3 x 3 convolution strides and dilates.

    Where the channels change, x goes through a 1 x 1 convolution with the same stride.
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, stride: int, dilation: int) -> None:
        super().__init__()
        self.shortcut = None
        if inputs != outputs:
            self.shortcut = NormedConv(inputs, outputs, 1, FrozenBatchNorm2d(outputs), stride=stride)
        self.conv1 = NormedConv(inputs, width, 1, FrozenBatchNorm2d(width))
        self.conv2 = NormedConv(width, width, 3, FrozenBatchNorm2d(width), stride=stride, dilation=dilation)
        self.conv3 = NormedConv(width, outputs, 1, FrozenBatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(1, inputs, h, w) -> (1, outputs, h / stride, w / stride)."""
        y = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))
