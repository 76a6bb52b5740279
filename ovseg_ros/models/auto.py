"""Which preset `auto` stands for: the best whose weights are here and that the device can carry, else `lite`.

`choose` decides, from nothing but what it is given; `models.presets.resolve_preset` looks at this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

AUTO = "auto"
"""The default wherever a preset can be named."""

ALWAYS_HERE = "lite"
"""Its weights come with packages, and a CPU is enough for it."""

RANKING = ("convnext", "vitl14", "vitb16")
"""Presets that `auto` may take, best first: bundled ones whose weights can be fetched and used by anyone.
Newer ones are taken by name alone until somebody has measured them with their weights; so are those of one
stage, whose scores are absolute and which no rule of absence judges.

The order is reasoned from the literature and was not measured here: plain CLIPs are poor at masks cut out of
their surroundings (OVSeg, figure 1), while a convolutional one whose features are pooled over masks is not
(FC-CLIP).
"""


@dataclass(frozen=True)
class Candidate:
    """A preset that `auto` may take.

    Attributes:
        name: of a bundled preset.
        missing: weights files that it needs and that are not here.
        gpu_memory_gb: what it needs of a GPU's memory, in 1e9 bytes; its preset's `gpu_memory_gb`.
    """

    name: str
    missing: tuple[str, ...]
    gpu_memory_gb: float


@dataclass(frozen=True)
class Gpu:
    """A device that is not a CPU.

    Attributes:
        name: torch's, for example "cuda:1".
        free_gb: memory nobody has taken, in 1e9 bytes; None where torch cannot tell.
    """

    name: str
    free_gb: float | None


@dataclass(frozen=True)
class Choice:
    """What was taken.

    Attributes:
        preset: name or path.
        reason: why, as the rest of a sentence that begins with the preset, for people.
    """

    preset: str
    reason: str


def choose(candidates: Sequence[Candidate], gpu: Gpu | None) -> Choice:
    """The best preset that is here and fits, and why.

    Args:
        candidates: best first.
        gpu: where the networks would run; None for a CPU.

    Returns:
        The first candidate that lacks nothing and whose memory the GPU has free; without one, `lite`.

    >>> choose([Candidate("vitb16", (), 5.0)], Gpu("cuda", 7.5)).reason
    'auto: the best whose weights are here; it needs 5 GB of cuda, 7.5 are free'
    """
    here = [candidate for candidate in candidates if not candidate.missing]
    if not here:
        names = ", ".join(candidate.name for candidate in candidates)
        return Choice(ALWAYS_HERE, f"auto: the weights of the larger presets ({names}) are not here")
    names = ", ".join(candidate.name for candidate in here)
    if gpu is None:
        return Choice(ALWAYS_HERE, f"auto: {names} would be too slow on a CPU")
    if gpu.free_gb is None:
        return Choice(ALWAYS_HERE, f"auto: how much memory {gpu.name} has for {names} is not known")
    for candidate in here:
        if candidate.gpu_memory_gb <= gpu.free_gb:
            return Choice(
                candidate.name,
                f"auto: the best whose weights are here; it needs {candidate.gpu_memory_gb:g} GB of "
                f"{gpu.name}, {gpu.free_gb:.1f} are free",
            )
    least = min(here, key=lambda candidate: candidate.gpu_memory_gb)
    return Choice(
        ALWAYS_HERE,
        f"auto: {gpu.name} has {gpu.free_gb:.1f} GB free, {least.name} needs {least.gpu_memory_gb:g}",
    )
