"""What happens when the device's memory is full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from ovseg_ros.errors import OutOfMemoryError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def with_memory(device: torch.device, work: Callable[[int], _T], batch: int) -> _T:
    """Runs `work(batch)`; when the device's memory is full, frees it and tries once with half.

    Args:
        device: where the work is done.
        work: takes the number of things to hold at once.
        batch: that number at first, at least 1.

    Raises:
        OutOfMemoryError: half a batch did not fit either.
    """
    try:
        return work(batch)
    except torch.OutOfMemoryError:
        _log.warning("out of memory on %s with %d at once; one more try with half", device, batch)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    try:
        return work(max(batch // 2, 1))
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"{device} ran out of memory twice; lower max_masks or batch_size, or take a smaller "
            f"preset ({error})"
        ) from error
