"""Whether a row of samples grows: the robust slope of Theil and Sen, and the limits it is held against."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any

LEAST_S = 600.0  # of the half that is looked at: shorter says nothing, caches are still filling
MOST_SAMPLES = 400  # pairs grow with the square
LIMITS = {"resident_mib": (0.02, 8.0), "files": (0.0, 1.0), "threads": (0.0, 1.0)}
"""Growth in an hour that is still flat: a part of what is held, or so much, whichever is more."""


def slope(at: Sequence[float], values: Sequence[float]) -> float:
    """The median slope between all pairs of samples; a few high ones do not tilt it."""
    step = max(-(-len(at) // MOST_SAMPLES), 1)
    pairs = itertools.combinations(zip(at[::step], values[::step], strict=True), 2)
    slopes = [(later[1] - one[1]) / (later[0] - one[0]) for one, later in pairs if later[0] > one[0]]
    return statistics.median(slopes) if slopes else 0.0


def growth(samples: Sequence[Any], *, least_s: float = LEAST_S) -> dict[str, Any]:
    """What the second half of one process' samples says about each thing it holds.

    Args:
        samples: `Sample`s of one process, by time.
        least_s: seconds that half has to last; else `flat` is None.

    Returns:
        Per thing: median, most and growth per hour in that half, and whether it is flat.
    """
    half = samples[len(samples) // 2 :]
    lasted_s = half[-1].at_s - half[0].at_s if half else 0.0
    found: dict[str, Any] = {"lasted_s": round(lasted_s, 1), "samples": len(half)}
    for name, (share, least) in LIMITS.items():
        values = [getattr(sample, name) for sample in half]
        per_hour = slope([sample.at_s for sample in half], values) * 3600
        held = statistics.median(values) if values else 0.0
        flat = bool(per_hour <= max(share * held, least)) if lasted_s >= least_s else None
        found[name] = {
            "median": round(held, 2),
            "most": round(max(values, default=0.0), 2),
            "growth_per_hour": round(per_hour, 3),
            "flat": flat,
        }
    return found


def breaches(found: dict[str, Any], what: str) -> list[str]:
    """A sentence for each thing that grows."""
    return [
        f"{what}: {name} grows by {one['growth_per_hour']:g} an hour (median {one['median']:g})"
        for name, one in found.items()
        if isinstance(one, dict) and one["flat"] is False
    ]
