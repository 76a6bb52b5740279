"""Whether a torch can use the GPU of a machine; if not, why, and what helps. Nothing is looked at here.

Sources: NVIDIA, CUDA Compatibility, table 1 (the driver that each CUDA wants) and CUDA 13.0 release notes,
Deprecated Architectures; PyTorch, 2.11 release notes (PyPI's wheels are CUDA 13's) and torch/cuda/__init__.py
(which code runs on which GPU). docs/install_gpu.md has their addresses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ovseg_ros.models.nvidia.facts import Nvidia

DRIVERS = {11: 450, 12: 525, 13: 580}
"""Major number of the CUDA that a program was built with -> of the oldest driver it runs on."""

LEAST_CAPABILITY = {13: (7, 5)}
"""Major number of CUDA -> the oldest GPUs that it makes code for: 13 left Maxwell, Pascal and Volta out."""

ANY_CPU = "or leave the GPU alone: device cpu"
PAGE = "docs/install_gpu.md"
_OLDER_CUDA = "cu126"  # PyTorch's last builds for GPUs before 7.5, and for drivers before 580
_OLDER_DRIVER = DRIVERS[12]
_JOINED_CUDA = "cu132"  # the first whose code for cards runs on Jetsons too
_TEGRA = {(5, 3), (6, 2), (7, 2), (8, 7)}
"""Jetsons whose code is their own: what was built for a card of the same generation does not run on them."""
_TEGRA_JOINED = (13, 2)  # from this CUDA on it does


@dataclass(frozen=True)
class TorchBuild:
    """A torch as it is installed, and what it sees.

    Attributes:
        version: torch's.
        cuda: that it was built with, "13.0"; None: without.
        archs: code it holds: sm_75 for GPUs of 7.5, compute_90 for whatever is newer than 9.0.
        sees: the GPUs it sees, by name and compute capability.
        is_rocm: whether it was built for AMD's GPUs.
        said: what it warned of when it was asked, in one line.
    """

    version: str
    cuda: str | None = None
    archs: tuple[str, ...] = ()
    sees: tuple[tuple[str, tuple[int, int]], ...] = ()
    is_rocm: bool = False
    said: str = ""

    @property
    def cuda_version(self) -> tuple[int, int] | None:
        """CUDA as numbers."""
        found = re.match(r"(\d+)\.(\d+)", self.cuda or "")
        return (int(found[1]), int(found[2])) if found else None


@dataclass(frozen=True)
class Advice:
    """What is wrong, and what helps: each a sentence without its last dot."""

    found: str
    cure: str


def why_unseen(nvidia: Nvidia, torch: TorchBuild) -> Advice:
    """Why a torch that sees no GPU does not see the one that is here: the first reason that holds."""
    for reason in (_hidden, _no_cuda, _no_driver, _closed, _too_old_driver, _no_device_files):
        advice = reason(nvidia, torch)
        if advice:
            return advice
    said = torch.said or "it does not say why"
    return Advice(
        f"torch {torch.version} (CUDA {torch.cuda}) sees no GPU: {said}",
        f"reboot, see whether nvidia-smi lists the GPU, and read {PAGE}, {ANY_CPU}",
    )


def kernels_missing(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    """Where torch sees a GPU and has no code for it: it would fail at the first frame. None: it has some."""
    if not torch.archs or torch.cuda_version is None:
        return None
    for name, capability in torch.sees:
        if not any(runs_on(capability, arch, torch.cuda_version) for arch in torch.archs):
            return Advice(
                f"torch {torch.version} holds no code for {name} (compute capability {_dotted(capability)}), "
                f"only {', '.join(torch.archs)}",
                _other_torch(nvidia, torch, capability),
            )
    return None


def runs_on(capability: tuple[int, int], arch: str, cuda: tuple[int, int]) -> bool:
    """Whether code that a torch holds runs on a GPU.

    Binaries run on GPUs of their own major number, from their own minor number on; those of Jetsons are apart
    until CUDA 13.2. An "a" at the end is for that GPU alone. Of compute_… the driver makes binaries, for any
    GPU that is as new.

    Args:
        capability: of the GPU.
        arch: as torch lists it, "sm_86".
        cuda: that torch was built with.
    """
    found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
    if found is None:
        return False
    built = (int(found[2]), int(found[3]))
    if capability == built:
        return True
    if found[1] == "compute":
        return not found[4] and capability > built
    if found[4] == "a" or capability[0] != built[0] or capability < built:
        return False
    return cuda >= _TEGRA_JOINED or not {capability, built} & _TEGRA


def _hidden(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    if nvidia.hidden_by is None:
        return None
    return Advice(
        f"CUDA_VISIBLE_DEVICES={nvidia.hidden_by!r} hides every GPU from torch",
        f"unset CUDA_VISIBLE_DEVICES, {ANY_CPU}",
    )


def _no_cuda(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    if torch.cuda is not None:
        return None
    made_for = "AMD's GPUs" if torch.is_rocm else "CPUs alone"
    return Advice(f"torch {torch.version} was built for {made_for}", _other_torch(nvidia, torch))


def _no_driver(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    if nvidia.smi_problem:
        return Advice(
            f"the driver does not answer: nvidia-smi says {nvidia.smi_problem!r}",
            "reboot; if it says so again, install the driver anew (Ubuntu: sudo ubuntu-drivers install)",
        )
    if nvidia.driver or nvidia.driver_cuda or nvidia.gpus or nvidia.jetson:
        return None
    if nvidia.in_container:
        return _not_let_in()
    return Advice(
        "there is an NVIDIA GPU, and no driver of NVIDIA's is loaded",
        "install the driver (Ubuntu: sudo ubuntu-drivers install) and reboot",
    )


def _closed(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    if not nvidia.closed_to_user:
        return None
    return Advice(
        f"this user may not open {', '.join(nvidia.closed_to_user)}",
        "run: sudo usermod -aG video,render $USER, and log in anew",
    )


def _too_old_driver(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    cuda = torch.cuda_version
    if cuda is None:
        return None
    wanted = DRIVERS.get(cuda[0])
    if nvidia.driver_cuda is not None:
        is_old = nvidia.driver_cuda[0] < cuda[0]
    else:
        is_old = bool(wanted and nvidia.driver and _major(nvidia.driver) < wanted)
    if not is_old:
        return None
    wants = f"a driver of {wanted} or newer" if wanted else "a newer driver"
    if nvidia.jetson:
        wants = f"a Jetson with CUDA {cuda[0]}"
    found = f"torch {torch.version} was built with CUDA {torch.cuda} and wants {wants}; here is {nvidia}"
    return Advice(found, _other_torch(nvidia, torch))


def _no_device_files(nvidia: Nvidia, torch: TorchBuild) -> Advice | None:
    if nvidia.has_device_files or nvidia.is_wsl:
        return None
    if nvidia.in_container:
        return _not_let_in()
    return Advice(
        "the driver is loaded, and /dev has no files of it", "run: sudo nvidia-modprobe -u -c=0, or reboot"
    )


def _not_let_in() -> Advice:
    return Advice(
        "this container was started without the machine's GPU",
        "install nvidia-container-toolkit on the machine and start the container with --gpus all (on a "
        "Jetson with --runtime nvidia)",
    )


def _other_torch(nvidia: Nvidia, torch: TorchBuild, capability: tuple[int, int] | None = None) -> str:
    """How to come to a torch for this GPU and driver, or to a driver for this torch."""
    if nvidia.jetson and (nvidia.driver_cuda or (0, 0)) >= _TEGRA_JOINED:
        return f"{_pip(_JOINED_CUDA)}, {ANY_CPU}"
    if nvidia.jetson:
        return (
            f"install torch and torchvision that were built for this JetPack in place of PyPI's ({PAGE}, "
            f"Jetson), {ANY_CPU}"
        )
    capabilities = [capability or gpu.capability for gpu in nvidia.gpus] or [capability]
    is_old_gpu = any(one is not None and one < LEAST_CAPABILITY[13] for one in capabilities)
    has_old_driver = bool(nvidia.driver) and _major(nvidia.driver) < DRIVERS[13]
    if nvidia.driver_cuda is not None:
        has_old_driver = nvidia.driver_cuda[0] < 13
    older = f"{_pip(_OLDER_CUDA)} (CUDA 12.6)"
    newer = "update NVIDIA's driver" + (" in Windows" if nvidia.is_wsl else "")
    if nvidia.driver and _major(nvidia.driver) < _OLDER_DRIVER:
        to = f"{_OLDER_DRIVER} or newer, then {older}" if is_old_gpu else f"{DRIVERS[13]} or newer"
        return f"{newer} to {to}, {ANY_CPU}"
    if is_old_gpu:
        return f"{older}: newer CUDA leaves GPUs before Turing out, {ANY_CPU}"
    if has_old_driver:
        return f"{newer} to {DRIVERS[13]} or newer; or {older}, {ANY_CPU}"
    return f"{_pip()}, {ANY_CPU}"


def _pip(index: str = "") -> str:
    where = f" --index-url https://download.pytorch.org/whl/{index}" if index else ""
    return f"run: pip install --force-reinstall torch torchvision{where}"


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _dotted(capability: tuple[int, int]) -> str:
    return ".".join(map(str, capability))
