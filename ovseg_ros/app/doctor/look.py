"""Looks at this machine for the checks, which are given what is found here and look at nothing themselves."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.app.doctor.dds import PROFILES
from ovseg_ros.app.doctor.gpu import Memory
from ovseg_ros.app.doctor.preset import Weights
from ovseg_ros.app.doctor.software import CvBridge, Ros
from ovseg_ros.core.camera import CameraLook
from ovseg_ros.errors import ConfigError, OvsegError, WeightsError
from ovseg_ros.models.downloads.files import cache_dir, cure, find_file, known_file, verify
from ovseg_ros.models.nvidia import TorchBuild, look_at_torch
from ovseg_ros.models.preset_parts import ENCODERS, PROPOSERS, LoadContext, build, weights_named
from ovseg_ros.models.presets import preset_path, preset_weights
from ovseg_ros.models.torchvision_check import check_torchvision

_PATIENCE_S = 60.0
# What cv_bridge does first with an encoding of its own; one that was built for another numpy crashes here.
_TRY_CV_BRIDGE = (
    "import numpy; print(numpy.__version__, flush=True); import cv_bridge; "
    "cv_bridge.CvBridge().encoding_to_cvtype2('bgr8')"
)


def look_at_ros() -> tuple[Ros, Any]:
    """What this Python has of ROS, and `ros.listening.listen` where it can be had, else None."""
    installed = tuple(sorted(path.parent.name for path in Path("/opt/ros").glob("*/setup.bash")))
    environment = os.environ
    listen, error = None, ""
    has_rclpy = _is_here("rclpy")
    has_interfaces = has_rclpy and _is_here("ovseg_ros.msg")
    if has_interfaces:
        try:
            from ovseg_ros.ros.listening import listen
        except (ImportError, AttributeError) as problem:  # for another Python, or another numpy
            error = _one_line(problem)
    ros = Ros(
        distro=environment.get("ROS_DISTRO", ""),
        has_rclpy=has_rclpy,
        has_interfaces=has_interfaces,
        error=error,
        installed=installed,
        rmw=environment.get("RMW_IMPLEMENTATION", ""),
    )
    return ros, listen


def look_at_cv_bridge() -> CvBridge:
    """Tries cv_bridge in a process of its own, as one that was built for another numpy may crash it."""
    if not _is_here("cv_bridge"):
        return CvBridge()
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRY_CV_BRIDGE], capture_output=True, text=True, timeout=_PATIENCE_S
        )
    except subprocess.TimeoutExpired:
        return CvBridge(True, f"no answer within {_PATIENCE_S:g} s", "?")
    numpy = (done.stdout.split() or ["?"])[0]
    if done.returncode == 0:
        return CvBridge(True, "", numpy)
    said = done.stderr.strip().splitlines()
    return CvBridge(True, said[-1] if said else f"it ended with status {done.returncode}", numpy)


def look_for_torch() -> tuple[TorchBuild | None, str]:
    """The torch of this Python, None where it cannot be imported; and what is wrong with it."""
    try:
        torch = look_at_torch()
    except (ImportError, OSError) as error:  # a library of CUDA's that is missing is an OSError
        return None, f"cannot be imported: {_one_line(error)}"
    try:
        check_torchvision()
    except (ConfigError, ImportError) as error:
        return torch, str(error)
    return torch, ""


def try_gpu(device: str) -> str:
    """Multiplies two matrices on a GPU; why that failed, "" where it did not."""
    import torch

    try:
        one = torch.ones(8, 8, device=device)
        product = (one @ one).sum().item()
    except RuntimeError as error:
        return _one_line(error)
    return "" if product == 8**3 else f"it made {product} of what is {8**3}"


def read_meminfo(text: str) -> Memory | None:
    r"""Of /proc/meminfo; None where it does not tell.

    >>> str(read_meminfo("MemTotal: 16000000 kB\nMemFree: 1000 kB\nMemAvailable: 8000000 kB"))
    '8.2 of 16.4 GB are free'
    """
    kb = {key: int(number) for key, number in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    if "MemAvailable" not in kb or "MemTotal" not in kb:
        return None
    return Memory(kb["MemAvailable"] * 1024 / 1e9, kb["MemTotal"] * 1024 / 1e9)


def machine_memory() -> Memory | None:
    """Of this machine."""
    return read_meminfo(_text(Path("/proc/meminfo")))


def gpu_memory(device: str) -> Memory | None:
    """Of a GPU that torch sees and can use."""
    import torch

    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError:
        return None
    return Memory(free / 1e9, total / 1e9)


def shared_memory() -> tuple[int, int] | None:
    """Free and all bytes of /dev/shm; None where there is none."""
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError:
        return None
    return usage.free, usage.total


def profile_texts(environment: Mapping[str, str]) -> dict[str, str]:
    """The text of each Fast DDS profile file that is named and there, by path."""
    named = {environment[name] for name in PROFILES if environment.get(name)}
    return {path: _text(Path(path)) for path in named if Path(path).is_file()}


def look_at_weights(preset: str, weights_dir: Path | None) -> list[Weights]:
    """The weights files of a preset, each verified as its loader does it."""
    beside = preset_path(preset).parent
    found = []
    for name in preset_weights(preset):
        known, path = known_file(name), find_file(name, weights_dir, beside)
        if path is None:
            folder = weights_dir or cache_dir()
            helps = cure(known, folder) if known else f"put it at {folder / name}"
            found.append(Weights(name, problem="it is not here", cure=helps))
            continue
        try:
            verify(path, known)
            found.append(Weights(name, path.stat().st_size))
        except WeightsError as error:
            problem, _, helps = str(error).partition("; ")
            found.append(Weights(name, problem=problem, cure=helps or "get it again"))
    return found


def try_bundled(preset_file: Path, preset: Mapping[str, Any], weights_dir: Path | None) -> dict[str, str]:
    """Builds the parts of a preset whose weights come with packages; by part what is wrong, or ""."""
    import torch

    context = LoadContext(preset_file, torch.device("cpu"), weights_dir, offline=True)
    found = {}
    for name, kinds in (("proposer", PROPOSERS), ("encoder", ENCODERS)):
        part = preset[name]
        if weights_named(part, kinds):
            continue
        try:
            build(context, part, kinds)
            problem = ""
        except (OvsegError, ImportError) as error:
            problem = str(error)
        found[f"{name} {part['kind']}"] = problem
    return found


def listen_to(listen: Any, topics: Mapping[str, str], seconds: float) -> CameraLook:
    """What comes on a camera's topics."""
    look: CameraLook = listen(topics, seconds)
    return look


def _is_here(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _one_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0] if said else 'it does not say why'}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
