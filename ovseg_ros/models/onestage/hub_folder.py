"""Networks as the hub keeps them: transformers builds them, and every tensor has to be there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.files.texts import read_json
from ovseg_ros.models.checkpoints.checkpoint import check_finite, listed, read_weights

_COUNTED = "position_ids"  # 0, 1, 2 …: kept in files by older releases


def settings_of(weights: Path, kinds: Sequence[str], cure: str) -> dict[str, Any]:
    """The config.json beside a weights file.

    Args:
        weights: the weights file.
        kinds: the `model_type` it must have one of.
        cure: ends every error message.

    Raises:
        WeightsError: missing, not JSON, or of another network.
    """
    path = weights.parent / "config.json"
    if not path.is_file():
        raise WeightsError(f"expected {path} beside {weights.name}, it does not exist; {cure}")
    found = read_json(path, refuse=lambda text: WeightsError(f"expected {path} as JSON: {text}; {cure}"))
    if not isinstance(found, dict) or found.get("model_type") not in kinds:
        got = found.get("model_type") if isinstance(found, dict) else type(found).__name__
        raise WeightsError(f"expected {path} with model_type of {list(kinds)}, got {got!r}; {cure}")
    return found


def chosen_settings(
    weights: Path,
    model: str | Mapping[str, Any] | None,
    sizes: Mapping[str, Mapping[str, Any]],
    kinds: Sequence[str],
    cure: str,
) -> Mapping[str, Any]:
    """The settings of a network.

    Args:
        weights: the weights file.
        model: a published size, or settings as in config.json; None reads the config.json beside the weights.
        sizes: the published ones.
        kinds: see `settings_of`.
        cure: ends every message about files.

    Raises:
        ConfigError: no such size.
        WeightsError: see `settings_of`; or no weights file.
    """
    if model is None:
        if not weights.is_file():
            raise WeightsError(f"expected the weights file {weights}, it does not exist; {cure}")
        return settings_of(weights, kinds, cure)
    if isinstance(model, str) and model not in sizes:
        raise ConfigError(
            f"expected model one of {', '.join(sizes)}, or settings as in config.json, got {model!r}"
        )
    return sizes[model] if isinstance(model, str) else model


def pixels_of(image_rgb: npt.NDArray[np.uint8], processor: Any, device: torch.device) -> torch.Tensor:
    """(1, 3, S, S) of an image (H, W, 3) uint8 RGB, by transformers' own processor, on the device."""
    image = torch.from_numpy(np.ascontiguousarray(image_rgb.transpose(2, 0, 1))).to(device)  # (3,H,W)
    pixels: torch.Tensor = processor(images=image, return_tensors="pt")["pixel_values"].to(device)
    return pixels


class WordsOnly(nn.Module):
    """The words' part of a network that names its own masks, as an encoder.

    Attributes:
        space: the network's name.
        words_only: True; it looks at no masks.
    """

    space, words_only = "", True
    size, logit_scale = 0, 1.0  # of crops, which it takes none of

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """There is no tower for regions.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self.space} names its own masks and encodes no regions; take the classifier maskformer"
        )


def build_whole(
    config_type: Any,
    model_type: Any,
    settings: Mapping[str, Any],
    weights: Path,
    cure: str,
    part: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] = lambda state: state,
) -> nn.Module:
    """A network of transformers with its weights, in float32, in evaluation mode. Never touches the network.

    Args:
        config_type: transformers' class of its configuration.
        model_type: transformers' class of the network.
        settings: of the configuration.
        weights: the weights file.
        cure: ends every error message.
        part: takes the network's own tensors out of a file that holds others too.

    Raises:
        WeightsError: settings that contradict themselves, or weights that do not fill exactly this network;
            lists what does not fit.
    """
    state = part(read_weights(weights, cure=cure)[0])
    check_finite(state, path=weights, cure=cure)
    try:
        config = config_type.from_dict(dict(settings))
        model, told = model_type.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # a configuration that contradicts itself can raise anything in there
        raise WeightsError(
            f"expected weights for {model_type.__name__} in {weights}: {error}; {cure}"
        ) from error
    wrong = {
        "missing": sorted(told["missing_keys"]),
        "unexpected": sorted(key for key in told["unexpected_keys"] if not key.endswith(_COUNTED)),
        "other shape": sorted(entry[0] for entry in told["mismatched_keys"]),
    }
    problems = [f"{name} {listed(keys)}" for name, keys in wrong.items() if keys]
    if problems:
        raise WeightsError(
            f"{weights} does not hold this {model_type.__name__}: {', '.join(problems)}; {cure}"
        )
    built: nn.Module = model.to(torch.float32).eval().requires_grad_(False)
    return built
