"""Where training starts and what it leaves: the encoder of a preset, and a preset with the new one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.errors import ConfigError
from ovseg_ros.files.whole import write_whole
from ovseg_ros.models.bundled.mini import mini_config, save_mini
from ovseg_ros.models.checkpoints.convert import read_metadata
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.preset_parts import ENCODERS, PROPOSERS, LoadContext, build
from ovseg_ros.models.presets import build_options, preset_path, read_preset
from ovseg_ros.models.template_sets import template_set

KINDS = ("mini", "clip")
"""Encoders that can be trained."""


@dataclass(frozen=True)
class Start:
    """What training starts from.

    Attributes:
        clip: the preset's encoder, on the CPU, locked.
        preset: the preset's content.
        context: where its files are.
    """

    clip: MaskPromptedClip
    preset: dict[str, Any]
    context: LoadContext

    @property
    def kind(self) -> str:
        """The encoder's kind, one of `KINDS`."""
        return str(self.preset["encoder"]["kind"])

    def templates(self, name: str) -> tuple[str, ...]:
        """The sentences nouns are put into: a set by name, or "preset" for the preset's own."""
        if name != "preset":
            return template_set(name)
        return build_options(self.context.preset, self.preset.get("options") or {}).templates


def read_start(preset: str | Path, *, weights_dir: str | Path | None = None, offline: bool = True) -> Start:
    """Builds a preset's encoder; its proposal generator is not needed and not loaded.

    Raises:
        ConfigError: no such preset, or one whose encoder cannot be trained.
        WeightsError: weights missing or not the expected ones.
    """
    path = preset_path(preset)
    content = read_preset(path)
    kind = content["encoder"]["kind"]
    if kind not in KINDS:
        raise ConfigError(
            f"expected a preset whose encoder is {' or '.join(KINDS)}, got {kind} in {path.name}; its "
            "encoder has no image tower to train"
        )
    folder = None if weights_dir is None else Path(weights_dir).expanduser()
    context = LoadContext(path, torch.device("cpu"), folder, offline)
    return Start(build(context, content["encoder"], ENCODERS), content, context)


def save_tower(out: Path, start: Start, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `out`/model.safetensors with the whole encoder but its mask prompts, whole or not at all.

    Args:
        out: the run's folder.
        start: what was trained, in place.
        notes: what to keep with the weights.

    Returns:
        The encoder's part of a preset that loads it.
    """
    path = out / "model.safetensors"
    model = start.clip.clip_model
    if start.kind == "mini":
        save_mini(path, model, None, mini_config(model), notes)
        return {"kind": "mini", "weights": path.name}
    encoder = {**start.preset["encoder"], "weights": path.name, "activation": activation(model)}
    encoder.pop("prompts", None)
    metadata = {
        **_inherited(start),
        "format": "ovseg",
        "part": "clip",
        "activation": encoder["activation"],
        **{key: str(value) for key, value in notes.items()},
    }
    if isinstance(encoder["model"], str):
        metadata["architecture"] = encoder["model"].replace("/", "-")
    else:
        metadata.pop("architecture", None)
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()}
    partial = path.with_suffix(".tmp")
    save_file(state, partial, metadata)
    partial.replace(path)
    return encoder


def save_prompts(out: Path, start: Start, notes: Mapping[str, Any]) -> dict[str, Any]:
    """Writes `out`/prompts.safetensors, in half precision; returns as `save_tower`."""
    path = out / "prompts.safetensors"
    prompts = start.clip.mask_prompts
    assert prompts is not None
    metadata = {
        **_inherited(start),
        "format": "ovseg",
        "part": "prompts",
        **{k: str(v) for k, v in notes.items()},
    }
    partial = path.with_suffix(".tmp")
    save_file({"mask_prompts": prompts.detach().cpu().half().contiguous()}, partial, metadata)
    partial.replace(path)
    encoder = _found(start.preset["encoder"], start.context, ENCODERS)
    return {**encoder, "prompts": path.name}


def write_preset(out: Path, start: Start, encoder: Mapping[str, Any], trained: str, **options: Any) -> Path:
    """Writes `out`/preset.yaml: the preset training started from, with another encoder.

    Files beside the old preset are named by their full path, because the new one lies elsewhere.

    Args:
        out: the run's folder.
        start: what training started from.
        encoder: the new encoder's part.
        trained: what was done; goes into the description.
        options: what the new encoder wants otherwise, such as another fill; `logit_scale` None takes out
            the preset's.
    """
    preset = copy.deepcopy(start.preset)
    if "logit_scale" in options and options.pop("logit_scale") is None:
        preset.pop("logit_scale", None)
    before = str(preset.get("description") or start.context.preset.stem).rstrip(". ")
    preset["description"] = f"{before}; {trained}"
    preset["proposer"] = _found(preset["proposer"], start.context, PROPOSERS)
    preset["encoder"] = dict(encoder)
    preset["options"] = {**(preset.get("options") or {}), **options}
    path = out / "preset.yaml"
    write_whole(path, yaml.safe_dump(preset, sort_keys=False, allow_unicode=True, width=110))
    read_preset(path)
    return path


def activation(model: torch.nn.Module) -> str:
    """The activation a CLIP is built with."""
    from open_clip.transformer import QuickGELU

    return "quick_gelu" if any(isinstance(part, QuickGELU) for part in model.modules()) else "gelu"


def _found(part: Mapping[str, Any], context: LoadContext, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The part with full paths for files that lie beside the preset it is from."""
    out = copy.deepcopy(dict(part))
    for key in kinds[out["kind"]].files:
        name = out.get(key)
        beside = context.preset.parent / str(name)
        if name is not None and not Path(name).is_absolute() and beside.is_file():
            out[key] = str(beside.resolve())
    if "members" in out:
        out["members"] = [_found(member, context, kinds) for member in out["members"]]
    if out.get("boxes_from") is not None:
        out["boxes_from"] = _found(out["boxes_from"], context, kinds)
    return out


def _inherited(start: Start) -> dict[str, str]:
    """What the weights trained from say of themselves that holds for their children: above all a licence."""
    name = start.preset["encoder"].get("weights")
    path = None if name is None else find_file(name, start.context.weights_dir, start.context.preset.parent)
    if path is None:
        return {}
    metadata = read_metadata(path)
    kept = ("licence", "source_name", "source_sha256", "architecture", "activation")
    return {key: metadata[key] for key in kept if key in metadata}
