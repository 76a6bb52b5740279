"""Figures of measurements, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ConfigError, install_cure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9822b", "#3a9a5b", "#8a8f98"

_DPI = 144
_MOST_CLASSES = 60


@dataclass(frozen=True)
class Bar:
    """One bar. `value` is a share in [0, 1], drawn in percent; `spread` its standard deviation, if any."""

    label: str
    value: float
    colour: str = BLUE
    spread: float | None = None


def bar_chart(path: Path, title: str, bars: Sequence[Bar], axis: str = "mIoU [%]") -> None:
    """Horizontal bars with their values written beside them, the first at the top."""
    figure, axes = new_figure(8.0, 1.6 + 0.46 * len(bars))
    places = range(len(bars))
    spreads = [100 * (bar.spread or 0.0) for bar in bars]
    axes.barh(
        places,
        [100 * bar.value for bar in bars],
        xerr=spreads if any(bar.spread is not None for bar in bars) else None,
        color=[bar.colour for bar in bars],
        height=0.66,
        capsize=3,
    )
    for place, bar, spread in zip(places, bars, spreads, strict=True):
        text = f"{100 * bar.value:.1f}" + ("" if bar.spread is None else f" ± {spread:.1f}")
        axes.annotate(
            text, (100 * bar.value + spread, place), (5, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(places, [bar.label for bar in bars])
    axes.set_ylim(len(bars) - 0.4, -0.6)  # the first at the top
    highest = max((100 * bar.value + spread for bar, spread in zip(bars, spreads, strict=True)), default=0)
    axes.set_xlim(0, max(1.18 * highest, 1.0))
    axes.set_xlabel(axis)
    axes.grid(axis="x", alpha=0.3)
    save_figure(figure, axes, title, path)


def line_chart(
    path: Path, title: str, x_name: str, x: Sequence[float], series: Mapping[str, Sequence[float | None]]
) -> None:
    """Lines over a swept option, in percent, without values that are None; the legend has each one's best."""
    figure, axes = new_figure(7.2, 4.4)
    order = sorted(range(len(x)), key=lambda i: x[i])
    for (name, values), colour in zip(series.items(), (BLUE, ORANGE, GREEN, GREY), strict=False):
        known = [(x[i], 100 * value) for i in order if (value := values[i]) is not None]
        label = name
        if known:
            at, best = max(known, key=lambda point: point[1])
            label += f" (best {best:.1f} at {at:g})"
        axes.plot([at for at, _ in known], [y for _, y in known], marker="o", color=colour, label=label)
    axes.set_xlabel(x_name)
    axes.set_ylabel("[%]")
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, axes, title, path)


def class_chart(path: Path, title: str, classes: Sequence[tuple[str, float, bool]]) -> None:
    """IoU per class, best first, unseen classes in another colour; of many the best and the worst half.

    Args:
        path: where to.
        title: over the figure.
        classes: (name, IoU, unseen) of each class that the truth shows.
    """
    ordered = sorted(classes, key=lambda one: -one[1])
    left_out = len(ordered) - _MOST_CLASSES
    if left_out > 0:
        half = _MOST_CLASSES // 2
        ordered = [*ordered[:half], *ordered[-half:]]
        title += f" (the {half} best and the {half} worst of {len(classes)})"
    bars = [Bar(name, iou, ORANGE if unseen else BLUE) for name, iou, unseen in ordered]
    if any(unseen for _, _, unseen in classes):
        title += "; unseen classes in orange"
    bar_chart(path, title, bars, "IoU [%]")


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches; ConfigError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"figures need matplotlib; {install_cure('evaluate')}") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def save_figure(figure: Figure, axes: Any, title: str, path: Path) -> None:
    """Writes a figure with its title as PNG, and makes the folder."""
    axes.set_title(title, fontsize=11, wrap=True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI)
