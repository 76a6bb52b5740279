"""What was measured on photographs, for the terminal and as charts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ovseg_ros.evaluate.naming.charts import precision_recall_chart, reliability_chart
from ovseg_ros.evaluate.naming.reports import answer_rows, error, mask_rows, percent, word_table
from ovseg_ros.evaluate.photos.measure import PhotoScores
from ovseg_ros.evaluate.recordings.tables import markdown_table

_MASKS = {"true": "true masks", "own": "own masks"}


def report(scores: PhotoScores, preset: str, *, details: bool = False) -> str:
    """The tables; with details also a row per word."""
    options = scores.options
    words = f"all {scores.words} words" if options.words == "all" else "the words in view"
    parts = [
        f"### {scores.dataset}: {scores.images} pictures, {_MASKS[options.masks]}, objects of at least "
        f"{options.min_pixels} pixels, preset {preset}",
        markdown_table((f"masks named by {words}", "measured"), mask_rows(scores.naming)),
        markdown_table(
            ("words asked alone, absent ones one to one", "measured"), answer_rows(scores.answers)
        ),
    ]
    worst = list(scores.answers.false_words.items())[:10]
    if worst:
        said = ", ".join(f"{word} {count}" for word, count in worst)
        parts.append(f"Most often FOUND where it is not: {said}.")
    if details:
        parts.append(word_table(scores.naming))
    return "\n\n".join(parts)


def comparison(scores: Mapping[str, PhotoScores]) -> str:
    """A table with a row per preset; of one data set, measured alike."""
    head = (
        "preset", "precision", "recall", "F1", "top-1", "AP", "names' calibration error", "FOUND: right mask",
        "recall", "near FOUND", "far FOUND", "FOUND's calibration error",
    )  # fmt: skip
    rows = []
    for preset, one in scores.items():
        naming, answers = one.naming, one.answers
        average = naming.curve.average_precision
        named = map(percent, (naming.precision, naming.recall, naming.f1, naming.top1, average))
        absent = (answers.false_found["near"], answers.false_found["far"])
        found = map(percent, (answers.precision, answers.recall, *absent))
        errors = error(naming.calibration.error), error(answers.calibration.error)
        rows.append((preset, *named, errors[0], *found, errors[1]))
    return markdown_table(head, rows)


def write_charts(folder: Path, scores: PhotoScores, preset: str) -> None:
    """`precision_recall.png` and `reliability.png`."""
    title = f"{preset} on {scores.dataset}, {_MASKS[scores.options.masks]}"
    naming, answers = scores.naming, scores.answers
    precision_recall_chart(
        folder / "precision_recall.png",
        title,
        {"masks": naming.curve, "words asked alone": answers.curve},
        {
            "masks": (naming.recall, naming.precision),
            "words asked alone": (answers.recall, answers.precision),
        },
    )
    reliability_chart(
        folder / "reliability.png",
        title,
        {"FOUND": answers.calibration, "all best scores": answers.calibration_of_all},
    )
