"""Presets: which proposals, which encoder and which options belong together.

A preset is a YAML file; those in `ovseg_ros/models/presets` go by their name, users' own by their path:

    description: what it is for, one line
    proposer:
      kind: sam                  # colour_masks | depth_clusters | sam | sam2 | maskformer |
                                 # ovseg_maskformer | union | owlv2 | sam3
      model: vit_b               # of sam, sam2 and ovseg_maskformer: a published size, or your own numbers
      weights: sam_vit_b_01ec64.pth
      options: {points_per_side: 16}   # see docs/proposals.md
    encoder:
      kind: clip                 # mini | lite | clip | owlv2 | sam3
      model: ViT-B-16            # open_clip's name, or your own numbers
      weights: my.safetensors
      image_weights: my_tower.safetensors  # optional, of clip: an image tower in place of that in weights
      prompts: my_prompts.safetensors  # optional
      activation: gelu           # gelu | quick_gelu; needed where the weights do not tell
      tokenizer: my_tokenizer.json     # of SigLIP 2: tokenizer.json from beside its weights
      pooled_side: 640           # of ConvNeXts, FastVits and lite, for the classifier pooled: docs/modes.md
      options: {precision: auto} # how its image tower is run, see docs/encoders.md
    logit_scale: 40.0            # optional; multiplies cosines instead of the model's own
    calibration: {odds: 0.8}     # optional, see core.trust.Calibration and docs/modes.md
    reference: my_reference.safetensors  # optional; embeddings of masks seen before, see docs/modes.md
    gpu_memory_gb: 4             # optional; what it needs of a GPU, in 1e9 bytes: `auto` asks for it
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

from ovseg_ros.core.frame import Proposer, as_proposer
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.auto import AUTO, RANKING, Candidate, Choice, Gpu, choose
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.nvidia import overlooked_gpu
from ovseg_ros.models.preset_parts import (
    ENCODERS,
    PROPOSERS,
    LoadContext,
    build,
    check_part,
    encoder_options,
    uses_sam,
    weights_named,
    with_runtime,
)
from ovseg_ros.models.template_sets import template_set
from ovseg_ros.models.torchvision_check import check_torchvision
from ovseg_ros.models.yaml_files import check_keys, from_mapping, read_yaml, yaml_file, yaml_names

if TYPE_CHECKING:
    import torch

    from ovseg_ros.core.segmenter import OpenVocabularySegmenter

PRESETS_FOLDER = Path(__file__).parent / "presets"

_KEYS = {
    "description",
    "proposer",
    "encoder",
    "logit_scale",
    "calibration",
    "reference",
    "gpu_memory_gb",
    "options",
}

_LOG = logging.getLogger(__name__)


def list_presets() -> tuple[str, ...]:
    """Names of the presets that come with the package, sorted."""
    return yaml_names(PRESETS_FOLDER)


def preset_path(name_or_path: str | Path) -> Path:
    """The YAML file of a preset.

    Raises:
        ConfigError: no such name or file; the message lists the names.
    """
    if str(name_or_path) == AUTO:
        raise ConfigError(
            f"expected one preset here, and {AUTO!r} stands for any of several: {', '.join(list_presets())}"
        )
    return yaml_file(name_or_path, PRESETS_FOLDER, "a preset name")


def resolve_preset(
    name_or_path: str | Path, device: str | torch.device = "auto", weights_dir: str | Path | None = None
) -> Choice:
    """The preset that a name stands for: itself, or for "auto" the best for this machine, and why.

    Args:
        name_or_path: "auto", or see `preset_path`; not looked for here.
        device: where the networks shall run, as for `load_preset`. Looked at, with torch, only where the
            weights of a larger preset are here.
        weights_dir: as for `load_preset`.

    Raises:
        ConfigError: a device that cannot be used.
    """
    if str(name_or_path) != AUTO:
        return Choice(str(name_or_path), "asked for by name")
    candidates = []
    for name in RANKING:
        path = preset_path(name)
        files = [f for f in preset_weights(name) if find_file(f, weights_dir, path.parent) is None]
        needs_gb = read_preset(path, part_options=False)["gpu_memory_gb"]
        candidates.append(Candidate(name, tuple(files), float(needs_gb)))
    if all(candidate.missing for candidate in candidates):
        return choose(candidates, None)
    return choose(candidates, _gpu(_device(device)))


def load_preset(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
    proposals_from: str | Path | None = None,
    proposer: Proposer | None = None,
    runtime: str | None = None,
) -> OpenVocabularySegmenter:
    """Builds the segmenter a preset describes, weights loaded and verified.

    Args:
        name_or_path: see `resolve_preset`.
        device: torch device of the networks; "auto": see `best_device`.
        weights_dir: folder where weights files are looked for before the cache and installed packages.
        offline: False allows downloading what is missing and can be had; True never touches the network.
        proposals_from: another preset, whose proposal generator stands in for this one's. Where it does not
            classify and this preset counts on that, CLIP alone decides, and a warning says so.
        proposer: a generator that stands in for it; then none is built and no weights of one are asked for.
        runtime: what runs the networks that can run by another than torch, whatever the preset says.

    Raises:
        ConfigError: unknown preset, key, kind or device, a value out of range, or a torchvision that was not
            built for the torch beside it.
        WeightsError: weights missing or not the expected ones; names the cure.
    """
    chosen = resolve_preset(name_or_path, device, weights_dir)
    path = preset_path(chosen.preset)
    preset = read_preset(path)
    import torch

    from ovseg_ros.core.encoders import accelerate
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.models.bundled.colour_masks import share_pass
    from ovseg_ros.models.engines import engine_parts
    from ovseg_ros.models.trusted import load_trust

    check_torchvision()
    folder = None if weights_dir is None else Path(weights_dir).expanduser()
    context = LoadContext(path, _device(device), folder, offline)
    options = build_options(path, preset.get("options") or {})
    part, beside = preset["proposer"], context
    if proposals_from is not None:
        beside = dataclasses.replace(context, preset=preset_path(proposals_from))
        part = read_preset(beside.preset)["proposer"]
    named = preset["encoder"]
    if runtime is not None:
        part, named = with_runtime(part, PROPOSERS, runtime), with_runtime(named, ENCODERS, runtime)
    replaced = proposals_from is not None or proposer is not None
    needs_gb, slow = None if replaced else preset.get("gpu_memory_gb"), ""
    if proposer is None:
        proposer = build(beside, part, PROPOSERS)
        slow = "" if context.device.type != "cpu" else slow_on_cpu(beside.preset.stem, part, needs_gb)
    if replaced:
        options = _served_by(proposer, options, path)
    encoder = build(context, named, ENCODERS)
    if preset.get("logit_scale") is not None:
        encoder.logit_scale = float(preset["logit_scale"])
    if isinstance(encoder, torch.nn.Module):
        encoder.to(context.device).eval()
        share_pass(proposer, encoder)
    how = encoder_options(path, named)
    store, pictures = engine_parts("torch" if how is None else how.runtime)
    encoder = accelerate(encoder, how, context.device, store, pictures)
    _LOG.info("preset %s loaded on %s; %s", path.stem, context.device, chosen.reason)
    unseen = overlooked_gpu() if str(device) == "auto" and context.device.type == "cpu" else ""
    warnings = [warning for warning in (unseen, slow) if warning]
    for warning in warnings:
        _LOG.warning(warning)
    trust = load_trust(
        context, preset, encoder.embedding_dim, logit_bias=getattr(encoder, "logit_bias", None)
    )
    about = {"name": path.stem, "reason": chosen.reason, "warning": "; ".join(warnings)}
    return OpenVocabularySegmenter(proposer, encoder, options, context.device, trust=trust, **about)


def slow_on_cpu(name: str, proposer: Mapping[str, Any], gpu_memory_gb: float | None) -> str:
    """Says that a preset is not for a CPU; "" where it is.

    Args:
        name: of the preset that the proposals are of.
        proposer: its part, checked.
        gpu_memory_gb: what the preset says that it needs of a GPU; None where it says nothing.
    """
    if uses_sam(proposer):
        return (
            f"the proposals of {name} are Segment Anything's and run on the CPU, which takes from 15 s "
            "(image_size: 512) to minutes of processor time for every frame; take a GPU (device cuda), or "
            "the preset lite"
        )
    if proposer["kind"] == "sam3":
        return (
            f"{name} runs SAM 3 on the CPU: 454 million parameters look at every frame at 1008 pixels, and "
            "33 million more for each word; take a GPU (device cuda), or the preset lite"
        )
    if gpu_memory_gb is None:
        return ""
    return (
        f"{name} was made for a GPU ({gpu_memory_gb:g} GB of it) and runs on the CPU, far slower than a "
        "camera sends; take a GPU (device cuda), or the preset lite"
    )


def load_proposer(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
) -> Proposer:
    """Builds the proposal generator a preset describes, and nothing that names its masks.

    Args, Raises: see `load_preset`.
    """
    path = preset_path(name_or_path)
    preset = read_preset(path)
    check_torchvision()
    folder = None if weights_dir is None else Path(weights_dir).expanduser()
    context = LoadContext(path, _device(device), folder, offline)
    return as_proposer(build(context, preset["proposer"], PROPOSERS))


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
    check_keys(path, "the preset", preset, _KEYS)
    for part in ("proposer", "encoder"):
        if part not in preset:
            raise ConfigError(f"{path}: expected a {part!r} part, it has none")
    check_part(path, "proposer", preset["proposer"], PROPOSERS, options=part_options)
    check_part(path, "encoder", preset["encoder"], ENCODERS, options=part_options)
    for key in ("logit_scale", "gpu_memory_gb"):
        number = preset.get(key)
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        if number is not None and not (is_number and number > 0):
            raise ConfigError(f"{path}: expected {key} > 0, got {number!r}")
    reference = preset.get("reference")
    if reference is not None and not isinstance(reference, str):
        raise ConfigError(f"{path}: expected reference as a file name, got {reference!r}")
    if part_options:
        from ovseg_ros.models.trusted import build_calibration

        build_calibration(path, preset.get("calibration") or {})
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


def _gpu(device: torch.device) -> Gpu | None:
    """What is free on a device now; None for a CPU."""
    import torch

    if device.type == "cpu":
        return None
    free = None
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return Gpu(str(device), None if free is None else free / 1e9)


def _device(device: str | torch.device) -> torch.device:
    import torch

    try:
        chosen = torch.device(best_device() if device == "auto" else device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {str(device)!r} cannot be used: {reason}; try cpu") from error
    return chosen
