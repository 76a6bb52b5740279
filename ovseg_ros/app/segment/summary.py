"""`summary.json` and `summary.md` of a run of `ovseg segment`: what was found, how fast, made with what."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ovseg_ros.core.words import Vocabulary
from ovseg_ros.evaluate.recordings.tables import markdown_table

MAX_REMARKS = 20
"""Of different remarks about masks that are kept."""


def count(entries: Iterable[Mapping[str, Any]], vocabulary: Vocabulary) -> dict[str, Any]:
    """Counts what is in the journal.

    Returns:
        `{"frames", "labels": [per label], "median_ms": {stage: median}, "mask_remarks": {remark: frames}}`; a
        label that was never found has mean margin, mean and best score None. Remarks say why masks did not
        get a word they look like, the most frequent first.
    """
    instances: dict[int, int] = defaultdict(int)
    frames_with: dict[int, int] = defaultdict(int)
    total: dict[int, float] = defaultdict(float)
    margins: dict[int, float] = defaultdict(float)
    remarks: Counter[str] = Counter()
    best: dict[int, float] = defaultdict(float)
    times: dict[str, array[float]] = defaultdict(lambda: array("f"))  # 4 bytes per frame and stage
    frames = 0
    for entry in entries:
        frames += 1
        for row in entry["masks"]:
            key = int(row["category_id"])
            instances[key] += 1
            total[key] += row["score"]
            margins[key] += row["margin"]
            best[key] = max(best[key], row["score"])
        for key in {int(row["category_id"]) for row in entry["masks"]}:
            frames_with[key] += 1
        remarks.update(entry.get("remarks", ()))
        for stage, milliseconds in entry["ms"].items():
            times[stage].append(milliseconds)
    labels = [
        {
            "id": label.id,
            "name": label.name,
            "frames": frames_with[label.id],
            "instances": instances[label.id],
            "mean_score": round(total[label.id] / instances[label.id], 4) if instances[label.id] else None,
            "mean_margin": round(margins[label.id] / instances[label.id], 4) if instances[label.id] else None,
            "best_score": round(best[label.id], 4) if instances[label.id] else None,
        }
        for label in vocabulary
    ]
    median_ms = {stage: round(statistics.median(values), 2) for stage, values in times.items()}
    return {
        "frames": frames,
        "labels": labels,
        "median_ms": median_ms,
        "mask_remarks": dict(remarks.most_common(MAX_REMARKS)),
    }


def found_text(summary: Mapping[str, Any], noun: str) -> str:
    """What was found, in one line: "teapot in 39 of 45 frames, red mug in 15; giraffe in none; see …".

    Where masks were passed over for a reason, the most frequent one stands behind the words not found.

    Args:
        summary: with "out" beside what summary.json holds.
        noun: "frame" or "picture".
    """
    total = summary["frames"]["segmented"]
    if not total:
        reason = summary["failures"][0]["reason"] if summary["failures"] else summary["status"]
        return f"nothing was segmented: {reason}; nothing is left behind"
    of_all = f" of {counted(total, noun)}"
    found = [f"{label['name']} in {label['frames']}" for label in summary["labels"] if label["frames"]]
    missing = ", ".join(label["name"] for label in summary["labels"] if not label["frames"])
    parts = [", ".join([found[0] + of_all, *found[1:]])] if found else []
    why = next((f" ({remark})" for remark in summary.get("mask_remarks", ())), "")
    parts += [f"{missing} in none{'' if found else of_all}{why}"] if missing else []
    return "; ".join([*parts, f"see {summary['out']['folder']}"])


def counted(number: int, noun: str) -> str:
    """The number with the noun in its right form: 1 frame, 2 frames."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary_text(summary: Mapping[str, Any]) -> str:
    """`summary.json` for people, as Markdown."""
    frames, preset = summary["frames"], summary["preset"]
    kept = f", {frames['kept']} of them from an earlier run" if frames["kept"] else ""
    parts = [
        f"# {summary['status']}: {counted(frames['segmented'], 'frame')}{kept}, {frames['failed']} failed",
        f"Preset {preset['name']} on {summary['device']}, {summary['started']}, {summary['seconds']:.1f} s.",
        markdown_table(
            ("label", "id", "frames", "instances", "mean score", "mean margin", "best score"),
            [_label_row(label) for label in summary["labels"]],
        ),
    ]
    if summary["median_ms"]:
        rows = [(stage, f"{value:.1f}") for stage, value in summary["median_ms"].items()]
        parts.append(markdown_table(("stage", "median ms"), rows))
    rejected = [f"{entry['name']!r}: {entry['reason']}" for entry in summary["rejected_labels"]]
    failures = [f"{entry['source']}: {entry['reason']}" for entry in summary["failures"]]
    if frames["failed"] > len(failures):
        failures.append(f"and {frames['failed'] - len(failures)} more")
    passed_over = [f"{remark} (frames: {number})" for remark, number in summary["mask_remarks"].items()]
    for title, lines in (
        ("Words not taken", rejected),
        ("Failed", failures),
        ("Masks that did not get a word they look like", passed_over),
        ("Remarks", summary["remarks"]),
    ):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {_one_line(line)}" for line in lines))
    parts.append(f"## Made with\n\n    {_one_line(summary['command'])}\n\n" + _made_with(summary))
    return "\n\n".join(parts) + "\n"


def _label_row(label: Mapping[str, Any]) -> Sequence[str]:
    keys = ("mean_score", "mean_margin", "best_score")
    scores = ("-" if label[key] is None else f"{label[key]:.2f}" for key in keys)
    name = label["name"].replace("|", "\\|")
    return name, str(label["id"]), str(label["frames"]), str(label["instances"]), *scores


def _made_with(summary: Mapping[str, Any]) -> str:
    rows = [("preset", summary["preset"]["name"]), ("preset SHA-256", summary["preset"]["sha256"])]
    rows += [(f"{name} SHA-256", value) for name, value in summary["weights"].items()]
    rows += [(name, _shown(value)) for name, value in summary["options"].items()]
    rows += [(name, value) for name, value in summary["versions"].items()]
    return markdown_table(("what", "value"), rows)


def _shown(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = text.replace("|", "\\|")
    return text if len(text) <= 80 else text[:77] + "..."


def _one_line(text: str) -> str:
    return " ".join(text.split())
