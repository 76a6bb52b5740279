"""What adapts `lite` to masked crops: a linear map from features to words, learned on photographs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER
from ovseg_ros.models.checkpoints.checkpoint import read_weights
from ovseg_ros.models.downloads.verify import described_sha256, sha256_of

FILE = "lite_names.safetensors"
CURE = f"restore {FILE} and its JSON together from the repository or reinstall ovseg_ros"


@dataclass(frozen=True)
class NamesMap:
    """The map, F features of a view to R dimensions, and words into the same R.

    Attributes:
        crop: (F, R), of the features of a blanked crop.
        pooled: (F, R), of features averaged over a mask.
        crop_bias: (R,), to be added to the former.
        pooled_bias: (R,), to be added to the latter.
        text: (D, R) orthonormal columns, of a word's embedding less `text_mean`, made unit length.
        text_mean: (D,).
        known: (N, D) unit rows, the embeddings of the names it was trained on.
        handicap: what those names must be better by than others, as a part of a probability.
    """

    crop: torch.Tensor
    pooled: torch.Tensor
    crop_bias: torch.Tensor
    pooled_bias: torch.Tensor
    text: torch.Tensor
    text_mean: torch.Tensor
    known: torch.Tensor
    handicap: torch.Tensor


def unadapted(features: int, text_dim: int) -> NamesMap:
    """A map that adds nothing: words are their sets of classes alone.

    Args:
        features: F.
        text_dim: D.
    """
    return NamesMap(
        torch.zeros(features, 1),
        torch.zeros(features, 1),
        torch.zeros(1),
        torch.zeros(1),
        torch.eye(text_dim)[:, :1],
        torch.zeros(text_dim),
        torch.zeros(0, text_dim),
        torch.zeros(()),
    )


def save_names_map(path: Path, made: NamesMap, notes: Mapping[str, Any] | None = None) -> Path:
    """Writes a map (safetensors, fp16) and beside it a JSON with its SHA-256 and `notes`.

    Args:
        path: file to write; its folder is made.
        made: the map.
        notes: how it was made; not read back.

    Returns:
        `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({f.name: getattr(made, f.name).detach().cpu().half().contiguous() for f in fields(made)}, path)
    record = {"sha256": sha256_of(path), "notes": dict(notes or {})}
    path.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return path


def load_names_map(path: Path = WEIGHTS_FOLDER / FILE) -> NamesMap:
    """Reads a map, float32 on the CPU; its SHA-256 is checked where a JSON lies beside it.

    Raises:
        WeightsError: missing, damaged, or tensors that are no such map; names the cure.
    """
    state, _ = read_weights(path, cure=CURE, sha256=described_sha256(path, CURE))
    wanted = {field.name for field in fields(NamesMap)}
    if set(state) != wanted:
        raise WeightsError(
            f"expected {', '.join(sorted(wanted))} in {path}, got {', '.join(sorted(state))}; {CURE}"
        )
    made = NamesMap(**{name: value.float() for name, value in state.items()})
    sizes = {name: tuple(getattr(made, name).shape) for name in wanted}
    (features, rank), (dim, _) = _two(sizes["crop"]), _two(sizes["text"])
    fitting = {
        "crop": (features, rank),
        "pooled": (features, rank),
        "crop_bias": (rank,),
        "pooled_bias": (rank,),
        "text": (dim, rank),
        "text_mean": (dim,),
        "known": (len(made.known) if made.known.ndim else 0, dim),
        "handicap": (),
    }
    if sizes != fitting or not all(bool(getattr(made, name).isfinite().all()) for name in wanted):
        raise WeightsError(f"{path} holds no map to words: tensors of {sizes}, or not finite; {CURE}")
    return made


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return (shape[0], shape[1]) if len(shape) == 2 else (-1, -1)
