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

LESS = "lower max_masks or batch_size, or take a smaller preset"
"""What helps where nothing better is known."""

# Where torch has no class of its own: a CPU's allocator, the driver, and libraries with memory of their own.
_SAID = ("can't allocate memory", "out of memory", "ALLOC_FAILED")


def with_memory(
    device: torch.device, work: Callable[[int], _T], batch: int, *, doing: str, cure: str = LESS
) -> _T:
    """Runs `work(batch)`; when memory is full, frees it and tries once with half.

    Args:
        device: where the work is done.
        work: takes how much to hold at once. What it does twice must be as if done once.
        batch: that amount at first, at least 1: no more than there is to hold, or half of it is no less.
        doing: what `work` does, as "cropping", for people.
        cure: what to do about it, for people.

    Returns:
        What `work` returns.

    Raises:
        OutOfMemoryError: half of it did not fit either. What the work held is let go of.
    """
    try:
        return work(batch)
    except Exception as error:
        if not ran_out(error):
            raise
        _log.warning("out of memory on %s while %s; one more try with half at once", device, doing)
    _free(device)  # here, as the error and with it all that the work held is gone
    try:
        return work((batch + 1) // 2)
    except Exception as error:
        if not ran_out(error):
            raise
        traceback.clear_frames(error.__traceback__)  # or else whoever keeps the error keeps the tensors
        raise OutOfMemoryError(f"{device} ran out of memory twice while {doing}; {cure} ({error})") from error


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory is full, a device's or the computer's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAID)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
