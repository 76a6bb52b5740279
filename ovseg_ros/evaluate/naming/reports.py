"""Figures of names as lines of a table."""

from __future__ import annotations

from ovseg_ros.evaluate.naming.measures import AnswerFigures, MaskFigures
from ovseg_ros.evaluate.recordings.tables import markdown_table


def percent(value: float | None) -> str:
    """A share in percent, "-" where nothing was tried."""
    return "-" if value is None else f"{100 * value:.1f} %"


def three(*shares: float | None) -> str:
    """Shares in percent with strokes between, as precision / recall / F1 are written."""
    return " / ".join("-" if one is None else f"{100 * one:.1f}" for one in shares) + " %"


def error(value: float | None) -> str:
    """A calibration error, "-" where nothing was tried."""
    return "-" if value is None else f"{value:.3f}"


def mask_rows(figures: MaskFigures) -> list[tuple[str, str]]:
    """What all masks under a vocabulary reach."""
    return [
        ("precision / recall / F1", three(figures.precision, figures.recall, figures.f1)),
        ("top-1", percent(figures.top1)),
        ("top-1, mean over words", percent(figures.top1_mean)),
        (
            "masks: all / named / of an object that counts",
            f"{figures.masks} / {figures.named} / {figures.matched}",
        ),
        ("objects that count", str(figures.objects)),
        ("average precision", percent(figures.curve.average_precision)),
        ("calibration error of names", error(figures.calibration.error)),
    ]


def answer_rows(figures: AnswerFigures) -> list[tuple[str, str]]:
    """What words asked alone reach."""
    asked = [kind for kind, count in figures.trials.items() if count or kind != "elsewhere"]
    trials = " / ".join(str(figures.trials[kind]) for kind in asked)
    return [
        ("precision of FOUND: right mask", percent(figures.precision)),
        ("precision of FOUND: word in view", percent(figures.precision_in_view)),
        ("recall: found with the right mask", percent(figures.recall)),
        ("F1", percent(figures.f1)),
        *false_rows(figures),
        ("trials: " + " / ".join(asked), trials),
        ("average precision", percent(figures.curve.average_precision)),
        ("calibration error of FOUND", error(figures.calibration.error)),
        ("calibration error of all best scores", error(figures.calibration_of_all.error)),
    ]


def false_rows(figures: AnswerFigures) -> list[tuple[str, str]]:
    """How often each kind of absent word was FOUND; words of other frames only where there were any."""
    texts = {
        "near": "near absent words FOUND",
        "far": "far absent words FOUND",
        "elsewhere": "words of other frames FOUND",
    }
    return [
        (text, percent(figures.false_found[kind]))
        for kind, text in texts.items()
        if figures.trials[kind] or kind != "elsewhere"
    ]


def word_table(figures: MaskFigures) -> str:
    """A row per word."""
    rows = [
        (
            word,
            str(one["objects"]),
            str(one["found"]),
            str(one["named"]),
            str(one["right"]),
            percent(one["top1"]),
        )
        for word, one in figures.per_word.items()
    ]
    return markdown_table(("word", "objects", "found", "masks named so", "of them right", "top-1"), rows)
