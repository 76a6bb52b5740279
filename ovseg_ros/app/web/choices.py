"""What `ovseg web` offers: presets that can run here and now, and examples to press."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import depth_to_mm, read_recording
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.preset_parts import PROPOSERS, needs_depth, weights_named
from ovseg_ros.models.presets import list_presets, preset_path, preset_weights, read_preset

GENERATORS = {
    "colour_masks": "Colour masks",
    "depth_clusters": "Depth clusters (needs depth)",
    "sam": "Segment Anything",
    "sam2": "SAM 2",
    "maskformer": "MaskFormer",
    "ovseg_maskformer": "OVSeg's MaskFormer",
    "owlv2": "OWLv2",
    "sam3": "SAM 3",
}
"""Proposer kinds of presets in words for people; others are shown as they are."""


@dataclass(frozen=True)
class Generator:
    """A proposal generator as the page offers it.

    Attributes:
        title: in words.
        preset: the preset it belongs to, as for `load_preset`'s proposals_from.
    """

    title: str
    preset: str


@dataclass(frozen=True)
class PresetChoice:
    """A preset as the page offers it.

    Attributes:
        name: what `load_preset` takes.
        generators: its own first, then those of other presets that can run.
        threshold: its own, in [0, 1].
        missing: weights files it needs and this machine lacks; () where it can run.
    """

    name: str
    generators: tuple[Generator, ...]
    threshold: float
    missing: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """For the drop-down."""
        return f"{preset_path(self.name).stem} ({self.generators[0].title.split(' (')[0].lower()})"


@dataclass(frozen=True)
class Example:
    """Something to press: files, words and settings that belong together."""

    title: str
    image: Path
    depth: Path
    camera: str
    words: str
    preset: str


# Title, recording, number of the frame, words, preset.
_SOURCES = (
    ("Try a tabletop", "demo/tabletop", 34, "teapot, mug", "mini"),
    ("Try kitchen things", "demo/tabletop", 9, "teapot, moka pot, red mug, frying pan, plate", "mini"),
    ("Try a garage", "demo/garage", 0, "motorcycle, door, shelf", "lite"),
)


def preset_choices(
    first: str, weights_dir: Path | None = None
) -> tuple[list[PresetChoice], list[PresetChoice]]:
    """Presets whose weights are here, `first` at the head, and bundled ones whose weights are not.

    Args:
        first: name or path of a preset; it stays in the first list whatever it lacks, loading it will say.
        weights_dir: as for `load_preset`.

    Raises:
        ConfigError: `first` is neither a bundled preset nor a preset file.
    """
    names = [first, *(name for name in list_presets() if name != first)]
    presets = {name: read_preset(preset_path(name)) for name in names}
    generators = [
        _generator(name, preset)
        for name, preset in presets.items()
        if not _missing(name, weights_named(preset["proposer"], PROPOSERS), weights_dir)
    ]
    choices = [_choice(name, preset, generators, weights_dir) for name, preset in presets.items()]
    rest = choices[1:]
    return [choices[0], *(c for c in rest if not c.missing)], [c for c in rest if c.missing]


def _choice(
    name: str, preset: Mapping[str, Any], generators: Sequence[Generator], weights_dir: Path | None
) -> PresetChoice:
    options = preset.get("options") or {}
    own = _generator(name, preset)
    offered = {own.title: own}
    for generator in generators:
        offered.setdefault(generator.title, generator)  # one of each kind
    return PresetChoice(
        name=name,
        generators=tuple(offered.values()),
        threshold=float(options.get("threshold", SegmenterOptions().threshold)),
        missing=_missing(name, preset_weights(name), weights_dir),
    )


def _generator(name: str, preset: Mapping[str, Any]) -> Generator:
    return Generator(_title(preset["proposer"]), name)


def _title(part: Mapping[str, Any]) -> str:
    """A proposer part in words; of a union, all its members, the depth that some use being no need of all."""
    if part["kind"] == "union":
        members = [_title(member) for member in part["members"]]
        if not needs_depth(part):
            members = [title.replace("(needs depth)", "(where there is depth)") for title in members]
        return " + ".join(members)
    title = GENERATORS.get(str(part["kind"]), str(part["kind"]).replace("_", " ").capitalize())
    model = part.get("model")
    title = f"{title} ({model})" if isinstance(model, str) else title
    boxes_from = part.get("boxes_from")
    return title if boxes_from is None else f"{title} on {_title(boxes_from)}"


def _missing(preset: str, files: Iterable[str], weights_dir: Path | None) -> tuple[str, ...]:
    beside = preset_path(preset).parent
    return tuple(file for file in files if find_file(file, weights_dir, beside) is None)


def public_name(preset: str) -> str:
    """How visitors know a preset: bundled ones by name, a file by its name without its folder."""
    return preset if preset in list_presets() else f"{preset_path(preset).stem}.yaml"


def missing_text(missing: Sequence[PresetChoice]) -> str | None:
    """Which presets could be had, in one line; None where all are here."""
    if not missing:
        return None
    return f"not on this machine yet: {', '.join(choice.name for choice in missing)} (see `ovseg download`)"


def generator_field(choice: PresetChoice) -> dict[str, Any]:
    """What the drop-down of generators takes for a preset; with one to choose it only shows it."""
    titles = [(generator.title, public_name(generator.preset)) for generator in choice.generators]
    return {"choices": titles, "value": titles[0][1], "interactive": len(titles) > 1}


def write_examples(folder: Path, presets: list[str]) -> list[Example]:
    """Writes frames of the bundled recordings as PNG files, colour and 16-bit depth.

    Args:
        folder: where to; made if needed.
        presets: those on offer; examples for others are left out.

    Returns:
        The examples; fewer, or none, where the recordings were not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    examples = []
    for number, (title, recording, place, words, preset) in enumerate(_SOURCES, start=1):
        if preset not in presets:
            continue
        try:
            recorded = read_recording(recording_folder(recording))
            frame = next(itertools.islice(recorded, place, None)).frame
        except (InvalidInputError, OSError, StopIteration):  # taken away, or not a whole installation
            continue
        if frame.depth_m is None or frame.intrinsics is None:
            continue
        stem = f"{number}_{Path(recording).name}"
        image, depth = folder / f"{stem}.png", folder / f"{stem}_depth.png"
        write_png(image, frame.image_rgb[:, :, ::-1])
        write_png(depth, depth_to_mm(frame.depth_m))
        k = frame.intrinsics
        camera = f"{k.fx:.1f}, {k.fy:.1f}, {k.cx:.1f}, {k.cy:.1f}"
        examples.append(Example(title, image, depth, camera, words, preset))
    return examples


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 BGR or (H, W) uint16.

    Raises:
        OvsegError: the file cannot be written.
    """
    encoded, data = cv2.imencode(".png", np.ascontiguousarray(pixels))
    if not encoded:
        raise OvsegError(f"cannot encode {path}")
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise OvsegError(f"cannot write {path}: {error}; is there space left?") from error
