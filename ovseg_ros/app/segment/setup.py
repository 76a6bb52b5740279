"""From the command line of `ovseg segment` to words, options, inputs and a segmenter, each checked.

`checked` comes first and imports no torch: what is wrong is said within a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros import __version__
from ovseg_ros.app.segment.folder import FOLDERS, check_folder, default_folder
from ovseg_ros.app.segment.inputs import InputOptions, Source, readable
from ovseg_ros.app.segment.plan import plan_inputs
from ovseg_ros.app.segment.taught import Taught, asked_names, known_to, read_taught, with_names_quoted
from ovseg_ros.core.camera import check_depth_scale
from ovseg_ros.core.words import Refuse, Rejected, Vocabulary, parse_query
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.files.cameras import read_camera
from ovseg_ros.models.auto import Choice
from ovseg_ros.models.downloads.download import resolve_file
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.preset_parts import ENCODERS, PROPOSERS, needs_depth, weights_named
from ovseg_ros.models.presets import (
    build_options,
    list_presets,
    load_preset,
    preset_path,
    read_preset,
    resolve_preset,
)
from ovseg_ros.models.yaml_files import setting

if TYPE_CHECKING:
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.memory.teaching import KnownNames

Load = Callable[..., "OpenVocabularySegmenter"]
"""What `models.presets.load_preset` is."""

MAX_REASONS = 5
"""Most reasons told where no input can be used."""


@dataclass(frozen=True)
class Checked:
    """What a run is about.

    Attributes:
        vocabulary: the words to look for.
        rejected: the words that are not taken.
        changes: the segmenter's options that differ from the preset's.
        out: where the results go.
        sources: the inputs, at least one frame of which can be read.
        unusable: (input, reason) of those that cannot be used.
        chosen: the preset, and why it is taken.
        weights: name of each weights file, and the preset that names it.
        settings: what a resumed run must share, as far as it is known without the networks.
        taught: examples by name in small letters, from `--memory`.
    """

    vocabulary: Vocabulary
    rejected: list[Rejected]
    changes: dict[str, Any]
    out: Path
    sources: list[Source]
    unusable: list[tuple[str, str]]
    chosen: Choice
    weights: dict[str, Path]
    settings: dict[str, Any]
    taught: Taught


def checked(options: argparse.Namespace) -> Checked:
    """Checks all that can be checked without a network.

    `options.preset` becomes the preset that is taken, and in `options.labels` taught names stand in quotes.

    Raises:
        OvsegError: what cannot be used, and the cure.
    """
    vocabulary_of(options.labels)  # that there is a word at all is said before all else
    chosen = resolve_preset(options.preset, options.device, options.weights_dir)
    options.preset = chosen.preset
    taught = read_taught(options.memory, chosen.preset)
    options.labels = with_names_quoted(options.labels, taught)
    vocabulary, rejected = vocabulary_of(options.labels)
    proposer, weights = read_presets(options)
    out = options.out or default_folder(again=options.resume or options.overwrite)
    settings = {
        "preset": preset_identity(options),
        "labels": list(vocabulary.names),
        "ovseg_ros": __version__,
    }
    if shown := asked_names(options.labels, taught):
        settings["taught"] = shown
    check_folder(out, settings, overwrite=options.overwrite, resume=options.resume)
    sources, unusable = plan_inputs(options.inputs, input_options(options, out, needs_depth(proposer)))
    check_depth(options, sources)
    check_frames(sources, unusable)
    check_weights(options, weights)
    changes = changed_options(options)  # may import torch, for a list of templates
    return Checked(vocabulary, rejected, changes, out, sources, unusable, chosen, weights, settings, taught)


def vocabulary_of(labels: str, refuse: Refuse | None = None) -> tuple[Vocabulary, list[Rejected]]:
    """The words of `--labels`, and those that were not taken.

    Args:
        labels: as typed.
        refuse: what else stands against a word.

    Raises:
        InvalidInputError: no word is left.
    """
    vocabulary, rejected = Vocabulary.empty().replace(parse_query(labels), refuse=refuse)
    if not vocabulary:
        reasons = "; ".join(f"{word.name!r}: {word.reason}" for word in rejected) or "got none"
        raise InvalidInputError(f'expected a word to look for, as in --labels "teapot, red mug"; {reasons}')
    return vocabulary, rejected


def words_known(
    labels: str, segmenter: OpenVocabularySegmenter, taught: Taught
) -> tuple[Vocabulary, list[Rejected], KnownNames | None]:
    """The words of `--labels` without those that the text tower cannot mean, and the taught names.

    Raises:
        InvalidInputError: no word is left.
    """
    known = known_to(segmenter, taught)

    def refusal(word: str) -> str:
        return known.refusal(word) if known is not None and known.knows(word) else segmenter.refusal(word)

    return *vocabulary_of(labels, refusal), known


def changed_options(options: argparse.Namespace) -> dict[str, Any]:
    """The segmenter's options that differ from the preset's.

    Raises:
        ConfigError: unknown names, values of another kind or out of range.
    """
    changes: dict[str, Any] = {}
    for text in options.settings:
        name, value = setting(text, "--set")
        changes[name] = value
    for name in ("threshold", "granularity"):
        if (given := getattr(options, name, None)) is not None:
            changes[name] = given
    checked = build_options(Path("command line"), changes)
    return {name: getattr(checked, name) for name in changes}


def input_options(options: argparse.Namespace, out: Path, depth_is_needed: bool) -> InputOptions:
    """How the inputs are read.

    Args:
        options: the command line's.
        out: where the results go.
        depth_is_needed: whether the proposals need it.

    Raises:
        ConfigError: a number out of range.
        InvalidInputError: no such depth, depth without intrinsics, none in what --intrinsics names, or no
            scale.
    """
    for name, least in (("every", 1), ("max_frames", 1), ("max_pixels", 1e-6), ("depth_tolerance", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise ConfigError(f"expected --{name.replace('_', '-')} at least {least}, got {value}")
    intrinsics = None if options.intrinsics is None else read_camera(options.intrinsics)
    scale = options.depth_scale
    if scale is not None:
        check_depth_scale(scale)
    elif intrinsics is not None:
        scale = intrinsics.depth_scale
    if options.depth is not None and not options.depth.exists():
        raise InvalidInputError(f"expected --depth as a file or a folder, {options.depth} is not there")
    if options.depth is not None and options.intrinsics is None:
        raise InvalidInputError("--depth needs the camera's intrinsics; give them with --intrinsics")
    return InputOptions(
        recursive=options.recursive,
        every=options.every,
        max_frames=options.max_frames,
        max_pixels=round(options.max_pixels * 1e6),
        depth=options.depth,
        depth_scale=scale,
        intrinsics=intrinsics,
        image_topic=options.image_topic,
        depth_topic=options.depth_topic,
        camera_info_topic=options.camera_info_topic,
        depth_tolerance_s=options.depth_tolerance,
        needs_depth=depth_is_needed,
        leave_out=tuple(out / name for name in FOLDERS),
    )


def loaded(
    options: argparse.Namespace, load: Load | None, changes: Mapping[str, Any]
) -> OpenVocabularySegmenter:
    """The preset's segmenter, with the changed options.

    Raises:
        ConfigError: no such preset or device, or options this preset cannot follow.
        WeightsError: weights that are missing or damaged.
    """
    segmenter = (load or load_preset)(
        options.preset,
        device=options.device,
        weights_dir=options.weights_dir,
        offline=not options.download,
        proposals_from=options.proposals_from,
    )
    changed = dataclasses.replace(segmenter.options, **changes)
    segmenter.check(changed)
    segmenter.options = changed
    return segmenter


def read_presets(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Path]]:
    """What proposes masks, as the preset describes it, and the weights files that will be loaded.

    Returns:
        The checked part of the preset; and each file's name with the preset that names it.

    Raises:
        ConfigError: no such preset, or one that is not right.
    """
    path = preset_path(options.preset)
    preset = read_preset(path, part_options=False)
    source = path if options.proposals_from is None else preset_path(options.proposals_from)
    proposer = read_preset(source, part_options=False)["proposer"]
    weights = dict.fromkeys(weights_named(proposer, PROPOSERS), source)
    return proposer, weights | dict.fromkeys(weights_named(preset["encoder"], ENCODERS), path)


def check_weights(options: argparse.Namespace, weights: Mapping[str, Path]) -> None:
    """Looks whether the files are there; what is in them is verified when they are loaded.

    Raises:
        WeightsError: one is missing and shall not be downloaded; names the cure.
    """
    for name, preset in weights.items():
        where = {"weights_dir": options.weights_dir, "beside": preset.parent}
        if not options.download and find_file(name, **where) is None:
            resolve_file(name, **where, offline=True)


def check_depth(options: argparse.Namespace, sources: Sequence[Source]) -> None:
    """Refuses at once what could only fail frame by frame.

    Raises:
        InvalidInputError: the proposals need depth, or a scale is given for it, and no input has any.
    """
    if options.depth_scale is not None and not any(source.gives_depth for source in sources):
        reasons = "; ".join(dict.fromkeys(source.no_depth for source in sources))
        raise InvalidInputError(f"--depth-scale is for depth, and no input has any: {reasons}")
    lacking = [source for source in sources if source.options.needs_depth and not source.gives_depth]
    if not lacking or len(lacking) < len(sources):
        return
    preset = options.proposals_from or options.preset
    reasons = dict.fromkeys(f"preset {preset} needs depth, {source.no_depth}" for source in lacking)
    cure = f"or take a preset that needs no depth: {', '.join(presets_without_depth())}"
    raise InvalidInputError("; ".join([*reasons, cure]))


def presets_without_depth() -> tuple[str, ...]:
    """The bundled presets whose proposals come from colour alone."""
    proposers = {
        name: read_preset(preset_path(name), part_options=False)["proposer"] for name in list_presets()
    }
    return tuple(name for name, part in proposers.items() if not needs_depth(part))


def check_frames(sources: Sequence[Source], unusable: Sequence[tuple[str, str]]) -> None:
    """Reads frames until one is good: what is wrong with all is said before the networks are waited for.

    Raises:
        InvalidInputError: none is; with the reasons, those of the unusable inputs first.
    """
    said = {reason: 1 for _, reason in unusable}
    for source in sources:
        try:
            for frame in source.frames():
                try:
                    source.loaded(frame)
                    return
                except InvalidInputError as error:
                    said[str(error)] = said.get(str(error), 0) + 1
        except InvalidInputError as error:
            said[str(error)] = 1
    reasons = [reason if count == 1 else f"{reason} ({count} frames)" for reason, count in said.items()]
    if len(reasons) > MAX_REASONS:
        reasons[MAX_REASONS:] = [f"and {len(reasons) - MAX_REASONS} more"]
    raise InvalidInputError("; ".join(reasons) or "no input holds a frame")


def preset_identity(options: argparse.Namespace) -> dict[str, str]:
    """Name and SHA-256 of the preset, and of the one that proposes masks in its place."""
    preset = {"name": readable(options.preset), "sha256": sha256_of(preset_path(options.preset))}
    if options.proposals_from is not None:
        preset["proposals_from"] = readable(options.proposals_from)
        preset["proposals_from_sha256"] = sha256_of(preset_path(options.proposals_from))
    return preset


def about(options: argparse.Namespace, run: Checked, segmenter: OpenVocabularySegmenter) -> dict[str, Any]:
    """What a run is made with; goes into the summary, and in part into what a resumed run must share."""
    files = {
        name: find_file(name, weights_dir=options.weights_dir, beside=preset.parent)
        for name, preset in run.weights.items()
    }
    return {
        "preset": run.settings["preset"],
        "preset_reason": run.chosen.reason,
        "weights": {name: sha256_of(path) for name, path in files.items() if path is not None},
        "options": dataclasses.asdict(segmenter.options),
        "device": str(segmenter.device),
        "inputs": [readable(path) for path in options.inputs],
    }
