"""What a preset's answers are judged by: rivals, meanings, masks seen before and the calibration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ovseg_ros.core.trust import Calibration, TrustModel
from ovseg_ros.core.words import Meanings, SpellingMeanings
from ovseg_ros.errors import WeightsError
from ovseg_ros.models.checkpoints.checkpoint import read_weights
from ovseg_ros.models.preset_parts import LoadContext
from ovseg_ros.models.rivals import rival_list
from ovseg_ros.models.yaml_files import from_mapping

KEY = "embeddings"
"""Of the only tensor in a file of masks seen before."""

WEIGHTS_FOLDER = Path(__file__).parent / "weights"

_CURE = "make it with: python -m ovseg_ros.app.learn.trust, or leave `reference` out of the preset"

_LOG = logging.getLogger(__name__)


def load_trust(
    context: LoadContext, preset: Mapping[str, Any], embedding_dim: int, *, logit_bias: float | None = None
) -> TrustModel:
    """The rule of absence with a preset's own numbers.

    Args:
        context: where the preset is and its files may be.
        preset: checked; its `calibration` and `reference`.
        embedding_dim: D of the encoder.
        logit_bias: of an encoder trained with a sigmoid; see `TrustModel`.

    Raises:
        ConfigError: a number of the calibration that cannot be.
        WeightsError: the file of masks seen before is missing, damaged or another encoder's.
    """
    calibration = build_calibration(context.preset, preset.get("calibration") or {})
    reference = None
    if preset.get("reference") is not None:
        bundled = WEIGHTS_FOLDER / preset["reference"]
        file = bundled if bundled.is_file() else context.file(preset["reference"])
        reference = read_reference(file, embedding_dim)
    return TrustModel(rival_list(), best_meanings(), reference, calibration, logit_bias)


def build_calibration(path: Path, values: Mapping[str, Any]) -> Calibration:
    """The calibration of a preset; `path` is for messages.

    Raises:
        ConfigError: unknown names, values of another kind or out of range.
    """
    calibration: Calibration = from_mapping(path, Calibration, values)
    return calibration


@lru_cache(maxsize=1)
def best_meanings() -> Meanings:
    """WordNet's where it is installed; else those of spelling alone, and one warning."""
    try:
        from ovseg_ros.models.bundled.wordnet import load_meanings

        return load_meanings()
    except WeightsError as error:
        _LOG.warning(
            "no dictionary of meanings, so that only spelling tells which words mean the same: %s", error
        )
        return SpellingMeanings()


def read_reference(file: Path, embedding_dim: int) -> torch.Tensor:
    """Masks seen before, (M, D) float32 unit rows.

    Args:
        file: safetensors with the one tensor `embeddings`.
        embedding_dim: D.

    Raises:
        WeightsError: not such a file, of another width, or NaN or infinity in it.
    """
    state, _ = read_weights(file, cure=_CURE)
    rows = state.get(KEY)
    if rows is None or rows.ndim != 2 or len(rows) < 2 or rows.shape[1] != embedding_dim:
        got = sorted(state) if rows is None else tuple(rows.shape)
        raise WeightsError(
            f"expected {KEY} (M,{embedding_dim}) of masks seen before in {file}, got {got}; {_CURE}"
        )
    if not bool(rows.isfinite().all()):
        raise WeightsError(f"{file} holds NaN or infinity; {_CURE}")
    return torch.nn.functional.normalize(rows.float(), dim=1)


def write_reference(file: Path, rows: torch.Tensor) -> None:
    """Writes masks seen before, (M, D) unit rows, in half precision."""
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({KEY: rows.detach().cpu().half().contiguous()}, file)
