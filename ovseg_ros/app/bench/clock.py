"""Times several ways to do the same thing, interleaved in one run, and what memory each takes on top."""

from __future__ import annotations

import ctypes
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.core.device import wait_for
from ovseg_ros.core.frame import Frame

Stages = Mapping[str, float]
"""Seconds per stage of one frame, in order."""

Variant = Callable[[Frame], Stages]
"""Does one frame and says how long each stage took."""


@dataclass
class Timing:
    """What was measured of one variant.

    Attributes:
        seconds: wall time of each frame.
        processor_s: processor time of each, all threads together: what other programs take is not in it.
        stages: seconds of each stage, one per frame.
        peak_bytes: the most memory a frame held above what was held before it, on the device the networks
            run on; None where the system does not tell.
    """

    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    peak_bytes: int | None = None

    def figures(self) -> dict[str, Any]:
        """For JSON: milliseconds and mebibytes."""
        return {
            "ms": spread(self.seconds, 1000.0),
            "processor_ms": spread(self.processor_s, 1000.0),
            "frames_per_s": len(self.seconds) / max(sum(self.seconds), 1e-9),
            "stages_ms": {name: spread(seconds, 1000.0) for name, seconds in self.stages.items()},
            "peak_mib": None if self.peak_bytes is None else round(self.peak_bytes / 2**20, 1),
        }


def interleave(
    variants: Mapping[str, Variant],
    frames: Sequence[Frame],
    *,
    rounds: int,
    device: torch.device,
    reset: Callable[[], None] = lambda: None,
) -> dict[str, Timing]:
    """Puts every frame through every variant, then the next frame, their order rotated each time.

    Whatever else the machine does falls on all variants alike, so their ratio can be trusted where the
    milliseconds cannot. A round before the first warms up: memory is measured in it and time is not, since
    watching memory takes time.

    Args:
        variants: name -> one frame.
        frames: at least one, the same for all.
        rounds: how often the frames are gone through, at least 1.
        device: waited for before the clock is read.
        reset: called before each round.
    """
    timings, names = {name: Timing() for name in variants}, list(variants)
    reset()
    for frame in frames:
        for name in names:
            peak = peak_memory(lambda name=name, frame=frame: variants[name](frame), device)  # type: ignore[misc]
            if peak is not None:
                timings[name].peak_bytes = max(peak, timings[name].peak_bytes or 0)
    for done in range(rounds):
        reset()
        for number, frame in enumerate(frames):
            first = (done + number) % len(names)
            for name in names[first:] + names[:first]:
                _time(variants[name], frame, timings[name], device)
    return timings


def _time(variant: Variant, frame: Frame, timing: Timing, device: torch.device) -> None:
    wait_for(device)
    start, processor = time.perf_counter(), time.process_time()
    stages = variant(frame)
    wait_for(device)
    timing.seconds.append(time.perf_counter() - start)
    timing.processor_s.append(time.process_time() - processor)
    for name, seconds in stages.items():
        timing.stages.setdefault(name, []).append(seconds)


def ratios(timing: Timing, reference: Timing, frames: int = 1) -> dict[str, Any]:
    """How many times as long as the reference, by rounds of so many frames; "processor" likewise, the median.

    A round is compared as a whole: a frame on which everything is new counts with all it costs.
    """
    found = spread(_of_rounds(timing.seconds, reference.seconds, frames))
    spent = _of_rounds(timing.processor_s, reference.processor_s, frames)
    return {**found, "processor": statistics.median(spent)}


def _of_rounds(one: Sequence[float], other: Sequence[float], frames: int) -> list[float]:
    rounds = [slice(at, at + frames) for at in range(0, len(one), frames)]
    return [sum(one[part]) / max(sum(other[part]), 1e-9) for part in rounds]


def spread(values: Sequence[float], scale: float = 1.0) -> dict[str, Any]:
    """Median, quartiles and count of at least one value, times `scale`."""
    ordered = sorted(scale * value for value in values)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {"median": statistics.median(ordered), "low": low, "high": high, "count": len(ordered)}


def peak_memory(work: Callable[[], Any], device: torch.device) -> int | None:
    """Does the work; returns the most bytes it held above what was held before.

    Of the graphics card where `device` is one, else of this process, by the system's high-water mark; None
    where that cannot be read.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - held
    try:  # what one variant freed must not serve the next one unseen
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
    except (OSError, AttributeError):
        work()
        return None
    before = memory_bytes("VmRSS")
    work()
    highest = memory_bytes("VmHWM")
    return None if before is None or highest is None else max(highest - before, 0)


def memory_bytes(what: str) -> int | None:
    """VmRSS (held now) or VmHWM (most held) of this process in bytes; None where there is no /proc."""
    try:
        found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])
