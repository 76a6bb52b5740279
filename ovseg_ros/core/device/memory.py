"""What happens when memory is full: free it, halve what is held at once, try once more, then say so."""

from __future__ import annotations

import gc
import logging
import traceback
from collections.abc import Callable
from typing import TypeVar

import torch

from ovseg_ros.errors import OutOfMemoryError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

TAKE_LESS = "lower max_masks or batch_size, or take a smaller preset"
"""What helps where nothing better is known."""

PROPOSE_LESS = "lower points_per_batch, long_side or image_size of the proposals, or take a smaller preset"

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
