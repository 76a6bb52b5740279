"""Layers that several parts of the paper's proposal network share, named as in its released files."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn


class NormedConv(nn.Conv2d):
    """Convolution without bias, then a normalisation that lives inside it as `norm`.

    Released files hold the pair as `NAME.weight` and `NAME.norm.*`.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: odd side of the kernel in pixels; the padding keeps the size at stride 1.
        norm: what normalises the `outputs` channels.
        stride: of the convolution.
        dilation: of the kernel.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, norm: nn.Module, *, stride: int = 1, dilation: int = 1
    ) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(inputs, outputs, kernel, stride, padding, dilation, bias=False)
        self.norm = norm

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        return self.norm(super().forward(input))


class Perceptron(nn.Module):
    """Linear layers with ReLU between them: y = W_n relu(… relu(W_1 x + b_1) …) + b_n.

    Args:
        widths: channels of the input, of each hidden layer, and of the output.
    """

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, widths[0]) -> (…, widths[-1])."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)
