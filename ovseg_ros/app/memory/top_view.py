"""A drawing of remembered things from above, to scale, with their pictures beside it."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg_ros.app.memory.boxes import area, draw_box, is_in, write_names
from ovseg_ros.app.memory.crops import draw_crop
from ovseg_ros.app.memory.ink import DASHES, GREY, LINES, fonts, write
from ovseg_ros.app.memory.plan import Paper, Points, extent_of, grid_step, outline, paper_of
from ovseg_ros.app.memory.texts import moment, name_of, plain
from ovseg_ros.errors import ConfigError, install_cure

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry

_MAP_IN = 7.5  # the longer side of the map, inches
_LEFT_IN, _BELOW_IN, _ABOVE_IN, _GAP_IN = 0.75, 1.0, 0.7, 0.3
_CELLS_IN = (((1.5, 1.75), 3), ((1.1, 1.3), 5))  # a picture with its two lines, and how many in a row
_DPI = 110
MOST_DRAWN = 200
"""Of more things the first are drawn: those seen last, or surest."""
_AXES = (("x", "#c62828"), ("y", "#2e7d32"), ("z", "#1565c0"))  # red, green, blue as everywhere in ROS
_COLOURS = (
    *("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"),
    *("#8c564b", "#e377c2", "#17becf", "#bcbd22", "#3949ab"),
)


@dataclass(frozen=True)
class Drawing:
    """A top view.

    Attributes:
        png: the picture.
        left_out: what it does not show, "" where it shows all.
    """

    png: bytes
    left_out: str


def draw_top_view(entries: Sequence[Entry], now_s: float, *, marked: Entry | None = None) -> Drawing:
    """Draws things of one frame: that of `marked`, else the one that most are in.

    Args:
        entries: at least one, with pictures where those are wanted; numbered in this order.
        now_s: seconds since the epoch, for ages.
        marked: one of them, drawn with a thick outline.

    Raises:
        ConfigError: matplotlib is missing.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frames = Counter(entry.frame_id for entry in entries)
    frame = marked.frame_id if marked else frames.most_common(1)[0][0]
    in_frame = [entry for entry in entries if entry.frame_id == frame]
    drawn = in_frame[:MOST_DRAWN]
    others = {plain(name): count for name, count in frames.items() if name != frame}
    paper = paper_of(drawn)
    outlines = [outline(entry, paper) for entry in drawn]
    extent, with_origin = extent_of(outlines)
    sides = extent[1] - extent[0]
    wide, high = sides * _MAP_IN / sides.max()
    for cell_in, most in _CELLS_IN:
        rows = max(int(high / cell_in[1]), 1)
        columns = min(math.ceil(len(drawn) / rows), most)
        if len(drawn) <= rows * columns:
            break
    size = np.array([_LEFT_IN + wide + _GAP_IN + columns * cell_in[0] + 0.15, _BELOW_IN + high + _ABOVE_IN])
    figure = Figure(figsize=tuple(size), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((_LEFT_IN / size[0], _BELOW_IN / size[1], wide / size[0], high / size[1]))
    step = _set_up(axes, extent, paper, plain(frame))
    colours = _colours(drawn)
    key = None if marked is None else marked.key
    for place in sorted(range(len(drawn)), key=lambda place: -area(outlines[place])):
        entry, corners = drawn[place], outlines[place]
        others_on_it = any(is_in(other, corners) for i, other in enumerate(outlines) if i != place)
        fill = 0.0 if entry.gone_since is not None else 0.15 if others_on_it else 0.45
        draw_box(axes, corners, colours[name_of(entry)], fill, is_marked=entry.key == key)
    _draw_axes(axes, extent, paper, step, plain(frame), with_origin=with_origin)
    write_names(axes, drawn, outlines, colours)
    title = f"{len(drawn)} remembered thing{'s' * (len(drawn) != 1)}, seen from above"
    write(figure, _LEFT_IN / size[0], 1 - 0.2 / size[1], title, fontsize=14, va="top")
    write(
        figure,
        _LEFT_IN / size[0],
        1 - 0.45 / size[1],
        f"as of {moment(now_s)[:16]}; below each picture, when it was last seen",
        fontsize=9,
        va="top",
        color=GREY,
    )
    _legend(axes, step, wide, marked)
    left = (_LEFT_IN + wide + _GAP_IN) / size[0]
    cell = cell_in / size
    for number, entry in enumerate(drawn[: rows * columns], start=1):
        row, column = divmod(number - 1, columns)
        corner = left + column * cell[0], 1 - _ABOVE_IN / size[1] - (row + 1) * cell[1]
        draw_crop(figure, corner, cell, f"{number} {name_of(entry)}", entry, now_s, colours[name_of(entry)])
    if (more := len(drawn) - rows * columns) > 0:
        write(figure, left, 0.35 / size[1], f"and {more} more on the map alone", fontsize=9, color=GREY)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    told = ", ".join(f"{count} in {name}" for name, count in others.items())
    left_out = [f"the top view shows the frame {plain(frame)} alone, not {told}"] if told else []
    if len(in_frame) > len(drawn):
        left_out.append(f"the first {len(drawn)} of {len(in_frame)} things are drawn")
    return Drawing(png.getvalue(), "; ".join(left_out))


def check_matplotlib() -> None:
    """Raises ConfigError where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(f"a top view needs matplotlib; {install_cure('evaluate')}") from error


def _set_up(axes: Any, extent: Points, paper: Paper, frame: str) -> float:
    """Scale, grid and the names of the axes; returns the grid's step."""
    axes.set(xlim=tuple(extent[:, 0]), ylim=tuple(extent[:, 1]), facecolor="#fafafa")
    if paper.right[1] < 0:
        axes.invert_xaxis()
    if paper.away[1] < 0:
        axes.invert_yaxis()
    step = grid_step(extent)
    digits = 1 if step < 1 else 0
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(_multiples(step))
        axis.set_major_formatter(lambda value, _: f"{value:.{digits}f}".replace("-0.0", "0.0"))
    axes.grid(color=LINES, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=LINES, labelcolor=GREY)
    for spine in axes.spines.values():
        spine.set_color(LINES)
    for (axis, _), name in ((paper.right, "x"), (paper.away, "y")):
        label = getattr(axes, f"set_{name}label")(f"{_AXES[axis][0]} of {frame} (m)", fontsize=9, color=GREY)
        label.set(parse_math=False, fontfamily=fonts())
    return step


def _multiples(step: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(step)


def _colours(entries: Sequence[Entry]) -> dict[str, str]:
    """The same for things of one name."""
    names = dict.fromkeys(name_of(entry) for entry in entries)
    return {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}


def _draw_axes(
    axes: Any, extent: Points, paper: Paper, step: float, frame: str, *, with_origin: bool
) -> None:
    """The frame's axes, at its origin, or in the corner where that is out of the picture."""
    length = min(step, 0.12 * float((extent[1] - extent[0]).max()))
    signs = np.array([paper.right[1], paper.away[1]])
    start = np.zeros(2)
    if not with_origin:  # in what is the lower left corner on the paper
        corner = np.where(signs > 0, extent[0], extent[1])
        start = corner + signs * 0.5 * length
    for i, (axis, _) in enumerate((paper.right, paper.away)):
        name, colour = _AXES[axis]
        end = start + np.eye(2)[i] * length * (1 if with_origin else signs[i])
        axes.annotate(
            "", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": 2.2}, zorder=2
        )
        off = (8, 0) if i == 0 else (0, 8)
        axes.annotate(
            name, end, off, textcoords="offset points", color=colour, fontsize=10, ha="center", va="center"
        )
    axes.annotate(
        f"origin of {frame}" if with_origin else f"axes of {frame}",
        start,
        (-3, -11),
        textcoords="offset points",
        color=GREY,
        fontsize=8,
        ha="left",
        va="center",
        parse_math=False,
        fontfamily=fonts(),
    )


def _legend(axes: Any, step: float, wide_in: float, marked: Entry | None) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    signs: list[Any] = [
        Patch(facecolor="#9e9e9e80", edgecolor=GREY, label="there when last looked at"),
        Patch(facecolor="none", edgecolor=GREY, linestyle=DASHES, label="gone: its place was seen free"),
        Line2D([], [], color=LINES, linewidth=0.8, label=f"a square of the grid: {step:g} m"),
    ]
    if marked is not None:
        signs.append(Patch(facecolor="none", edgecolor="black", linewidth=2.6, label="the thing asked for"))
    axes.legend(
        handles=signs,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.45 / (axes.get_position().height * axes.figure.get_figheight())),
        ncols=len(signs) if wide_in > 6 else 2,
        fontsize=8,
        frameon=False,
        labelcolor=GREY,
    )
