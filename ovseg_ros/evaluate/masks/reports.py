"""What was measured of class-agnostic masks, as JSON, Markdown and a line for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.evaluate.markdown import cell, write_report
from ovseg_ros.evaluate.masks.recall import FOUND_IOU, FOUND_LIMIT, LIMITS, SIZES, MaskScores
from ovseg_ros.evaluate.recordings.tables import markdown_table


def write_masks(out: Path, scores: MaskScores, made_with: Mapping[str, Any]) -> None:
    """`masks.json` and `masks.md` in a folder; see `evaluate.markdown.write_report`."""
    body = [table(scores), "", *_counted(scores)]
    write_report(out, "masks", {"result": scores.to_dict()}, made_with, f"Masks on {scores.dataset}", body)


def summary_line(scores: MaskScores) -> str:
    """One line for the terminal."""
    recalls = ", ".join(f"AR@{limit} {_share(scores.average_recall(limit))}" for limit in LIMITS)
    return (
        f"{scores.dataset}: {recalls} on {scores.images} pictures, {scores.masks_per_image:.1f} masks and "
        f"{scores.median_ms:.0f} ms each"
    )


def table(scores: MaskScores) -> str:
    """A row per size of object, as Markdown."""
    of = scores.at[FOUND_LIMIT]
    head = ["size", "true objects", *(f"AR@{limit}" for limit in LIMITS)]
    rows = []
    for size in SIZES:
        recalls = [_share(scores.average_recall(limit, size)) for limit in LIMITS]
        others = [_share(of.recall_at_half[size]), _share(of.mean_best_iou[size])]
        rows.append([size, str(scores.true_objects[size]), *recalls, *others])
    return markdown_table([*head, f"recall at IoU {FOUND_IOU}", "mean best IoU"], rows)


def _counted(scores: MaskScores) -> list[str]:
    lines = [
        f"{scores.images} pictures, {scores.masks_per_image:.1f} masks on each, {scores.median_ms:.0f} ms at "
        f"the median; {scores.crowds} crowds left out. AR@N is the mean recall over the IoUs 0.50, 0.55 … "
        f"0.95 with the N best masks of each picture; the last two columns are with {FOUND_LIMIT}. Small is "
        "up to 32², large from 96² pixels on."
    ]
    if scores.failed:
        lines += ["", f"**{len(scores.failed)} pictures could not be scored:**", ""]
        lines += [f"- `{name}`: {cell(reason)}" for name, reason in scores.failed]
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
