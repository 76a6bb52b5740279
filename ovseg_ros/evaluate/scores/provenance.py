"""What a measurement was made with: command, versions, hashes, hardware."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros import __version__
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset
from ovseg_ros.evaluate.recordings.demo import machine
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.presets import preset_path, weights_hashes

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "timm",
    "transformers",
    "segment-anything",
    "numpy",
    "opencv-python-headless",
    "Pillow",
    "pycocotools",
    "rosbags",
    "matplotlib",
)


def made_with(
    *,
    command: Sequence[str] | None = None,
    preset: str | None = None,
    weights_dir: Path | None = None,
    segmenter: OpenVocabularySegmenter | None = None,
    options: SegmenterOptions | None = None,
    dataset: SegmentationDataset | None = None,
) -> dict[str, Any]:
    """Everything needed to tell two measurements apart, for JSON.

    Paths are only those of the command as it was typed.

    Args:
        command: the command line; None: of this process.
        preset: name or path; with it come the hashes of its file and of the weights it names.
        weights_dir: where those weights are looked for first.
        segmenter: what was measured; with it come device and hashes of the parameters in memory.
        options: under which it was measured; None: the segmenter's own.
        dataset: what it was measured on; with it comes the hash of its list.
    """
    found: dict[str, Any] = {
        "command": shlex.join(typed() if command is None else command),
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "hardware": hardware(),
    }
    if preset is not None:
        path = preset_path(preset)
        found["preset"] = {"name": str(preset), "sha256": sha256_of(path)}
        found["weights"] = weights_hashes(preset, weights_dir)
    if segmenter is not None:
        used = segmenter.options if options is None else options
        found["device"] = str(segmenter.device)
        found["parameters"] = _parameters(segmenter)
        found["options"] = dataclasses.asdict(used)
    if dataset is not None:
        found["data"] = {
            "name": dataset.name,
            "layout": dataset.layout,
            "pictures": len(dataset),
            "classes": len(dataset.class_names),
            "sha256": dataset.sha256(),
        }
    return found


def typed() -> list[str]:
    """The command line of this process."""
    return ["ovseg", *sys.argv[1:]]


def versions() -> dict[str, str]:
    """Versions of Python, this package and what it computes with; packages that are absent are left out."""
    found = {"python": platform.python_version(), "ovseg_ros": __version__}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def hardware() -> dict[str, Any]:
    """Processor, memory and accelerators of this machine, without its name."""
    found: dict[str, Any] = {
        **machine(),
        "system": platform.system(),
        "torch_threads": torch.get_num_threads(),
    }
    del found["python"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        found["memory_gib"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    if torch.cuda.is_available():
        found["accelerators"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return found


def parameters_sha256(module: nn.Module) -> str:
    """Hash of a network's parameters and buffers, by name, type, shape and value."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _parameters(segmenter: OpenVocabularySegmenter) -> dict[str, str]:
    """Hashes of the networks in a chain; parts that are no networks have none."""
    parts = {
        "encoder": getattr(segmenter.clip, "encoder", segmenter.clip),  # inside an AcceleratedEncoder
        "proposals": getattr(segmenter.proposer, "network", getattr(segmenter.proposer, "sam", None)),
    }
    return {name: parameters_sha256(part) for name, part in parts.items() if isinstance(part, nn.Module)}
