"""What the page shows of a robot's memory: things whose names hold a text, drawn from above, and a table."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg_ros.app.memory.texts import age, name_of, place, plain, size
from ovseg_ros.app.memory.top_view import draw_top_view
from ovseg_ros.errors import OvsegError
from ovseg_ros.memory import Entry, Where

if TYPE_CHECKING:
    from ovseg_ros.memory.store.store import Store

MOST_SHOWN = 100
"""Of all that fits those seen last are shown: more would hide each other on the drawing."""
MAX_TEXT = 200
"""Letters of the search field."""


@dataclass(frozen=True)
class Shown:
    """What the tab shows.

    Attributes:
        sentence: what was found, or what went wrong.
        table: HTML, "" where nothing was found.
        drawing: (H, W, 3) uint8 RGB, None where nothing was found.
        is_error: whether `sentence` is of an error.
    """

    sentence: str
    table: str = ""
    drawing: npt.NDArray[np.uint8] | None = None
    is_error: bool = False


def look_up(store: Store, text: str) -> Shown:
    """Things in memory that were called something with one of the words in it, those seen last first.

    Args:
        store: the memory.
        text: words, separated by commas; "" means all things.
    """
    try:
        return _look_up(store, [word.strip().casefold() for word in text.split(",") if word.strip()])
    except OvsegError as error:
        return Shown(str(error), is_error=True)


def _look_up(store: Store, words: list[str]) -> Shown:
    fitting = [
        entry
        for entry in store.load()
        if not words or any(word in name.casefold() for word in words for name in entry.words)
    ]
    if not fitting:
        return Shown("Nothing that is remembered is called so." if words else "Nothing is remembered.")
    fitting.sort(key=lambda entry: -entry.last_seen)
    keys = [entry.key for entry in fitting[:MOST_SHOWN]]
    loaded = {entry.key: entry for entry in store.load(Where(keys=tuple(keys)), crops=True)}
    entries = [loaded[key] for key in keys if key in loaded]  # one may have been forgotten meanwhile
    if not entries:
        return Shown("Nothing that is remembered is called so.")
    now_s = time.time()
    drawing = draw_top_view(entries, now_s)
    told = f"{len(fitting)} thing{'s' * (len(fitting) != 1)}"
    if len(fitting) > len(entries):
        told += f", of which the {len(entries)} seen last are shown"
    with Image.open(io.BytesIO(drawing.png)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    sentence = ". ".join(one[:1].upper() + one[1:] for one in (told, drawing.left_out) if one)
    return Shown(f"{sentence}.", _table(entries, now_s), pixels)


def _table(entries: list[Entry], now_s: float) -> str:
    heads = ("name", "last seen", "where (m)", "in", "size (cm)", "times seen", "gone", "key")
    head = "".join(f'<th class="ov-text">{name}</th>' for name in heads)
    lines = []
    for entry in entries:
        cells = (
            name_of(entry),
            age(entry.last_seen, now_s),
            place(entry),
            plain(entry.frame_id),
            size(entry),
            str(entry.times_seen),
            "" if entry.gone_since is None else f"since {age(entry.gone_since, now_s).removesuffix(' ago')}",
            entry.key,
        )
        lines.append("<tr>" + "".join(f'<td class="ov-text">{escape(cell)}</td>' for cell in cells) + "</tr>")
    return (
        '<div class="ov-scroll"><table class="ov-masks"><thead><tr>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
