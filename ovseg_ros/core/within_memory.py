"""Crops, embeddings of regions and of words, in smaller parts where memory does not hold them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ovseg_ros.core.device import retry_on_oom
from ovseg_ros.core.encoders import POOLING_BUDGET, SENTENCES_AT_ONCE, mask_bytes
from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import MEMORY_BUDGET, View, crop_bytes, encode_views, region_views

POOL_LESS = "lower the preset's pooled_side, or max_masks, or take the classifier clip"
FEWER_WORDS = "ask for fewer words, or take fewer templates"


def crop(
    frame: Frame, masks: torch.Tensor, size: int, options: SegmenterOptions, device: torch.device
) -> list[View]:
    """`region_views` of N >= 1 masks on a device, with half the temporaries where all do not fit."""
    return retry_on_oom(
        lambda budget: region_views(frame, masks.to(device), size, options, budget),
        min(MEMORY_BUDGET, crop_bytes(len(masks), size)),
        device,
        stage="cropping",
    )


def encode(encoder: RegionEncoder, views: list[View], batch_size: int, device: torch.device) -> torch.Tensor:
    """`encode_views` of N >= 1 regions, (N, D), in batches half as large where these do not fit."""
    return retry_on_oom(
        lambda batch: encode_views(encoder, views, batch),
        min(batch_size, len(views[0][0])),
        device,
        stage="encoding",
    )


def encode_pooled(
    encoder: RegionEncoder, frame: Frame, masks: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The encoder's `encode_pooled` of N >= 1 masks, (N, D), half of them at once where all do not fit.

    The pass over the frame has no half: where that does not fit, `pooled_side` is not lowered behind anyone's
    back, as things would then get other names.
    """
    pool: Callable[..., torch.Tensor] = encoder.encode_pooled  # type: ignore[attr-defined]
    return retry_on_oom(
        lambda budget: pool(frame.image_rgb, masks, memory_budget=budget),
        min(POOLING_BUDGET, mask_bytes(masks)),
        device,
        stage="pooling",
        hint=POOL_LESS,
    )


def encode_words(
    encoder: RegionEncoder, words: list[str], templates: Sequence[str], device: torch.device
) -> torch.Tensor:
    """The encoder's `encode_text` of K words, (K, D), with half of them at once where all do not fit."""
    most = max(1, min(len(words), SENTENCES_AT_ONCE // len(templates)))  # that the encoder takes at once

    def work(batch: int) -> torch.Tensor:
        if batch == most:
            return encoder.encode_text(words, templates)
        parts = [words[i : i + batch] for i in range(0, len(words), batch)]
        return torch.cat([encoder.encode_text(part, templates) for part in parts])

    return retry_on_oom(work, most, device, stage="encoding words", hint=FEWER_WORDS)
