"""Cropping and encoding with as little at once as memory asks for: see `with_memory`."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.memory import with_memory
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.pooled_clip import POOLING_BUDGET, mask_bytes
from ovseg_ros.core.region_gather import crop_bytes
from ovseg_ros.core.region_views import View, encode_views, region_views
from ovseg_ros.core.regions import MEMORY_BUDGET
from ovseg_ros.core.text_cache import SENTENCES_AT_ONCE

LESS_PROPOSED = "lower points_per_batch, long_side or image_size of the proposals, or take a smaller preset"
LESS_POOLED = "lower the preset's pooled_side, or max_masks, or take the classifier clip"
FEWER_WORDS = "ask for fewer words, or take fewer templates"


def crop(
    frame: Frame, masks: torch.Tensor, size: int, options: SegmenterOptions, device: torch.device
) -> list[View]:
    """`region_views` on a device, with half the temporaries where all do not fit.

    Args:
        frame: see `region_views`.
        masks: (N, H, W) bool, N >= 1, anywhere.
        size: see `region_views`.
        options: see `region_views`.
        device: of the views.

    Raises:
        OutOfMemoryError: half did not fit either.
    """
    return with_memory(
        device,
        lambda budget: region_views(frame, masks.to(device), size, options, budget),
        min(MEMORY_BUDGET, crop_bytes(len(masks), size)),
        doing="cropping",
    )


def encode(encoder: RegionEncoder, views: list[View], batch_size: int, device: torch.device) -> torch.Tensor:
    """`encode_views` in batches, half as large where these do not fit.

    Args:
        encoder: on the device, as the views are.
        views: see `encode_views`, N >= 1.
        batch_size: most regions at once.
        device: where it is done.

    Returns:
        (N, D) unit rows.

    Raises:
        OutOfMemoryError: half did not fit either.
    """
    return with_memory(
        device,
        lambda batch: encode_views(encoder, views, batch),
        min(batch_size, len(views[0][0])),
        doing="encoding",
    )


def encode_pooled(
    encoder: RegionEncoder, frame: Frame, masks: torch.Tensor, device: torch.device
) -> torch.Tensor:
    """The encoder's `encode_pooled`, with half of the masks at once where all do not fit.

    The pass over the frame has no half: where that does not fit, `pooled_side` is not lowered behind anyone's
    back, as things would then get other names.

    Args:
        encoder: one that has `encode_pooled`.
        frame: its colour image is encoded.
        masks: (N, H, W) bool, N >= 1, anywhere.
        device: where the encoder is.

    Returns:
        (N, D) unit rows, zeros for an empty mask.

    Raises:
        OutOfMemoryError: it did not fit the second time either.
    """

    def work(budget: int) -> torch.Tensor:
        rows: torch.Tensor = encoder.encode_pooled(  # type: ignore[attr-defined]
            frame.image_rgb, masks, memory_budget=budget
        )
        return rows

    return with_memory(
        device, work, min(POOLING_BUDGET, mask_bytes(masks)), doing="pooling", cure=LESS_POOLED
    )


def encode_words(
    encoder: RegionEncoder, words: list[str], templates: Sequence[str], device: torch.device
) -> torch.Tensor:
    """The encoder's `encode_text`, with half of the words at once where all do not fit.

    Args:
        encoder: embeds words.
        words: K words or phrases.
        templates: sentences with one `{}` each.
        device: where the encoder is.

    Returns:
        (K, D) unit rows.

    Raises:
        OutOfMemoryError: half did not fit either.
    """
    most = max(1, min(len(words), SENTENCES_AT_ONCE // len(templates)))  # that the encoder takes at once

    def work(batch: int) -> torch.Tensor:
        if batch == most:
            return encoder.encode_text(words, templates)
        parts = [words[i : i + batch] for i in range(0, len(words), batch)]
        return torch.cat([encoder.encode_text(part, templates) for part in parts])

    return with_memory(device, work, most, doing="encoding words", cure=FEWER_WORDS)
