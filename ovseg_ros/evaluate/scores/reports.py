"""Results as JSON for programs, Markdown for people and PNG for both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.evaluate.markdown import cell, row, write_report
from ovseg_ros.evaluate.scores.bottleneck import (
    CLIP,
    CLIP_CONTEXT,
    ENSEMBLE,
    MASKFORMER,
    ORACLE_CLASSES,
    ORACLE_MASKS,
    ORACLE_MASKS_CONTEXT,
)
from ovseg_ros.evaluate.scores.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    Bar,
    bar_chart,
    class_chart,
    line_chart,
)
from ovseg_ros.evaluate.scores.run import Result

_LABELS = {
    CLIP: "masks as they are, CLIP alone",
    CLIP_CONTEXT: "the same, background not blanked",
    MASKFORMER: "masks as they are, MaskFormer alone",
    ENSEMBLE: "masks as they are, both together",
    ORACLE_MASKS: "oracle masks, CLIP",
    ORACLE_MASKS_CONTEXT: "oracle masks, CLIP, background not blanked",
    ORACLE_CLASSES: "masks as they are, oracle classes",
}
_COLOURS = {ORACLE_MASKS: ORANGE, ORACLE_MASKS_CONTEXT: GREY, ORACLE_CLASSES: GREEN, CLIP_CONTEXT: GREY}

# Head of a column -> which of a result's shares stands in it.
_COLUMNS = {
    "mIoU": "miou",
    "mIoU, absent as 0": "miou_with_absent",
    "fwIoU": "fwiou",
    "pixel acc.": "pixel_accuracy",
    "mean acc.": "mean_accuracy",
    "without prediction": "unpredicted",
}
_SPLIT_COLUMNS = {"seen mIoU": "seen_miou", "unseen mIoU": "unseen_miou", "harmonic": "harmonic_miou"}


def write_dataset(out: Path, result: Result, made_with: Mapping[str, Any]) -> None:
    """One result: `result.json`, `result.md` with the table of classes, `classes.png`."""
    shown = [(e.name, e.iou, e.unseen) for e in result.per_class if e.iou is not None]
    title = f"{result.dataset}: mIoU {100 * result.miou:.1f} %"
    class_chart(out / "classes.png", title, shown)
    table = _table([("", result)], first="")
    figure = ["![IoU per class](classes.png)", "", *_class_table(result)]
    _write(out, "result", {"result": result.to_dict()}, made_with, result.dataset, table, result, figure)


def write_comparison(
    out: Path, results: Mapping[str, Result], made_with: Mapping[str, Mapping[str, Any]]
) -> str:
    """A row per preset, of one data set: `comparison.json` and `comparison.md`; the table."""
    first = next(iter(results.values()))
    table = _table(list(results.items()), first="preset")
    content = {name: {"result": one.to_dict(), "made_with": made_with[name]} for name, one in results.items()}
    of_one = next(iter(made_with.values()))
    shared = {key: of for key, of in of_one.items() if all(one.get(key) == of for one in made_with.values())}
    write_report(out, "comparison", {"presets": content}, shared, f"Presets on {first.dataset}", table)
    return "\n".join(table)


def write_bottleneck(out: Path, results: Mapping[str, Result], made_with: Mapping[str, Any]) -> None:
    """Every variant: `bottleneck.json`, `.md` and the bar chart `.png`."""
    first = next(iter(results.values()))
    rows = [(_LABELS.get(name, name), result) for name, result in results.items()]
    colours = [_COLOURS.get(name, BLUE) for name in results]
    bars = [Bar(name, result.miou, colour) for (name, result), colour in zip(rows, colours, strict=True)]
    bar_chart(out / "bottleneck.png", f"{first.dataset}: masks or classes?", bars)
    table = _table(rows, first="masks and classifier")
    figure = ["![mIoU per variant](bottleneck.png)"]
    content = {"variants": {name: result.to_dict() for name, result in results.items()}}
    _write(out, "bottleneck", content, made_with, f"Bottleneck on {first.dataset}", table, first, figure)


def write_sweep(
    out: Path, option: str, results: Mapping[float, Result], made_with: Mapping[str, Any]
) -> None:
    """Every value: `sweep_OPTION.json`, `.md` and the line chart `.png`."""
    first = next(iter(results.values()))
    values, rows = list(results), list(results.values())
    series: dict[str, Sequence[float | None]] = {"mIoU": [r.miou for r in rows]}
    if first.unseen_miou is not None:
        series |= {"seen mIoU": [r.seen_miou for r in rows], "unseen mIoU": [r.unseen_miou for r in rows]}
    series["pixel accuracy"] = [r.pixel_accuracy for r in rows]
    name = f"sweep_{option}"
    line_chart(out / f"{name}.png", f"{first.dataset}: {option}", option, values, series)
    table = _table([(f"{value:g}", result) for value, result in results.items()], first=option)
    content = {
        "option": option,
        "values": [{"value": value, **result.to_dict()} for value, result in results.items()],
    }
    figure = [f"![{option}]({name}.png)"]
    _write(out, name, content, made_with, f"{option} on {first.dataset}", table, first, figure)


def summary_line(result: Result) -> str:
    """One line for the terminal."""
    parts = [
        f"mIoU {_percent(result.miou)}",
        f"fwIoU {_percent(result.fwiou)}",
        f"pixel accuracy {_percent(result.pixel_accuracy)}",
    ]
    if result.seen_miou is not None or result.unseen_miou is not None:
        parts.append(f"seen {_percent(result.seen_miou)}, unseen {_percent(result.unseen_miou)}")
    return f"{result.dataset}: {', '.join(parts)} on {result.images} pictures"


def _table(rows: Sequence[tuple[str, Result]], first: str) -> list[str]:
    """A row per result, named where `first` heads a column; the seen/unseen split where there is one."""
    split = any(r.seen_miou is not None or r.unseen_miou is not None for _, r in rows)
    columns = _COLUMNS | (_SPLIT_COLUMNS if split else {})
    named = [first] if first else []
    lines = [row([*named, *columns]), row(["---"] * len([*named, *columns]))]
    for name, result in rows:
        shares = [_percent(getattr(result, share)) for share in columns.values()]
        lines.append(row([cell(name), *shares] if first else shares))
    return lines


def _class_table(result: Result) -> list[str]:
    lines = [row(["class", "IoU", "accuracy", "true pixels", "predicted pixels", ""])]
    lines.append(row(["---"] * 6))
    for e in result.per_class:
        unseen = "unseen" if e.unseen else ""
        cells = [cell(e.name), _percent(e.iou), _percent(e.accuracy), str(e.true_pixels)]
        lines.append(row([*cells, str(e.predicted_pixels), unseen]))
    return lines


def _counted(result: Result) -> list[str]:
    lines = [
        f"{result.images} pictures, {result.pixels} pixels counted, {result.classes_present} of "
        f"{len(result.per_class)} classes shown, {result.seconds:.3f} s per picture. Shares in percent; "
        "means are over the classes shown."
    ]
    for remark in result.remarks:
        lines += ["", f"**{cell(remark)}**"]
    if result.failed:
        lines += ["", f"**{len(result.failed)} pictures could not be scored:**", ""]
        lines += [f"- `{name}`: {cell(reason)}" for name, reason in result.failed]
    return lines


def _write(
    out: Path,
    name: str,
    content: Mapping[str, Any],
    made_with: Mapping[str, Any],
    title: str,
    table: Sequence[str],
    counted: Result,
    figure: Sequence[str],
) -> None:
    """NAME.json, and NAME.md: title, table, what was counted, figure, provenance."""
    body = [*table, "", *_counted(counted), "", *figure]
    write_report(out, name, content, made_with, title, body)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
