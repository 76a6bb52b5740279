"""ResNet with DeepLab's stem and multi-grid as a backbone (R101c), named as in the released files.

Source: He et al., arXiv 1512.03385; the stem of three 3 x 3 convolutions and the multi-grid of the last stage
as in Chen et al., arXiv 1706.05587, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.ovseg_maskformer_layers import NormedConv


class ResNetBackbone(nn.Module):
    """Stem and four (or other) stages of bottleneck blocks; batch normalisation uses the stored statistics.

    Args:
        depths: blocks per stage.
        stem: channels the stem gives, even; half of them inside it.
        width: channels inside the first stage's bottlenecks; they double from stage to stage.
        outputs: channels the first stage gives; they double from stage to stage.
        multi_grid: dilation of the 3 x 3 convolution in each block of the last stage.

    Raises:
        ConfigError: an odd stem, or a multi-grid that does not name one dilation per block.
    """

    def __init__(
        self, *, depths: Sequence[int], stem: int, width: int, outputs: int, multi_grid: Sequence[int]
    ) -> None:
        super().__init__()
        if stem % 2 or not depths or len(multi_grid) != depths[-1]:
            raise ConfigError(
                f"want an even stem and one multi_grid dilation for each block of the last stage, got stem "
                f"{stem}, multi_grid {tuple(multi_grid)}, depths {tuple(depths)}"
            )
        self.channels = [outputs * 2**stage for stage in range(len(depths))]
        self.stem = DeepLabStem(stem)
        inputs = [stem, *self.channels]
        for stage, depth in enumerate(depths):
            last = stage == len(depths) - 1
            blocks = [
                Bottleneck(
                    inputs[stage] if index == 0 else self.channels[stage],
                    width * 2**stage,
                    self.channels[stage],
                    stride=2 if stage and index == 0 else 1,
                    dilation=multi_grid[index] if last else 1,
                )
                for index in range(depth)
            ]
            self.add_module(f"res{stage + 2}", nn.Sequential(*blocks))

    def forward(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Feature maps of every stage.

        Args:
            pixels: (1, 3, h, w) normalised.

        Returns:
            (1, channels[i], h / 2**(i+2), w / 2**(i+2)) per stage, odd sizes rounded up.
        """
        x = self.stem(pixels)  # (1, stem, h/4, w/4)
        features = []
        for stage in range(len(self.channels)):
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
