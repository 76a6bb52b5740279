"""Charts of `ovseg evaluate demo`: precision against recall, and reliability, per recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.evaluate.naming import Bin, Calibration, Curve
from ovseg_ros.evaluate.naming.charts import precision_recall_chart, reliability_chart

_TITLES = {"all_words": "all scene words", "any_two": "any two of them"}


def write_charts(folder: Path, result: Mapping[str, Any]) -> None:
    """`NAME_precision_recall.png` and `NAME_reliability.png` of each recording.

    Args:
        folder: where to.
        result: of `evaluate.recordings.demo.evaluate_suites`.
    """
    for name, suite in result["suites"].items():
        naming, title = suite["naming"], f"{suite['preset']} on {name}"
        precision_recall_chart(
            folder / f"{name}_precision_recall.png",
            title,
            {text: Curve(**naming[key]["curve"]) for key, text in _TITLES.items()},
            {text: (naming[key]["recall"], naming[key]["precision"]) for key, text in _TITLES.items()},
        )
        answers = naming["answers"]
        reliability_chart(
            folder / f"{name}_reliability.png",
            f"{title}: words asked alone",
            {
                "FOUND": _calibration(answers["calibration"]),
                "all best scores": _calibration(answers["calibration_of_all"]),
            },
        )


def _calibration(values: Mapping[str, Any]) -> Calibration:
    return Calibration(tuple(Bin(**one) for one in values["bins"]), values["error"], values["count"])
