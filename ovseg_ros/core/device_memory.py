"""What happens when memory is full: free it, halve what is held at once, try once more, then say so."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from ovseg_ros.core.encoders import POOLING_BUDGET, SENTENCES_AT_ONCE, mask_bytes
from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import MEMORY_BUDGET, View, crop_bytes, encode_views, region_views
from ovseg_ros.errors import OutOfMemoryError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

TAKE_LESS = "lower max_masks or batch_size, or take a smaller preset"
"""What helps where nothing better is known."""

PROPOSE_LESS = "lower points_per_batch, long_side or image_size of the proposals, or take a smaller preset"
POOL_LESS = "lower the preset's pooled_side, or max_masks, or take the classifier clip"
FEWER_WORDS = "ask for fewer words, or take fewer templates"

# Where torch has no class of its own: a CPU's allocator, the driver, and libraries with memory of their own.
_SAID = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def retry_on_oom(
    work: Callable[[int], _T], amount: int, device: torch.device, *, stage: str, hint: str = TAKE_LESS
) -> _T:
    """Runs `work(amount)`; when memory is full, frees it and tries once with half.

    Args:
        work: takes how much to hold at once. What it does twice must be as if done once.
        amount: that amount at first, at least 1: no more than there is to hold, or half of it is no less.
        device: where the work is done.
        stage: what `work` does, as "cropping", for people.
        hint: what to do about it, for people.

    Returns:
        What `work` returns.

    Raises:
        OutOfMemoryError: half of it did not fit either. What the work held is let go of.
    """
    try:
        return work(amount)
    except Exception as error:
        if not ran_out(error):
            raise
        _log.warning("out of memory on %s while %s; one more try with half at once", device, stage)
    gc.collect()  # here, as the error and with it all that the work held is gone
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return work((amount + 1) // 2)
    except Exception as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)  # or else whoever keeps the error keeps the tensors
        raise OutOfMemoryError(f"{device} ran out of memory twice while {stage}; {hint} ({error})") from error


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory is full, a device's or the computer's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


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
