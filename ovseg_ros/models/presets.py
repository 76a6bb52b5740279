"""Presets: which proposals, which encoder and which options belong together.

A preset is a YAML file; those in `ovseg_ros/models/presets` go by their name, users' own by their path:

    description: what it is for, one line
    proposer:
      kind: sam                  # colour_masks | depth_clusters | sam | maskformer | ovseg_maskformer | union
      model: vit_b               # of sam and ovseg_maskformer: a published size, or your own numbers
      weights: sam_vit_b_01ec64.pth
      options: {points_per_side: 16}   # see docs/proposals.md
    encoder:
      kind: clip                 # mini | lite | clip
      model: ViT-B-16            # open_clip's name, or your own numbers
      weights: my.safetensors
      prompts: my_prompts.safetensors  # optional
      activation: gelu           # gelu | quick_gelu; needed where the weights do not tell
      pooled_side: 640           # of ConvNeXts and lite, for the classifier pooled; see docs/modes.md
      options: {precision: auto} # how its image tower is run, see docs/encoders.md
    logit_scale: 40.0            # optional; multiplies cosines instead of the model's own
    options:                     # all optional, see core.options.SegmenterOptions and docs/modes.md
      threshold: 0.5
      background: [wall, floor]
      templates: bare            # bare | single | vild | imagenet, or a list of sentences with {}

Weights are names in docs/weights.md, or paths; they are looked for beside the preset, in `weights_dir` and in
the cache.
A key that is not known is an error, so a slip of the pen cannot go unnoticed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.core.frame import as_proposer
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.preset_parts import (
    ENCODERS,
    PROPOSERS,
    LoadContext,
    build,
    check_part,
    encoder_options,
    weights_named,
)
from ovseg_ros.models.template_sets import template_set
from ovseg_ros.models.torchvision_check import check_torchvision
from ovseg_ros.models.yaml_files import check_keys, from_mapping, read_yaml, yaml_file, yaml_names

if TYPE_CHECKING:
    import torch

    from ovseg_ros.core.segmenter import OpenVocabularySegmenter

PRESETS_FOLDER = Path(__file__).parent / "presets"

_LOG = logging.getLogger(__name__)


def list_presets() -> tuple[str, ...]:
    """Names of the presets that come with the package, sorted."""
    return yaml_names(PRESETS_FOLDER)


def preset_path(name_or_path: str | Path) -> Path:
    """The YAML file of a preset.

    Raises:
        ConfigError: no such name or file; the message lists the names.
    """
    return yaml_file(name_or_path, PRESETS_FOLDER, "a preset name")


def load_preset(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
    proposals_from: str | Path | None = None,
) -> OpenVocabularySegmenter:
    """Builds the segmenter a preset describes, weights loaded and verified.

    Args:
        name_or_path: see `preset_path`.
        device: torch device of the networks; "auto": see `best_device`.
        weights_dir: folder where weights files are looked for before the cache and installed packages.
        offline: False allows downloading what is missing and can be had; True never touches the network.
        proposals_from: another preset, whose proposal generator stands in for this one's. Where it does not
            classify and this preset counts on that, CLIP alone decides, and a warning says so.

    Raises:
        ConfigError: unknown preset, key, kind or device, a value out of range, or a torchvision that was not
            built for the torch beside it.
        WeightsError: weights missing or not the expected ones; names the cure.
    """
    path = preset_path(name_or_path)
    preset = read_preset(path)
    import torch

    from ovseg_ros.core.encoders import accelerate
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter

    check_torchvision()
    folder = None if weights_dir is None else Path(weights_dir).expanduser()
    context = LoadContext(path, _device(device), folder, offline)
    options = build_options(path, preset.get("options") or {})
    if proposals_from is None:
        proposer = build(context, preset["proposer"], PROPOSERS)
    else:
        other = preset_path(proposals_from)
        proposer = build(
            dataclasses.replace(context, preset=other), read_preset(other)["proposer"], PROPOSERS
        )
        options = _served_by(proposer, options, path)
    encoder = build(context, preset["encoder"], ENCODERS)
    if preset.get("logit_scale") is not None:
        encoder.logit_scale = float(preset["logit_scale"])
    if isinstance(encoder, torch.nn.Module):
        encoder.to(context.device).eval()
    encoder = accelerate(encoder, encoder_options(path, preset["encoder"]), context.device)
    _LOG.info("preset %s loaded on %s", path.stem, context.device)
    return OpenVocabularySegmenter(proposer, encoder, options, context.device, name=path.stem)


def _served_by(proposer: Any, options: SegmenterOptions, path: Path) -> SegmenterOptions:
    """The options, without the classifier that this generator cannot serve."""
    if not options.uses_generator or as_proposer(proposer).classifies:
        return options
    _LOG.warning(
        "%s: the proposals taken from elsewhere do not classify; CLIP alone names masks instead of %s",
        path.stem,
        options.classifier,
    )
    return dataclasses.replace(options, classifier="clip")


def read_preset(path: Path, *, part_options: bool = True) -> dict[str, Any]:
    """Reads and checks a preset file, without loading anything it names.

    Args:
        path: see `preset_path`.
        part_options: False leaves the options of generator and encoder unchecked, and needs no torch.

    Raises:
        ConfigError: not YAML, unknown or missing keys, wrong kinds of value.
    """
    preset = read_yaml(path)
    check_keys(path, "the preset", preset, {"description", "proposer", "encoder", "logit_scale", "options"})
    for part in ("proposer", "encoder"):
        if part not in preset:
            raise ConfigError(f"{path}: want a {part!r} part, it has none")
    check_part(path, "proposer", preset["proposer"], PROPOSERS, options=part_options)
    check_part(path, "encoder", preset["encoder"], ENCODERS, options=part_options)
    scale = preset.get("logit_scale")
    if scale is not None and not (isinstance(scale, (int, float)) and scale > 0):
        raise ConfigError(f"{path}: want logit_scale > 0, got {scale!r}")
    build_options(path, preset.get("options") or {})
    checked: dict[str, Any] = preset
    return checked


def preset_weights(name_or_path: str | Path) -> tuple[str, ...]:
    """The names of the weights files a preset needs beside what comes in packages.

    Raises:
        ConfigError: see `read_preset`, without the options of its parts.
    """
    preset = read_preset(preset_path(name_or_path), part_options=False)
    names = weights_named(preset["proposer"], PROPOSERS) + weights_named(preset["encoder"], ENCODERS)
    return tuple(dict.fromkeys(names))


def weights_hashes(name_or_path: str | Path, weights_dir: Path | None = None) -> dict[str, str]:
    """SHA-256 of each weights file a preset names and that is here; bundled ones go with the package.

    Raises:
        ConfigError: see `read_preset`.
    """
    beside = preset_path(name_or_path).parent
    files = {name: find_file(name, weights_dir, beside) for name in preset_weights(name_or_path)}
    return {name: sha256_of(file) for name, file in files.items() if file is not None}


def build_options(path: Path, values: Mapping[str, Any]) -> SegmenterOptions:
    """The options of a preset; `path` is for messages.

    Raises:
        ConfigError: unknown names, values of another kind or out of range.
    """
    if isinstance(values, Mapping) and isinstance(values.get("templates"), str):
        try:
            values = {**values, "templates": template_set(values["templates"])}
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return from_mapping(path, SegmenterOptions, values)


def best_device() -> str:
    """What the device "auto" stands for: "cuda" if torch sees such a GPU, else a Mac's "mps", else "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        chosen = torch.device(best_device() if device == "auto" else device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used: {reason}; try cpu") from error
    return chosen
