"""What time it is once a device has done what it was asked to do.

A graphics card is only told what to do, and calls return before it is done: without waiting, the seconds of
one stage would be counted to whichever later one first needs a result.
"""

from __future__ import annotations

import time

import torch


def now(device: torch.device) -> float:
    """Seconds of a monotonic clock, read after `wait_for`: for the beginnings and ends of stages."""
    wait_for(device)
    return time.perf_counter()


def wait_for(device: torch.device) -> None:
    """Until a device has done all it was asked to do; on a CPU that is always so."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
