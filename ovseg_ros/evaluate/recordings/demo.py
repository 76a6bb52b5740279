"""`ovseg evaluate demo`: what the bundled presets reach on the bundled recordings, beside what they must.

Ground truth is read for scoring alone. The figures go to a table and, as numbers, to a JSON file.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.measures import MIN_PIXELS, Counts, measure
from ovseg_ros.evaluate.recordings.objects import read_objects
from ovseg_ros.evaluate.recordings.photographs import is_photographs, read_frames
from ovseg_ros.evaluate.recordings.space import CENTROID_M
from ovseg_ros.evaluate.scores.match import share

GOOD_IOU = 0.75
"""From this IoU on a mask is right."""


@dataclass(frozen=True)
class Target:
    """One figure that must be reached.

    Attributes:
        text: what is measured, for people.
        at_least: what it must be.
        value_of: takes the figure out of a summary; None where nothing was measured, which fails.
        percent: True where the figure is a share.
    """

    text: str
    at_least: float
    value_of: Callable[[Mapping[str, Any]], float | None]
    percent: bool = True


@dataclass(frozen=True)
class Suite:
    """One recording with the preset that is measured on it and the figures it must reach."""

    recording: str
    preset: str
    targets: tuple[Target, ...] = field(default=())


def _word(name: str, figure: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda summary: (summary["asked"]["per_word"].get(name) or {}).get(figure)


def _naming(vocabulary: str, figure: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda summary: summary["naming"][vocabulary][figure]


def _kept_silent(kind: str) -> Callable[[Mapping[str, Any]], float | None]:
    """The share of absent words of this kind for which nothing was found."""

    def value_of(summary: Mapping[str, Any]) -> float | None:
        found = summary["naming"]["answers"]["false_found"][kind]
        return None if found is None else 1.0 - found

    return value_of


def _in_space(masks: str, figure: str) -> Callable[[Mapping[str, Any]], float | None]:
    """A figure of the things that are fully visible."""
    return lambda summary: summary["space"][masks]["fully_visible"][figure]


_ABSENT = Target("absent things: NOT_FOUND", 0.90, lambda s: s["absent"]["not_found"])

TABLETOP = Suite(
    "demo/tabletop",
    "mini",
    (
        Target(f"asked by its own word: mask with IoU >= {GOOD_IOU}", 0.90, lambda s: s["asked"]["right"]),
        Target('"teapot" asked: the same, in every frame', 1.0, _word("teapot", "right")),
        Target("words in the scene vocabulary", 12, lambda s: s["scene"]["words"], percent=False),
        Target("scene vocabulary: top-1", 0.90, lambda s: s["scene"]["top1"]),
        Target("unseen words tried", 10, lambda s: s["unseen"]["words"], percent=False),
        Target("unseen words: top-1", 0.60, lambda s: s["unseen"]["top1"]),
        Target("names of all masks, all scene words: precision", 0.95, _naming("all_words", "precision")),
        Target("names of all masks, all scene words: recall", 0.95, _naming("all_words", "recall")),
        Target("names of all masks, any two words: precision", 0.95, _naming("any_two", "precision")),
        Target("names of all masks, any two words: recall", 0.95, _naming("any_two", "recall")),
        _ABSENT,
        Target("near absent words: NOT_FOUND", 0.95, _kept_silent("near")),
        Target("far absent words: NOT_FOUND", 0.99, _kept_silent("far")),
        Target(
            f"own masks: centroids within {1000 * CENTROID_M:.0f} mm", 0.50, _in_space("own_masks", "within")
        ),
        Target("own masks: boxes' median IoU in 3D", 0.60, _in_space("own_masks", "iou"), percent=False),
    ),
)
GARAGE = Suite(
    "demo/garage",
    "lite",
    (
        Target('"motorcycle": IoU', 0.80, _word("motorcycle", "min_iou"), percent=False),
        Target('"shelf": IoU', 0.50, _word("shelf", "min_iou"), percent=False),
        Target('"door": IoU', 0.50, _word("door", "min_iou"), percent=False),
        _ABSENT,
    ),
)
SUITES = {"tabletop": TABLETOP, "garage": GARAGE}


def recording_folder(name: str | Path) -> Path:
    """Where a recording lies: as given, in the source tree, in the package (pip) or its share (colcon).

    It is a rosbag2 folder or one of photographs.

    Raises:
        InvalidInputError: in none of these; the message names them.
    """
    package = Path(__file__).resolve().parents[2]
    shares = [Path(p, "share", "ovseg_ros") for p in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if p]
    tried = [Path(name), *(root / name for root in (package.parent, package, *shares))]
    for folder in tried:
        if (folder / "metadata.yaml").is_file() or is_photographs(folder):
            return folder
    raise InvalidInputError(
        f"no recording {name}: neither metadata.yaml nor classes.txt in {', '.join(map(str, tried))}"
    )


def summarise(counts: Counts) -> dict[str, Any]:
    """The figures of one recording, ready for JSON; shares in [0, 1], times in milliseconds.

    A figure of which there was no trial is None.
    """
    every_asked = _all(counts.asked)
    return {
        "frames": counts.frames,
        "objects": counts.objects,
        "asked": {
            "right": _right(every_asked),
            "trials": len(every_asked),
            "per_word": {word: _asked_summary(ious) for word, ious in sorted(counts.asked.items())},
        },
        "scene": {
            "words": len(counts.words),
            **_share_summary("top1", counts.scene),
            "unmatched": counts.unmatched,
        },
        "unseen": {"words": len(counts.unseen), **_share_summary("top1", counts.unseen)},
        "absent": _share_summary("not_found", counts.absent),
        "naming": counts.naming.to_dict(),
        "space": counts.space.to_dict(),
        "proposals": {
            "good": _right(counts.proposal_iou),
            "mean_iou": _mean(counts.proposal_iou),
            "trials": len(counts.proposal_iou),
            "masks_per_frame": _mean(counts.masks),
        },
        "median_ms": {
            stage: round(1000 * statistics.median(values), 2) for stage, values in counts.seconds.items()
        },
    }


def _all(per_word: Mapping[str, list[Any]]) -> list[Any]:
    return [trial for trials in per_word.values() for trial in trials]


def _right(ious: list[float]) -> float | None:
    return share([iou >= GOOD_IOU for iou in ious])


def _asked_summary(ious: list[float]) -> dict[str, Any]:
    return {
        "right": _right(ious),
        "mean_iou": _mean(ious),
        "min_iou": min(ious),
        "not_found": sum(iou == 0.0 for iou in ious),
        "trials": len(ious),
    }


def _share_summary(name: str, per_word: Mapping[str, list[bool]]) -> dict[str, Any]:
    """The share of all trials under `name`, and of each word's."""
    hits = _all(per_word)
    each = {word: {"share": share(one), "trials": len(one)} for word, one in sorted(per_word.items())}
    return {name: share(hits), "trials": len(hits), "per_word": each}


def _mean(values: list[float] | list[int]) -> float | None:
    return sum(values) / len(values) if values else None


def judge(summary: Mapping[str, Any], targets: tuple[Target, ...]) -> list[dict[str, Any]]:
    """Each target beside what was measured; what was not measured is not met."""
    judged = []
    for target in targets:
        value = target.value_of(summary)
        met = value is not None and value >= target.at_least
        shown = {"text": target.text, "at_least": target.at_least, "value": value, "met": met}
        judged.append({**shown, "percent": target.percent})
    return judged


def evaluate_suites(
    suites: Mapping[str, Suite],
    load: Callable[[str], OpenVocabularySegmenter],
    progress: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[str, Any]:
    """Measures each suite.

    Args:
        suites: name -> suite.
        load: makes the segmenter of a preset.
        progress: told (suite, frames done, frames in all).

    Returns:
        `{"ok", "machine", "suites": {name: {"recording", "preset", "targets", …summarise}}}`; `ok` is True
        where every target of every suite is met.
    """
    results: dict[str, Any] = {}
    folders = {name: recording_folder(suite.recording) for name, suite in suites.items()}
    for name, suite in suites.items():
        segmenter = load(suite.preset)
        frames = read_frames(folders[name])
        counts = measure(
            segmenter,
            frames,
            in_space=read_objects(folders[name]),
            progress=lambda done, total, name=name: progress(name, done, total),
        )
        del segmenter  # before the next one is loaded
        summary = summarise(counts)
        results[name] = {
            "recording": suite.recording,
            "preset": suite.preset,
            "targets": judge(summary, suite.targets),
            **summary,
        }
    ok = all(target["met"] for result in results.values() for target in result["targets"])
    return {"ok": ok, "min_pixels": MIN_PIXELS, "good_iou": GOOD_IOU, "machine": machine(), "suites": results}


def machine() -> dict[str, Any]:
    """What the times were measured on."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
        )
    except OSError:
        pass  # another system than Linux: the architecture has to do
    return {"processor": model, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


def write_json(result: Mapping[str, Any], path: Path) -> None:
    """Writes a result of `evaluate_suites`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
