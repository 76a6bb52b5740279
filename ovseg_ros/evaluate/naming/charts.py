"""Precision-recall curves and reliability diagrams, as PNG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ovseg_ros.evaluate.naming.calibration import Calibration
from ovseg_ros.evaluate.naming.curves import Curve
from ovseg_ros.evaluate.scores.charts import BLUE, GREEN, GREY, ORANGE, new_figure, save_figure

_COLOURS = (BLUE, ORANGE, GREEN, GREY)


def precision_recall_chart(
    path: Path,
    title: str,
    curves: Mapping[str, Curve],
    points: Mapping[str, tuple[float | None, float | None]],
) -> None:
    """Curves over the threshold, in percent, and where the preset's own threshold stands on each.

    Args:
        path: where to.
        title: over the figure.
        curves: name -> curve.
        points: name -> (recall, precision) at the preset's threshold; None for none.
    """
    figure, axes = new_figure(6.4, 5.2)
    for (name, curve), colour in zip(curves.items(), _COLOURS, strict=False):
        area = curve.average_precision
        label = name if area is None else f"{name} (average precision {100 * area:.1f} %)"
        axes.plot(
            [100 * value for value in curve.recall],
            [100 * value for value in curve.precision],
            color=colour,
            label=label,
            drawstyle="steps-post",
        )
        recall, precision = points.get(name, (None, None))
        if recall is not None and precision is not None:
            axes.plot([100 * recall], [100 * precision], "o", color=colour, markersize=8)
            axes.annotate(
                "the preset's threshold", (100 * recall, 100 * precision), (8, 6), textcoords="offset points",
                fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 103)
    axes.set_xlabel("recall [%]")
    axes.set_ylabel("precision [%]")
    axes.grid(alpha=0.3)
    if curves:
        axes.legend(loc="best", fontsize=8)
    save_figure(figure, axes, title, path)


def reliability_chart(path: Path, title: str, diagrams: Mapping[str, Calibration]) -> None:
    """How often scores are right, bin by bin, beside the diagonal on which they should lie.

    Args:
        path: where to.
        title: over the figure.
        diagrams: name -> reliability diagram; the legend has each one's error and count.
    """
    figure, axes = new_figure(6.4, 5.2)
    axes.plot(
        [0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1, label="a score that means what it says"
    )
    width = 80 / max(len(diagrams), 1)
    for place, ((name, one), colour) in enumerate(zip(diagrams.items(), _COLOURS, strict=False)):
        shown = [each for each in one.bins if each.right is not None]
        step = 100 / len(one.bins)
        left = [100 * each.low + step * (0.1 + place * width / 100) for each in shown]
        error = "" if one.error is None else f", calibration error {one.error:.3f}"
        axes.bar(
            left,
            [100 * (each.right or 0.0) for each in shown],
            width=step * width / 100,
            align="edge",
            color=colour,
            alpha=0.75,
            label=f"{name}: {one.count}{error}",
        )
        for x, each in zip(left, shown, strict=True):
            axes.annotate(
                str(each.count), (x + step * width / 200, 100 * (each.right or 0.0)), (0, 2),
                textcoords="offset points", ha="center", fontsize=6,
            )  # fmt: skip
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 103)
    axes.set_xlabel("score [%]")
    axes.set_ylabel("right [%]; over each bar how many")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
    save_figure(figure, axes, title, path)
