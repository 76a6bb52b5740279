"""The figure of `ovseg bench`: cost against number of masks, number of labels and image size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError, install_cure
from ovseg_ros.evaluate.charts import BLUE, GREEN, ORANGE

_COLOURS = {"naive": ORANGE, "ours": BLUE, "ours, 16 bits": GREEN}
_PANELS = {"masks": "masks", "labels": "labels", "size": "megapixels"}


def draw(path: Path, cases: Mapping[str, Any], title: str) -> bool:
    """Draws the sweeps that were measured, side by side, both axes logarithmic.

    Solid: a whole frame with its quartiles; dashed: all of it but the encoder.

    Args:
        path: PNG to write.
        cases: of a result of `ovseg bench`.
        title: over the figure.

    Returns:
        False, and nothing is written, where there is no sweep.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    sweeps = [name for name in _PANELS if name in cases]
    if not sweeps:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(f"the figure needs matplotlib; {install_cure('evaluate')}") from error
    figure = Figure(figsize=(1.2 + 4.0 * len(sweeps), 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axes, name in zip(panels, sweeps, strict=True):
        _panel(axes, name, cases[name]["points"])
    panels[0].set_ylabel("ms per frame")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 2 * len(sweeps)), frameon=False
    )
    figure.suptitle(title, fontsize=11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=144)
    return True


def _panel(axes: Any, name: str, points: Sequence[Mapping[str, Any]]) -> None:
    at = [point["at"] / (1e6 if name == "size" else 1) for point in points]
    for way, colour in _COLOURS.items():
        if any(way not in point["ways"] for point in points):
            continue
        ms = [point["ways"][way]["ms"] for point in points]
        axes.plot(at, [one["median"] for one in ms], marker="o", ms=4, color=colour, label=way)
        axes.fill_between(
            at, [one["low"] for one in ms], [one["high"] for one in ms], color=colour, alpha=0.2, lw=0
        )
        rest = [point["without_encode_ms"][way] for point in points]
        axes.plot(at, rest, ls="--", marker="o", ms=2.5, lw=1, color=colour, label=f"{way}, less encode")
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = [point.get("size", f"{point['at']}") for point in points]
    for i, (low, high) in enumerate(itertools.pairwise(at)):
        if high < 1.25 * low and i < len(at) - 2:  # the last one keeps its name
            ticks[i + 1] = ""
        elif high < 1.25 * low:
            ticks[i] = ""
    axes.set_xticks(at, ticks, rotation=45 if name == "size" else 0, fontsize=8)
    axes.minorticks_off()
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("image, pixels" if name == "size" else _PANELS[name])
    axes.grid(alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
