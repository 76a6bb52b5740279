"""The result of `ovseg evaluate demo` as Markdown tables: for the terminal and docs/measured.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns line up; all but the first are right-aligned."""
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = str(cells[0]).ljust(widths[0])
        rest = [str(cell).rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|"
    return "\n".join([line(head), rule, *map(line, rows)])


def report(result: Mapping[str, Any], *, details: bool = True) -> str:
    """All tables of a result of `evaluate.recordings.demo.evaluate_suites`.

    Args:
        result: see there.
        details: also one line per word.
    """
    parts = []
    for name, suite in result["suites"].items():
        parts.append(_suite_report(name, suite, details))
    parts += _comparisons(result["suites"])
    machine = result["machine"]
    parts.append(f"Measured on {machine['processor']}, {machine['cores']} cores, Python {machine['python']}.")
    return "\n\n".join(parts)


def _suite_report(name: str, suite: Mapping[str, Any], details: bool) -> str:
    parts = [
        f"### {name}: {suite['frames']} frames, {suite['objects']} objects, preset {suite['preset']}",
        markdown_table(("measure", "wanted", "measured", ""), [_target_row(t) for t in suite["targets"]]),
        markdown_table(("names of all masks", "precision", "recall", "F1", "top-1"), _naming_rows(suite)),
        markdown_table(("words asked alone", "measured"), _answer_rows(suite)),
        markdown_table(("beside these", "measured"), _beside_rows(suite)),
    ]
    if suite["space"]["tried"]:
        head = ("in space", "things", "centroid off", "within 15 mm", "box's centre off", "box IoU", ">= 0.5")
        parts.append(markdown_table(head, _space_rows(suite["space"])))
    if details:
        parts.append(_asked_table(suite))
        for key, head in (("unseen", "unseen word"), ("absent", "absent thing")):
            if suite[key]["per_word"]:
                parts.append(_share_table(head, suite[key]["per_word"]))
    parts.append(markdown_table(("stage", "median ms"), _stage_rows(suite["median_ms"])))
    return "\n\n".join(parts)


def _comparisons(suites: Mapping[str, Any]) -> list[str]:
    """Per recording on which several presets were measured, a table with a row for each."""
    of: dict[str, list[Mapping[str, Any]]] = {}
    for suite in suites.values():
        of.setdefault(suite["recording"], []).append(suite)
    head = (
        "preset", "right mask", "top-1", "unseen words", "precision", "recall", "F1", "near FOUND",
        "far FOUND", "proposals >= 0.75", "ms",
    )  # fmt: skip
    return [
        f"### {recording}, by preset\n\n{markdown_table(head, [_preset_row(suite) for suite in several])}"
        for recording, several in of.items()
        if len(several) > 1
    ]


def _preset_row(suite: Mapping[str, Any]) -> tuple[str, ...]:
    naming, found = suite["naming"]["all_words"], suite["naming"]["answers"]["false_found"]
    shares = (
        suite["asked"]["right"],
        suite["scene"]["top1"],
        suite["unseen"]["top1"],
        *(naming[one] for one in ("precision", "recall", "f1")),
        *(found[kind] for kind in ("near", "far")),
        suite["proposals"]["good"],
    )
    percents = (_figure(one, percent=True) for one in shares)
    return (suite["preset"], *percents, f"{sum(suite['median_ms'].values()):.1f}")


def _target_row(target: Mapping[str, Any]) -> tuple[str, str, str, str]:
    percent = target["percent"]
    wanted = ">= " + _figure(target["at_least"], percent)
    return target["text"], wanted, _figure(target["value"], percent), "ok" if target["met"] else "MISSED"


def _beside_rows(suite: Mapping[str, Any]) -> list[tuple[str, str]]:
    proposals = suite["proposals"]
    return [
        ("trials: asked / scene vocabulary / unseen / absent", "/".join(
            str(suite[key]["trials"]) for key in ("asked", "scene", "unseen", "absent")
        )),
        ("objects that no proposal matched", str(suite["scene"]["unmatched"])),
        ("proposals: objects with IoU >= 0.75", _figure(proposals["good"], percent=True)),
        ("proposals: mean best IoU", _figure(proposals["mean_iou"], percent=False)),
        ("proposals per frame", _figure(proposals["masks_per_frame"], percent=False)),
    ]  # fmt: skip


def _naming_rows(suite: Mapping[str, Any]) -> list[tuple[str, ...]]:
    texts = {"all_words": "all scene words", "any_two": "any two of them"}
    return [
        (
            text,
            *(
                _figure(suite["naming"][key][one], percent=True)
                for one in ("precision", "recall", "f1", "top1")
            ),
        )
        for key, text in texts.items()
    ]


def _space_rows(space: Mapping[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for key, masks in (("true_masks", "true masks"), ("own_masks", "own masks")):
        for which, text in (("fully_visible", "fully visible"), ("all", "all")):
            of = space[key][which]
            rows.append(
                (
                    f"{masks}, {text}",
                    str(of["trials"] or 0),
                    _millimetres(of["centroid_m"]),
                    _figure(of["within"], percent=True),
                    _millimetres(of["centre_m"]),
                    _figure(of["iou"], percent=False),
                    _figure(of["good"], percent=True),
                )
            )
    return rows


def _millimetres(value_m: float | None) -> str:
    return "-" if value_m is None else f"{1000 * value_m:.1f} mm"


def _answer_rows(suite: Mapping[str, Any]) -> list[tuple[str, str]]:
    answers = suite["naming"]["answers"]
    texts = {
        "near": "near absent words FOUND",
        "far": "far absent words FOUND",
        "elsewhere": "words of other frames FOUND",
    }
    worst = ", ".join(f"{word} {count}" for word, count in list(answers["false_words"].items())[:5])
    return [
        *((text, _of(answers["false_found"][kind], answers["trials"][kind])) for kind, text in texts.items()),
        ("most often FOUND where it is not", worst or "-"),
        ("calibration error of FOUND", _error(answers["calibration"])),
        ("calibration error of all best scores", _error(answers["calibration_of_all"])),
    ]


def _of(value: float | None, trials: int) -> str:
    return f"{_figure(value, percent=True)} of {trials}"


def _error(diagram: Mapping[str, Any]) -> str:
    return "-" if diagram["error"] is None else f"{diagram['error']:.3f}"


def _asked_table(suite: Mapping[str, Any]) -> str:
    rows = []
    for word, asked in suite["asked"]["per_word"].items():
        scene = suite["scene"]["per_word"].get(word, {"share": None})
        rows.append(
            (
                word,
                str(asked["trials"]),
                _figure(asked["right"], percent=True),
                _figure(asked["mean_iou"], percent=False),
                str(asked["not_found"]),
                _figure(scene["share"], percent=True),
            )
        )
    head = ("word", "frames", "right mask", "mean IoU", "missed", "top-1 in scene vocabulary")
    return markdown_table(head, rows)


def _share_table(head: str, per_word: Mapping[str, Any]) -> str:
    right = "NOT_FOUND" if head.startswith("absent") else "top-1"
    rows = [(w, str(one["trials"]), _figure(one["share"], percent=True)) for w, one in per_word.items()]
    return markdown_table((head, "trials", right), rows)


def _stage_rows(median_ms: Mapping[str, float]) -> list[tuple[str, str]]:
    rows = [(stage, f"{ms:.1f}") for stage, ms in median_ms.items()]
    return [*rows, ("all", f"{sum(median_ms.values()):.1f}")]


def _figure(value: float | None, percent: bool) -> str:
    if value is None:
        return "-"
    if percent:
        return f"{100 * value:.1f} %"
    return f"{value:d}" if isinstance(value, int) else f"{value:.2f}"
