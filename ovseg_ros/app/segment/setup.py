"""From the command line of `ovseg segment` to words, options, inputs and a segmenter, each checked."""

from __future__ import annotations

import argparse
import dataclasses
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ovseg_ros.app.segment.inputs import InputOptions, Source, readable
from ovseg_ros.app.segment.outputs import FOLDERS
from ovseg_ros.app.segment.run import no_depth
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Rejected, Vocabulary, parse_query
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.files.cameras import read_camera
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.presets import (
    build_options,
    list_presets,
    load_preset,
    preset_path,
    preset_weights,
    read_preset,
)

Load = Callable[..., OpenVocabularySegmenter]
"""What `models.presets.load_preset` is."""


def vocabulary_of(labels: str) -> tuple[Vocabulary, list[Rejected]]:
    """The words of `--labels`, and those that were not taken.

    Raises:
        InvalidInputError: no word is left.
    """
    vocabulary, rejected = Vocabulary.empty().replace(parse_query(labels))
    if not vocabulary:
        reasons = "; ".join(f"{word.name!r}: {word.reason}" for word in rejected) or "got none"
        raise InvalidInputError(f'want a word to look for, as in --labels "teapot, red mug"; {reasons}')
    return vocabulary, rejected


def changed_options(options: argparse.Namespace) -> dict[str, Any]:
    """The segmenter's options that differ from the preset's.

    Raises:
        ConfigError: unknown names, values of another kind or out of range.
    """
    changes: dict[str, Any] = {}
    for text in options.settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"want --set KEY=VALUE, got {text!r}")
        try:
            changes[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"want --set KEY=VALUE with a value in YAML, got {text!r}") from error
    for name in ("threshold", "granularity"):
        if (given := getattr(options, name, None)) is not None:
            changes[name] = given
    checked = build_options(Path("command line"), changes)
    return {name: getattr(checked, name) for name in changes}


def input_options(options: argparse.Namespace) -> InputOptions:
    """How the inputs are read.

    Raises:
        ConfigError: a number out of range.
        InvalidInputError: no such depth, or no intrinsics in what --intrinsics names.
    """
    for name, least in (("every", 1), ("max_frames", 1), ("max_pixels", 1e-6), ("depth_tolerance", 0)):
        value = getattr(options, name)
        if value is not None and not least <= value < math.inf:
            raise ConfigError(f"want --{name.replace('_', '-')} at least {least}, got {value}")
    if options.depth is not None and not options.depth.exists():
        raise InvalidInputError(f"want --depth as a file or a folder, {options.depth} is not there")
    return InputOptions(
        recursive=options.recursive,
        every=options.every,
        max_frames=options.max_frames,
        max_pixels=round(options.max_pixels * 1e6),
        depth=options.depth,
        intrinsics=None if options.intrinsics is None else read_camera(options.intrinsics),
        image_topic=options.image_topic,
        depth_topic=options.depth_topic,
        camera_info_topic=options.camera_info_topic,
        depth_tolerance_s=options.depth_tolerance,
        leave_out=tuple(options.out / name for name in FOLDERS),
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


def check_depth(preset: str, segmenter: OpenVocabularySegmenter, sources: Sequence[Source]) -> None:
    """Refuses at once what could only fail frame by frame.

    Raises:
        InvalidInputError: the proposals need depth, and no input has any.
    """
    if not segmenter.needs_depth or any(s.gives_depth for s in sources):
        return
    others = presets_without_depth()
    cure = f"; or take a preset that needs no depth: {', '.join(others)}" if others else ""
    reasons = dict.fromkeys(no_depth(source).replace("the preset", f"preset {preset}") for source in sources)
    raise InvalidInputError("; ".join(reasons) + cure)


def presets_without_depth() -> tuple[str, ...]:
    """The bundled presets whose proposals come from colour alone."""

    def needs_depth(part: Mapping[str, Any]) -> bool:
        return part["kind"] == "depth_clusters" or any(map(needs_depth, part.get("members", ())))

    proposers = {name: read_preset(preset_path(name))["proposer"] for name in list_presets()}
    return tuple(name for name, part in proposers.items() if not needs_depth(part))


def about(options: argparse.Namespace, segmenter: OpenVocabularySegmenter) -> dict[str, Any]:
    """What a run is made with; goes into the summary, and in part into what a resumed run must share."""
    preset = {"name": readable(options.preset), "sha256": sha256_of(preset_path(options.preset))}
    if options.proposals_from is not None:
        preset["proposals_from"] = readable(options.proposals_from)
        preset["proposals_from_sha256"] = sha256_of(preset_path(options.proposals_from))
    return {
        "preset": preset,
        "weights": weights_hashes(options),
        "options": dataclasses.asdict(segmenter.options),
        "device": str(segmenter.device),
        "inputs": [readable(path) for path in options.inputs],
        "command": readable(shlex.join(["ovseg", *sys.argv[1:]])),
    }


def weights_hashes(options: argparse.Namespace) -> dict[str, str]:
    """SHA-256 of the weights files the presets name; bundled models go with the package's version."""
    found = {}
    for preset in filter(None, (options.preset, options.proposals_from)):
        for name in preset_weights(preset):
            path = find_file(name, weights_dir=options.weights_dir, beside=preset_path(preset).parent)
            if path is not None:
                found[name] = sha256_of(path)
    return found
