"""Presets: which proposals, which encoder and which options belong together.

A preset is a YAML file; those in `ovseg_ros/models/presets` go by their name, users' own by their path:

    description: what it is for, one line
    proposer:
      kind: depth_clusters       # the proposal generator
      options: {}                # its options, see its module
    encoder:
      kind: mini                 # mini | lite
      weights: my.safetensors    # optional; relative to this file
    logit_scale: 40.0            # optional; multiplies cosines instead of the model's own
    options:                     # all optional, see core.segmenter.SegmenterOptions
      threshold: 0.5
      background: [wall, floor]
      templates: bare            # bare | single | vild, or a list of sentences with {}

A key that is not known is an error, so a slip of the pen cannot go unnoticed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from ovseg_ros.core.frame import Proposer, RegionEncoder
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.templates import BARE_TEMPLATE, SINGLE, VILD_TEMPLATES
from ovseg_ros.errors import ConfigError

PRESETS_FOLDER = Path(__file__).parent / "presets"
TEMPLATE_SETS = {"bare": BARE_TEMPLATE, "single": SINGLE, "vild": VILD_TEMPLATES}

_LOG = logging.getLogger(__name__)


def list_presets() -> tuple[str, ...]:
    """Names of the presets that come with the package, sorted."""
    return tuple(sorted(file.stem for file in PRESETS_FOLDER.glob("*.yaml")))


def preset_path(name_or_path: str | Path) -> Path:
    """The YAML file of a preset.

    Raises:
        ConfigError: no such name or file; the message lists the names.
    """
    text = str(name_or_path)
    if text in list_presets():
        return PRESETS_FOLDER / f"{text}.yaml"
    path = Path(text).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    raise ConfigError(
        f"want a preset name ({', '.join(list_presets())}) or the path of a .yaml file, got {text!r}"
    )


def load_preset(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
) -> OpenVocabularySegmenter:
    """Builds the segmenter a preset describes, weights loaded and verified.

    Args:
        name_or_path: see `preset_path`.
        device: torch device of the image encoder and its text tower.
        weights_dir: folder where weights files are looked for before the places where they were installed.
        offline: False allows downloading. The encoders known today come with packages, so nothing is ever
            downloaded for them.

    Raises:
        ConfigError: unknown preset, key, kind or device, or a value out of range.
        WeightsError: weights missing or not the expected ones; names the cure.
    """
    path = preset_path(name_or_path)
    preset = read_preset(path)
    torch_device = _device(device)
    proposer = _build_proposer(path, preset["proposer"])
    options = _build_options(path, preset.get("options") or {})
    encoder = _build_encoder(path, preset["encoder"], None if weights_dir is None else Path(weights_dir))
    if preset.get("logit_scale") is not None:
        encoder.logit_scale = float(preset["logit_scale"])
    if isinstance(encoder, torch.nn.Module):
        encoder.to(torch_device).eval()
    _LOG.info("preset %s loaded on %s", path.stem, torch_device)
    return OpenVocabularySegmenter(proposer, encoder, options, torch_device, name=path.stem)


def read_preset(path: Path) -> dict[str, Any]:
    """Reads and checks a preset file, without loading anything it names.

    Raises:
        ConfigError: not YAML, unknown or missing keys, wrong kinds of value.
    """
    try:
        preset = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    _check_keys(path, "the preset", preset, {"description", "proposer", "encoder", "logit_scale", "options"})
    for part in ("proposer", "encoder"):
        if part not in preset:
            raise ConfigError(f"{path}: want a {part!r} part, it has none")
    _check_keys(path, "proposer", preset["proposer"], {"kind", "options"})
    _check_keys(path, "encoder", preset["encoder"], {"kind", "weights"})
    _one_of(path, "proposer kind", preset["proposer"].get("kind"), _PROPOSERS)
    _one_of(path, "encoder kind", preset["encoder"].get("kind"), _ENCODERS)
    scale = preset.get("logit_scale")
    if scale is not None and not (isinstance(scale, (int, float)) and scale > 0):
        raise ConfigError(f"{path}: want logit_scale > 0, got {scale!r}")
    _build_options(path, preset.get("options") or {})
    checked: dict[str, Any] = preset
    return checked


def _check_keys(path: Path, what: str, value: object, known: set[str]) -> None:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: want {what} as key: value pairs, got {value!r}")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise ConfigError(
            f"{path}: {what} does not know {', '.join(unknown)}; it knows {', '.join(sorted(known))}"
        )


def _one_of(path: Path, what: str, value: object, known: Mapping[str, object]) -> None:
    if value not in known:
        raise ConfigError(f"{path}: want {what} one of {', '.join(sorted(known))}, got {value!r}")


def _build_options(path: Path, values: Mapping[str, Any]) -> SegmenterOptions:
    _check_keys(path, "options", values, {f.name for f in dataclasses.fields(SegmenterOptions)})
    values = dict(values)
    if isinstance(values.get("templates"), str):
        _one_of(path, "templates", values["templates"], TEMPLATE_SETS)
        values["templates"] = TEMPLATE_SETS[values["templates"]]
    return _from_mapping(path, SegmenterOptions, values)


def _from_mapping(path: Path, kind: type, values: Mapping[str, Any]) -> Any:
    """An options dataclass from YAML values; lists become tuples, and no other kind of value is bent."""
    defaults = kind()
    for name, value in values.items():
        default = getattr(defaults, name)
        wanted: tuple[type, ...] = (type(default),)
        if isinstance(default, float):
            wanted = (float, int)
        elif isinstance(default, tuple):
            wanted = (list, tuple)
        if default is not None and (
            not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise ConfigError(f"{path}: want {name} as {wanted[0].__name__}, got {value!r}")
    tuples = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return kind(**tuples)
    except (ConfigError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _device(device: str | torch.device) -> torch.device:
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used: {reason}; try cpu") from error
    return chosen


def _build_proposer(path: Path, part: Mapping[str, Any]) -> Proposer:
    return _PROPOSERS[part["kind"]](path, part.get("options") or {})


def _depth_clusters(path: Path, values: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.proposals.depth_clusters import DepthClusters, DepthClustersOptions

    _check_keys(path, "proposer options", values, {f.name for f in dataclasses.fields(DepthClustersOptions)})
    return DepthClusters(_from_mapping(path, DepthClustersOptions, values))


def _build_encoder(path: Path, part: Mapping[str, Any], weights_dir: Path | None) -> RegionEncoder:
    weights = part.get("weights")
    given = None if weights is None else path.parent / Path(str(weights)).expanduser()
    return _ENCODERS[part["kind"]](given, weights_dir)


def _mini(given: Path | None, weights_dir: Path | None) -> RegionEncoder:
    from ovseg_ros.models.mini import WEIGHTS_FOLDER, load_mini

    return load_mini(_find(given, weights_dir, "mini.safetensors") or WEIGHTS_FOLDER / "mini.safetensors")


def _lite(given: Path | None, weights_dir: Path | None) -> RegionEncoder:
    from ovseg_ros.models.lite import FILE, load_lite

    return load_lite(_find(given, weights_dir, Path(FILE).name))


def _find(given: Path | None, weights_dir: Path | None, name: str) -> Path | None:
    """The file named in the preset, else the one in `weights_dir` if it is there, else None."""
    if given is None and weights_dir is not None and (weights_dir / name).is_file():
        return weights_dir / name
    return given


_PROPOSERS: Mapping[str, Callable[[Path, Mapping[str, Any]], Proposer]] = {"depth_clusters": _depth_clusters}
_ENCODERS: Mapping[str, Callable[[Path | None, Path | None], RegionEncoder]] = {"mini": _mini, "lite": _lite}
