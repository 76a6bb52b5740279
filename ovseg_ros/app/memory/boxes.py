"""Boxes of things on the top view, and their names where they hide no other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ovseg_ros.app.memory.ink import DASHES, INK, fonts
from ovseg_ros.app.memory.plan import Points
from ovseg_ros.app.memory.texts import name_of

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry

_MOST_NAMES = 60  # more names than that hide the boxes: then there are numbers
_LARGE_PX = 20_000.0  # a box of so many pixels is not hidden by a name
_WITHIN = (0, 0)  # of a box: where its number or name is written, to the right and up
_AROUND = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))


def area(corners: Points) -> float:
    """Of the upright rectangle around an outline, m²."""
    return float(np.prod(np.ptp(corners, axis=0)))


def is_in(inner: Points, outer: Points) -> bool:
    """Whether the middle of one outline is within the upright rectangle around another, larger one."""
    middle = inner.mean(axis=0)
    within = (outer.min(axis=0) <= middle) & (middle <= outer.max(axis=0))
    return bool(within.all()) and area(inner) < area(outer)


def draw_box(axes: Any, corners: Points, colour: str, fill: float, *, is_marked: bool) -> None:
    """`fill`: opacity, 0 for what is hollow: gone."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Polygon

    axes.add_patch(
        Polygon(
            corners,
            closed=True,
            facecolor=to_rgba(colour, fill),
            edgecolor="black" if is_marked else colour,
            linestyle="-" if fill else DASHES,
            linewidth=2.6 if is_marked else 1.4,
            zorder=3 + is_marked,
        )
    )


def write_names(
    axes: Any, entries: Sequence[Entry], outlines: Sequence[Points], colours: dict[str, str]
) -> None:
    """Numbers and names beside the boxes, where they hide no other; a number alone where no name fits."""
    from matplotlib.transforms import Bbox

    renderer = axes.figure.canvas.get_renderer()
    taken: list[Any] = []
    bounds = axes.get_window_extent(renderer)
    boxes = [axes.transData.transform(corners) for corners in outlines]
    spans = [Bbox([box.min(axis=0), box.max(axis=0)]) for box in boxes]
    for number, (entry, box, span) in enumerate(zip(entries, boxes, spans, strict=True), start=1):
        # A name may lie over the table on which its thing stands, but over no other thing; at a corner it
        # might be taken for a neighbour's.
        hidden = [one for one in spans if one is not span and one.width * one.height < _LARGE_PX]
        names = [] if len(entries) > _MOST_NAMES else [f"{number} {name_of(entry)}"]
        attempts = [(name, where, hidden) for name in names for where in _AROUND[:4]]
        attempts += [(str(number), where, []) for where in (_WITHIN, *_AROUND)]
        for text, way, spared in attempts:
            across, up = way
            far = box @ np.array(way)
            at = box[far > far.max() - 1.0].mean(axis=0) + 3 * np.array(way)  # the corners on that side
            written = axes.text(
                *axes.transData.inverted().transform(at),
                text,
                ha=("center", "left", "right")[across],
                va=("center", "bottom", "top")[up],
                fontsize=8,
                color=INK,
                fontfamily=fonts(),
                parse_math=False,
                zorder=6,
                bbox={
                    "facecolor": "white",
                    "alpha": 0.75,
                    "pad": 0.8,
                    "edgecolor": colours[name_of(entry)],
                    "linewidth": 0.5,
                },
            )
            space = written.get_window_extent(renderer)
            is_inside = bounds.x0 <= space.x0 and space.x1 <= bounds.x1
            is_inside &= bounds.y0 <= space.y0 and space.y1 <= bounds.y1
            if is_inside and not any(space.overlaps(other) for other in (*taken, *spared)):
                taken.append(space)
                break
            written.remove()
