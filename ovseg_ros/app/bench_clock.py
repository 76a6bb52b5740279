"""Times two ways to do the same thing, turn by turn in one run, and what memory each takes on top."""

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

Stages = Mapping[str, float]
"""Seconds per stage of one frame, in order."""

Way = Callable[[], Stages]
"""Does one frame and says how long each stage took."""


@dataclass
class Timing:
    """What was measured of one way.

    Attributes:
        seconds: wall time of each frame.
        processor_s: processor time of each, all threads together: what others take does not count in it.
        stages: seconds of each stage, as many as frames.
        extra_bytes: most memory held above what was held before the frame, over all frames; None where the
            system does not tell.
        extra_gpu_bytes: the same on the graphics card; None without one.
    """

    seconds: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=dict)
    extra_bytes: int | None = None
    extra_gpu_bytes: int | None = None

    @property
    def median_s(self) -> float:
        """Median wall time of a frame in seconds."""
        return statistics.median(self.seconds)

    def without(self, stage: str) -> float:
        """Median wall time of a frame in seconds, one stage taken out."""
        spent = self.stages.get(stage, [0.0] * len(self.seconds))
        return statistics.median(all_ - one for all_, one in zip(self.seconds, spent, strict=True))

    def figures(self) -> dict[str, Any]:
        """For JSON: milliseconds and mebibytes."""
        return {
            "ms": spread(self.seconds, 1000.0),
            "processor_ms": spread(self.processor_s or self.seconds, 1000.0),
            "stages_ms": {name: spread(times, 1000.0) for name, times in self.stages.items()},
            "peak_extra_mib": None if self.extra_bytes is None else round(self.extra_bytes / 2**20, 1),
            "peak_extra_gpu_mib": (
                None if self.extra_gpu_bytes is None else round(self.extra_gpu_bytes / 2**20, 1)
            ),
        }


def spread(values: Sequence[float], scale: float = 1.0) -> dict[str, Any]:
    """Median, quartiles, extremes and count of at least one value, times `scale`."""
    ordered = sorted(scale * value for value in values)
    low, _, high = statistics.quantiles(ordered, n=4, method="inclusive") if len(ordered) > 1 else ordered * 3
    return {
        "median": statistics.median(ordered),
        "low": low,
        "high": high,
        "min": ordered[0],
        "max": ordered[-1],
        "count": len(ordered),
    }


def alternate(
    ways: Mapping[str, Way],
    *,
    runs: int,
    device: torch.device,
    budget_s: float | None = None,
    warm_ups: int = 1,
) -> dict[str, Timing]:
    """Runs each way in turn, `runs` rounds, the order turned round from one to the next.

    What else the machine does in the meantime so falls on all of them alike; the ratio of two of them is what
    counts.

    Args:
        ways: name -> one frame.
        runs: rounds that are counted, at least 1.
        device: waited for before the clock is read.
        budget_s: no further round is begun once the last would end later than this; two are always done
            (or one, where `runs` is 1).
        warm_ups: rounds before, in which memory is measured and time is not.
    """
    timings = {name: Timing() for name in ways}
    for _ in range(warm_ups):
        for name, way in ways.items():
            weigh(way, timings[name], device)
    names, started, round_s = list(ways), time.perf_counter(), 0.0
    for turn in range(runs):
        before = time.perf_counter()
        if turn >= min(2, runs) and budget_s is not None and before - started + round_s > budget_s:
            break
        for name in names if turn % 2 == 0 else reversed(names):
            timed(ways[name], timings[name], device)
        round_s = time.perf_counter() - before
    return timings


def timed(way: Way, timing: Timing, device: torch.device) -> None:
    """Does one frame and adds the time it took to `timing`."""
    _wait(device)
    start, processor = time.perf_counter(), time.process_time()
    stages = way()
    _wait(device)
    timing.seconds.append(time.perf_counter() - start)
    timing.processor_s.append(time.process_time() - processor)
    for name, seconds in stages.items():
        timing.stages.setdefault(name, []).append(seconds)


def weigh(way: Way, timing: Timing, device: torch.device) -> None:
    """Does one frame and adds the memory it took to `timing`; not its time, as looking on costs time too."""
    peak = PeakMemory(device)
    way()
    host, card = peak.extra()
    timing.extra_bytes = _larger(timing.extra_bytes, host)
    timing.extra_gpu_bytes = _larger(timing.extra_gpu_bytes, card)


def ratios(slow: Timing, fast: Timing) -> dict[str, Any]:
    """How many times longer `slow` takes, round by round; and as "processor" the median of processor time."""
    pairs = zip(slow.seconds, fast.seconds, strict=True)
    found = spread([one / max(other, 1e-9) for one, other in pairs])
    if slow.processor_s and fast.processor_s:
        spent = zip(slow.processor_s, fast.processor_s, strict=True)
        found["processor"] = statistics.median(one / max(other, 1e-9) for one, other in spent)
    return found


class PeakMemory:
    """The most memory this process holds from now on, above what it holds now."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.reset_peak_memory_stats(device)
            self._card = torch.cuda.memory_allocated(device)
        _give_back()
        self._known = _restart_high_water()
        self._held = memory_bytes("VmRSS")

    def extra(self) -> tuple[int | None, int | None]:
        """Bytes on the host and on the card; None where that is not known."""
        top = memory_bytes("VmHWM") if self._known else None
        host = None if top is None or self._held is None else max(top - self._held, 0)
        card = None
        if self._device.type == "cuda":
            card = torch.cuda.max_memory_allocated(self._device) - self._card
        return host, card


def memory_bytes(what: str) -> int | None:
    """VmRSS (held now) or VmHWM (most held) of this process in bytes; None where there is no /proc."""
    try:
        found = re.search(rf"^{what}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else 1024 * int(found[1])


def _restart_high_water() -> bool:
    """Makes VmHWM start anew; False where the system does not let us."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _give_back() -> None:
    """Returns freed memory to the system, so that one way's leavings do not serve the next unseen."""
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _larger(known: int | None, new: int | None) -> int | None:
    return known if new is None else max(known or 0, new)


class Watch:
    """Splits a frame into stages: `watch("crop")` ends the stage of that name."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.stages: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        """Ends a stage; several of one name add up."""
        _wait(self._device)
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        self._last = now
