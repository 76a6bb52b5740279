"""A chart of what the node held, process after process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.evaluate.scores.charts import BLUE, GREEN, ORANGE
from soak_node.process import Sample


def draw(path: Path, lives: Sequence[Sequence[Sample]], found: dict[str, Any]) -> None:
    """Memory, files and threads over time, a line for each process; a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=120, layout="constrained")
    rows = figure.subplots(3, 1, sharex=True)
    names = (("resident_mib", "MiB", BLUE), ("files", "open files", ORANGE), ("threads", "threads", GREEN))
    for axes, (name, unit, colour) in zip(rows, names, strict=True):
        begun_s = 0.0
        for life in lives:
            minutes = [(begun_s + sample.at_s) / 60 for sample in life]
            axes.plot(minutes, [getattr(sample, name) for sample in life], color=colour, linewidth=1)
            if life:
                begun_s += life[-1].at_s
                axes.axvline(begun_s / 60, color="0.85", linewidth=0.5, zorder=0)
        axes.set_ylabel(unit)
        axes.set_ylim(bottom=0, top=1.1 * axes.get_ylim()[1])
        grown = found["growth"].get(name)
        if grown:
            flat = {True: "flat", False: "grows", None: "too short to judge"}[grown["flat"]]
            axes.set_title(
                f"{unit}: {grown['growth_per_hour']:+.2f} an hour in the longest life's second half: {flat}",
                fontsize=9,
                loc="left",
            )
    rows[-1].set_xlabel("minutes, a grey line where the node was killed and another started")
    figure.suptitle(
        f"{found['results']} results in {found['minutes']:g} min, {found['lives']} processes, "
        f"{len(found['breaches'])} breaches",
        fontsize=10,
    )
    figure.savefig(path)
