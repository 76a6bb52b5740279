"""Looks at this machine: files, nvidia-smi, the driver's library, and torch itself."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ovseg_ros.models.nvidia.facts import (
    Jetson,
    Nvidia,
    read_driver_file,
    read_smi,
    read_smi_gpus,
    read_tegra_release,
)
from ovseg_ros.models.nvidia.judge import TorchBuild, why_unseen

_PATIENCE_S = 20.0  # a driver in trouble lets nvidia-smi hang
_WSL = "usr/lib/wsl/lib"
_DEVICE_FILES = ("nvidiactl", "nvidia0", "nvmap")  # the last of Jetsons
_NVIDIA, _DISPLAY = "0x10de", "0x03"  # vendor and class of PCI devices

Run = Callable[[Sequence[str]], str]


def look_at_nvidia(
    root: Path = Path("/"), run: Run | None = None, environment: Mapping[str, str] | None = None
) -> Nvidia:
    """What this machine has of NVIDIA's; an empty `Nvidia` where there is no sign of it.

    Args:
        root: where its files are.
        run: gives what a command prints; None: runs it, and asks the driver's library too.
        environment: None: the process'.
    """
    asked = os.environ if environment is None else environment
    jetson = _jetson(root)
    driver = read_driver_file(_text(root / "proc/driver/nvidia/version"))
    is_wsl = "microsoft" in _text(root / "proc/sys/kernel/osrelease").lower()
    on_bus = _on_bus(root)
    has_wsl_library = is_wsl and (root / _WSL / "libcuda.so.1").exists()
    if not (jetson or driver or on_bus or has_wsl_library or (root / "dev/nvidiactl").exists()):
        return Nvidia(is_wsl=is_wsl)
    ask = _run if run is None else run
    smi_driver, cuda, problem = read_smi(ask(["nvidia-smi"]))
    gpus = read_smi_gpus(ask(["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]))
    there = [file for file in (root / "dev" / name for name in _DEVICE_FILES) if file.exists()]
    return Nvidia(
        gpus=gpus or read_smi_gpus(ask(["nvidia-smi", "-L"])),
        driver=driver or smi_driver,
        driver_cuda=cuda or (_library_cuda() if run is None else None),
        jetson=jetson,
        on_bus=on_bus,
        smi_problem=problem,
        is_wsl=is_wsl,
        in_container=any((root / name).exists() for name in (".dockerenv", "run/.containerenv")),
        has_device_files=bool(there),
        closed_to_user=tuple(f"/dev/{file.name}" for file in there if not os.access(file, os.R_OK | os.W_OK)),
        hidden_by=_hides(asked.get("CUDA_VISIBLE_DEVICES")),
    )


def look_at_torch() -> TorchBuild:
    """The torch of this Python.

    Raises:
        ImportError: there is none, or it does not load.
    """
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        is_seen = torch.cuda.is_available()
        seen = [
            (torch.cuda.get_device_name(n), torch.cuda.get_device_capability(n))
            for n in range(torch.cuda.device_count() if is_seen else 0)
        ]
    said = str(caught[0].message).strip().splitlines()[:1] if caught and not is_seen else []
    return TorchBuild(
        version=str(torch.__version__),
        cuda=torch.version.cuda,
        archs=tuple(torch.cuda.get_arch_list()),
        sees=tuple(seen),
        is_rocm=torch.version.hip is not None,
        said="".join(said),
    )


def overlooked_gpu() -> str:
    """One sentence where torch runs on the CPU of a machine that has an NVIDIA GPU; "" anywhere else."""
    nvidia = look_at_nvidia()
    if not nvidia.is_here:
        return ""
    build = look_at_torch()
    if build.sees:
        return ""
    advice = why_unseen(nvidia, build)
    return (
        f"the networks run on the CPU, although this machine has {nvidia}: {advice.found}; {advice.cure} "
        "(`ovseg doctor` tells more)"
    )


def _jetson(root: Path) -> Jetson | None:
    model = _text(root / "proc/device-tree/model").strip("\0 \n")
    release = _text(root / "etc/nv_tegra_release")
    if not release and "Jetson" not in model:
        return None
    return Jetson(model, read_tegra_release(release))


def _on_bus(root: Path) -> int:
    count = 0
    for device in (root / "sys/bus/pci/devices").glob("*"):
        is_nvidia = _text(device / "vendor").strip() == _NVIDIA
        count += is_nvidia and _text(device / "class").startswith(_DISPLAY)
    return count


def _hides(visible: str | None) -> str | None:
    return visible if visible is not None and visible.strip() in ("", "-1", "NoDevFiles") else None


def _library_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver speaks, asked of its own library; None where there is none."""
    number = ctypes.c_int()
    try:
        status = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(number))
    except (OSError, AttributeError):
        return None
    return (number.value // 1000, number.value % 1000 // 10) if status == 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _run(command: Sequence[str]) -> str:
    """What a command prints, stderr included; "" where it is not installed, and a sentence where it hangs."""
    program = shutil.which(command[0]) or shutil.which(command[0], path=f"/{_WSL}")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *command[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return f"no answer from {command[0]} within {_PATIENCE_S:g} s"
    except OSError as error:
        return f"{command[0]} does not start: {error}"
    return done.stdout
