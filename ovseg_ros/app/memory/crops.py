"""Pictures of things beside the top view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovseg_ros.app.memory.ink import DASHES, GREY, INK, write
from ovseg_ros.app.memory.pictures import pixels_of
from ovseg_ros.app.memory.plan import Points
from ovseg_ros.app.memory.texts import age

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry


def draw_crop(
    figure: Any,
    corner: tuple[float, float],
    cell: Points,
    title: str,
    entry: Entry,
    now_s: float,
    colour: str,
) -> None:
    """A picture with number, name and age below it, in figure coordinates."""
    line = 0.17 / figure.get_figheight()
    below = 2.3 * line
    axes = figure.add_axes((corner[0], corner[1] + below, 0.93 * cell[0], cell[1] - below - 0.4 * line))
    axes.set(xticks=[], yticks=[], facecolor="#f0f0f0")
    pixels = pixels_of(entry.crop)
    if pixels is None:
        write(axes, 0.5, 0.5, "no picture", ha="center", va="center", fontsize=8, color=GREY)
    else:
        axes.imshow(pixels, aspect="equal")
        axes.set_anchor("SW")
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.4, linestyle="-" if entry.gone_since is None else DASHES)
    width = 0.93 * cell[0]
    write(
        figure,
        corner[0],
        corner[1] + below - 0.2 * line,
        _cut(figure, title, width),
        fontsize=9,
        va="top",
        color=INK,
    )
    seen = age(entry.last_seen, now_s)
    seen += "" if entry.gone_since is None else ", gone"
    write(figure, corner[0], corner[1] + below - 1.15 * line, seen, fontsize=8, va="top", color=GREY)


def _cut(figure: Any, text: str, width: float) -> str:
    """A line of 9 points that is no wider than so much of the figure."""
    renderer = figure.canvas.get_renderer()
    whole = text
    while text:
        probe = write(figure, 0.0, 0.0, text if text == whole else f"{text}…", fontsize=9)
        wide = probe.get_window_extent(renderer).width
        probe.remove()
        if wide <= width * figure.bbox.width:
            return text if text == whole else f"{text}…"
        text = text[:-1]
    return text
