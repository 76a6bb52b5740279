"""What is put through the benchmark: made-up frames and masks, and networks with random weights.

What a forward pass costs does not depend on the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.core.frame import Frame, Proposals

TINY = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "head_width": 12, "layers": 4},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
"""For `--quick`: what it gives says nothing of real networks."""

# A share of the image's pixels. Segment Anything's masks are of that order: many small, few large.
_SMALLEST, _LARGEST = 0.001, 0.15


class GivenMasks:
    """A proposer that has its masks already, so that only what follows is timed."""

    needs_depth = False

    def __init__(self, masks: torch.Tensor) -> None:
        self.proposals = Proposals(masks, torch.linspace(1.0, 0.5, len(masks)))

    def propose(self, frame: Frame) -> Proposals:
        """The masks, whatever the frame."""
        return self.proposals


def made_up_frame(size_hw: tuple[int, int], seed: int = 0) -> Frame:
    """A frame of smooth colours with noise on them."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    coarse = rng.integers(0, 255, (9, 16, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    noisy = smooth + rng.integers(-8, 9, smooth.shape, dtype=np.int16)
    return Frame(np.clip(noisy, 0, 255).astype(np.uint8), frame_id="camera")


def made_up_masks(count: int, size_hw: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """(count, H, W) bool: ragged blobs anywhere, overlapping, from 0.1 % to 15 % of the image, none empty."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    masks = np.zeros((count, height, width), dtype=np.uint8)
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for mask in masks:
        area = height * width * np.exp(rng.uniform(np.log(_SMALLEST), np.log(_LARGEST)))
        stretch = np.exp(rng.uniform(-0.5, 0.5))
        radius = max(np.sqrt(area / np.pi), 3.0) * (1 + 0.15 * np.sin(rng.integers(2, 7) * angles))
        x = rng.uniform(0, width) + radius * np.cos(angles) * stretch
        y = rng.uniform(0, height) + radius * np.sin(angles) / stretch
        cv2.fillPoly(mask, [np.stack([x, y], axis=1).round().astype(np.int32)], 1)
        if not mask.any():  # beyond the border
            mask[height // 2 :, width // 2 :] = 1
    return torch.from_numpy(masks.view(bool))


def random_clip(
    model: str | Mapping[str, Any], device: torch.device | str = "cpu", seed: int = 0
) -> MaskPromptedClip:
    """An open_clip architecture with random weights and its own tokenizer, without any download.

    Raises:
        ConfigError: an architecture that is not known or cannot be used.
    """
    from ovseg_ros.models.torchvision_check import check_torchvision

    check_torchvision()
    from open_clip.tokenizer import SimpleTokenizer

    from ovseg_ros.models.clip import architecture, build_network

    config, name, _ = architecture(model)
    torch.manual_seed(seed)
    network = build_network(config, name).to(device).eval().requires_grad_(False)
    tokenizer = SimpleTokenizer(context_length=network.context_length)
    return MaskPromptedClip(network, tokenizer, logit_scale=100.0).eval().requires_grad_(False)
