"""The GPU: is one here, does torch see it and have code for it, and has it the memory that a preset needs?"""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.app.doctor.check import ERROR, OK, WARN, Check
from ovseg_ros.models.nvidia import Nvidia, TorchBuild, kernels_missing, why_unseen

LESS = "or take a smaller preset (`ovseg presets`)"


@dataclass(frozen=True)
class Memory:
    """Memory in 1e9 bytes.

    Attributes:
        free_gb: that can be had now.
        total_gb: all of it.
    """

    free_gb: float
    total_gb: float

    def __str__(self) -> str:
        return f"{self.free_gb:.1f} of {self.total_gb:.1f} GB are free"


def check_gpu(nvidia: Nvidia, torch: TorchBuild, device: str) -> list[Check]:
    """Whether torch can use the machine's GPU.

    Args:
        nvidia: what the machine has.
        torch: what is installed.
        device: as it was asked for, "auto", "cpu", "cuda:1".
    """
    checks = []
    if nvidia.jetson:
        checks.append(_jetson(nvidia))
    if device == "cpu":
        return [*checks, Check("GPU", "torch", OK, "not used: device cpu was asked for")]
    if torch.sees:
        missing = kernels_missing(nvidia, torch)
        if missing:
            return [*checks, Check("GPU", "torch", ERROR, missing.found, missing.cure)]
        names = ", ".join(f"{name} ({major}.{minor})" for name, (major, minor) in torch.sees)
        driver = f", driver {nvidia.driver}" if nvidia.driver else ""
        return [*checks, Check("GPU", "torch", OK, f"torch sees {names}{driver}")]
    if nvidia.is_here:
        advice = why_unseen(nvidia, torch)
        return [*checks, Check("GPU", "torch", ERROR, advice.found, advice.cure)]
    if device.startswith("cuda"):
        found = f"device {device} was asked for, and there is no NVIDIA GPU"
        return [*checks, Check("GPU", "torch", ERROR, found, "take device auto or cpu")]
    return [*checks, Check("GPU", "torch", OK, "no NVIDIA GPU is here: the networks run on the CPU")]


def check_trial(error: str) -> Check:
    """Whether two matrices could be multiplied on the GPU; `error`: why not, "" where they could."""
    if not error:
        return Check("GPU", "trial", OK, "two matrices were multiplied on it")
    cure = "reboot, see whether nvidia-smi shows another program that holds it, or take device cpu"
    return Check("GPU", "trial", ERROR, f"torch sees the GPU and cannot use it: {error}", cure)


def _jetson(nvidia: Nvidia) -> Check:
    jetson = nvidia.jetson
    assert jetson is not None
    if jetson.jetpack is None or jetson.jetpack >= 6:
        return Check("GPU", "Jetson", OK, str(nvidia))
    cure = "flash JetPack 6 or newer: the ones before come with a Python that is too old"
    return Check("GPU", "Jetson", ERROR, str(nvidia), cure)


def check_memory(
    machine: Memory | None, device: Memory | None, needs_gb: float | None, *, preset: str, is_shared: bool
) -> list[Check]:
    """Whether there is memory enough for a preset, on the GPU, or on the machine where the CPU does the work.

    Args:
        machine: None where the system does not tell.
        device: of the GPU that would be used; None: there is none.
        needs_gb: what the preset says that it needs; None where it says nothing.
        preset: its name.
        is_shared: whether GPU and CPU have one memory (Jetson).
    """
    checks = []
    if device is not None:
        checks.append(_enough("GPU", device, needs_gb, preset))
    if machine is not None:
        needs_it = device is None or is_shared
        checks.append(_enough("machine", machine, needs_gb if needs_it else None, preset))
    return checks


def _enough(name: str, memory: Memory, needs_gb: float | None, preset: str) -> Check:
    found = str(memory)
    if needs_gb is None:
        return Check("memory", name, OK, found)
    found += f", {preset} needs {needs_gb:g}"
    if needs_gb > memory.total_gb:
        cure = f"take a {'GPU' if name == 'GPU' else 'machine'} with more memory, {LESS}"
        return Check("memory", name, ERROR, found, cure)
    if needs_gb > memory.free_gb:
        return Check("memory", name, WARN, found, f"end other programs that hold it, {LESS}")
    return Check("memory", name, OK, found)
