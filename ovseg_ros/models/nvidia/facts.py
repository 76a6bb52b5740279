"""What a machine says about its NVIDIA GPU, and how that is read: nvidia-smi, /proc and /etc, as text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_JETPACKS = {32: 4, 35: 5, 36: 6, 38: 7, 39: 7}
"""Major number of Jetson Linux (L4T) -> of JetPack. Source: developer.nvidia.com/embedded/jetpack-archive."""


@dataclass(frozen=True)
class NvidiaGpu:
    """One GPU.

    Attributes:
        name: as nvidia-smi has it.
        capability: compute capability, (8, 9) of an RTX 4090; None where nobody says.
    """

    name: str
    capability: tuple[int, int] | None = None


@dataclass(frozen=True)
class Jetson:
    """A Jetson, whose GPU and CPU share one memory.

    Attributes:
        model: of its board, "" where it is not told (in containers).
        l4t: version of Jetson Linux, "36.4.3"; "" where it is not told.
    """

    model: str = ""
    l4t: str = ""

    @property
    def jetpack(self) -> int | None:
        """The major number of JetPack, None where it is not known."""
        major = self.l4t.partition(".")[0]
        return _JETPACKS.get(int(major)) if major else None

    def __str__(self) -> str:
        jetpack = f" (JetPack {self.jetpack})" if self.jetpack else ""
        linux = f"Jetson Linux {self.l4t}{jetpack}" if self.l4t else "Jetson Linux of unknown version"
        return ", ".join(filter(None, (self.model or "a Jetson", linux)))


@dataclass(frozen=True)
class Nvidia:
    """What there is of NVIDIA's on a machine.

    Attributes:
        gpus: as far as nvidia-smi lists them.
        driver: its version, "550.54.14"; "" where none is loaded, or it does not say.
        driver_cuda: the newest CUDA that the driver speaks; None where that is not known.
        jetson: None on any other machine.
        on_bus: graphics devices of NVIDIA's on the PCI bus, whether a driver knows them or not.
        smi_problem: what nvidia-smi said in place of a table, "" where it gave one or is not there.
        is_wsl: whether this is Linux inside Windows.
        in_container: whether this is Docker, Podman or the like.
        has_device_files: whether /dev has those that CUDA opens.
        closed_to_user: those that this user may not open.
        hidden_by: the value of CUDA_VISIBLE_DEVICES where it hides every GPU, else None.
    """

    gpus: tuple[NvidiaGpu, ...] = ()
    driver: str = ""
    driver_cuda: tuple[int, int] | None = None
    jetson: Jetson | None = None
    on_bus: int = 0
    smi_problem: str = ""
    is_wsl: bool = False
    in_container: bool = False
    has_device_files: bool = True
    closed_to_user: tuple[str, ...] = ()
    hidden_by: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether there is any sign of a GPU of NVIDIA's."""
        return bool(self.gpus or self.driver or self.jetson or self.on_bus or self.driver_cuda)

    def __str__(self) -> str:
        names = ", ".join(gpu.name for gpu in self.gpus)
        what = str(self.jetson) if self.jetson else names or "an NVIDIA GPU"
        driver = f"driver {self.driver}" if self.driver else ""
        cuda = f"CUDA up to {self.driver_cuda[0]}.{self.driver_cuda[1]}" if self.driver_cuda else ""
        behind = " for ".join(filter(None, (driver, cuda)))
        return f"{what}, {behind}" if behind else what


def read_smi(text: str) -> tuple[str, tuple[int, int] | None, str]:
    """The head of nvidia-smi's table: driver, newest CUDA it speaks, and what was said in place of a table.

    Newer ones tell the two halves of a driver apart, and call them KMD and CUDA UMD.

    >>> read_smi("| NVIDIA-SMI 550.54.14   Driver Version: 550.54.14   CUDA Version: 12.4 |")
    ('550.54.14', (12, 4), '')
    """
    driver = re.search(r"(?:Driver|KMD) Version:\s*(\d[\d.]*)", text)
    cuda = re.search(r"CUDA (?:UMD )?Version:\s*(\d+)\.(\d+)", text)
    problem = ""
    if "NVIDIA-SMI" not in text or (not driver and not cuda):
        problem = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return driver[1] if driver else "", (int(cuda[1]), int(cuda[2])) if cuda else None, problem


def read_smi_gpus(text: str) -> tuple[NvidiaGpu, ...]:
    """Of `nvidia-smi --query-gpu=name,compute_cap --format=csv,noheader`, or of `nvidia-smi -L`.

    >>> read_smi_gpus("NVIDIA GeForce RTX 4090, 8.9")
    (NvidiaGpu(name='NVIDIA GeForce RTX 4090', capability=(8, 9)),)
    >>> read_smi_gpus("GPU 0: NVIDIA GeForce GTX 1080 (UUID: GPU-5a0b)")
    (NvidiaGpu(name='NVIDIA GeForce GTX 1080', capability=None),)
    """
    found = []
    for line in text.splitlines():
        asked = re.fullmatch(r"\s*(\S.*?), *(?:(\d+)\.(\d+)|\[?N/A\]?)\s*", line)
        listed = re.match(r"\s*GPU \d+: (.+?)(?: \(UUID.*)?$", line)
        if asked:
            capability = (int(asked[2]), int(asked[3])) if asked[2] else None
            found.append(NvidiaGpu(asked[1], capability))
        elif listed:
            found.append(NvidiaGpu(listed[1]))
    return tuple(found)


def read_driver_file(text: str) -> str:
    """The driver's version in /proc/driver/nvidia/version, "" where there is none.

    >>> read_driver_file("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19")
    '535.129.03'
    """
    found = re.search(r"NVRM version:.*?\s(\d{3}\.\d+(?:\.\d+)?)(?:\s|$)", text)
    return found[1] if found else ""


def read_tegra_release(text: str) -> str:
    """The version of Jetson Linux in /etc/nv_tegra_release, "" where there is none.

    >>> read_tegra_release("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic")
    '36.4.3'
    """
    found = re.search(r"R(\d+) \(release\), REVISION: (\d[\d.]*)", text)
    return f"{found[1]}.{found[2]}" if found else ""
