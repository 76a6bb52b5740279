"""Entries of memory in words: ages, places, a table for the terminal, all of one entry."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ovseg_ros.app.memory.selection import short_keys
from ovseg_ros.memory.entry import age_text

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry
    from ovseg_ros.memory.recall import Recalled

UNNAMED = "(no name)"
_LEAST_NAME = 8  # columns that a name keeps in a narrow terminal
_DATE_FROM_S = 14 * 86400.0

Column = tuple[str, Callable[["Entry"], str]]


def age(then_s: float, now_s: float) -> str:
    """How long ago, as people say it: "3 h ago"; a date where it is longer than two weeks.

    Args:
        then_s: seconds since the epoch; on a clock that is ahead it gives "in 5 min".
        now_s: the same.
    """
    passed = abs(now_s - then_s)
    if passed >= _DATE_FROM_S:
        return moment(then_s)[:10]
    return f"{age_text(passed)} ago" if then_s <= now_s else f"in {age_text(passed)}"


def moment(seconds: float) -> str:
    """Seconds since the epoch as local date and time."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(sep=" ", timespec="seconds")


def name_of(entry: Entry) -> str:
    """What it is called, for people."""
    return plain(entry.name) or UNNAMED


def place(entry: Entry) -> str:
    """Where it is, metres."""
    return ", ".join(f"{value:.2f}" for value in entry.position)


def size(entry: Entry) -> str:
    """Its sides in whole centimetres."""
    return " x ".join(f"{100 * side:.0f}" for side in entry.size)


def plain(text: str) -> str:
    """Text without what moves a terminal's cursor or colours it."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def table(
    entries: Sequence[Entry], now_s: float, width: int | None, recalled: Sequence[Recalled] | None = None
) -> str:
    """A line for each entry.

    Args:
        entries: at least one.
        now_s: seconds since the epoch.
        width: columns of the terminal, to which names are cut; None: nothing is cut.
        recalled: the same things where words were asked for: then also how sure each is.
    """
    short = short_keys(entry.key for entry in entries)
    columns: list[Column] = [
        ("key", lambda entry: short[entry.key]),
        ("name", name_of),
        ("where (m)", place),
        ("size (cm)", size),
        ("last seen", lambda entry: age(entry.last_seen, now_s)),
        ("times", lambda entry: str(entry.times_seen)),
    ]
    if recalled is not None:
        sure = {one.entry.key: one for one in recalled}
        columns[1:2] = [
            ("is it", lambda entry: plain(sure[entry.key].word)),
            ("sure", lambda entry: f"{100 * sure[entry.key].confidence:.0f} %"),
        ]
    for title, value in (("frame", "frame_id"), ("robot", "robot")):
        if len({getattr(entry, value) for entry in entries}) > 1:
            columns.append((title, lambda entry, value=value: plain(getattr(entry, value))))  # type: ignore[misc]
    if any(entry.gone_since is not None for entry in entries):
        columns.append(("gone", lambda entry: "" if entry.gone_since is None else "gone"))
    cells = [[title for title, _ in columns]]
    cells += [[value(entry) for _, value in columns] for entry in entries]
    widths = [max(_columns_of(row[i]) for row in cells) for i in range(len(columns))]
    if width is not None:
        widths[1] = max(widths[1] - max(sum(widths) + 2 * (len(widths) - 1) - width, 0), _LEAST_NAME)
    right = [title in ("times", "sure") for title, _ in columns]
    return "\n".join(
        "  ".join(_cell(*one) for one in zip(row, widths, right, strict=True)).rstrip() for row in cells
    )


def counted(entries: Sequence[Entry], place_name: str) -> str:
    """The line below the table."""
    gone = sum(entry.gone_since is not None for entry in entries)
    frames = sorted({plain(entry.frame_id) for entry in entries})
    things = f"{len(entries)} thing{'s' * (len(entries) != 1)}"
    return f"{things}{f', {gone} of them gone' if gone else ''}; metres in {', '.join(frames)}; {place_name}"


def details(entry: Entry, now_s: float) -> str:
    """All that is remembered of a thing but vectors."""
    words = sorted(entry.words.items(), key=lambda item: -item[1].times)
    spread = ", ".join(f"{100 * value**0.5:.1f}" for value in entry.covariance.diagonal())
    turn = ", ".join(f"{value:.4f}" for value in entry.orientation)
    rows = {
        "key": entry.key,
        "called": "; ".join(
            f"{plain(word)}: {one.times} times, {one.score:.2f} at best" for word, one in words
        )
        or "nothing so far",
        "where": f"{place(entry)} m in {plain(entry.frame_id)}, give or take {spread} cm",
        "size": f"{size(entry)} cm",
        "turned": f"{turn} (quaternion x, y, z, w)",
        "first seen": f"{moment(entry.first_seen)}, {age(entry.first_seen, now_s)}",
        "last seen": f"{moment(entry.last_seen)}, {age(entry.last_seen, now_s)}",
        "times": f"{entry.times_seen} seen; looked for {entry.times_looked}, missed {entry.times_missed}",
        "gone": "not known to be"
        if entry.gone_since is None
        else f"since {moment(entry.gone_since)}, {age(entry.gone_since, now_s)}",
        "robot": plain(entry.robot) or "the only one",
        "looks": f"{len(entry.views)} views of {len(entry.embedding)} numbers, of {plain(entry.space)}",
        "surface": f"{len(entry.surface)} points",
        "picture": "none kept" if entry.crop is None else f"{len(entry.crop)} bytes of JPEG",
    }
    wide = max(map(len, rows))
    return "\n".join([name_of(entry), *(f"  {title:<{wide}}  {text}" for title, text in rows.items())])


def _cell(text: str, width: int, right: bool) -> str:
    while _columns_of(text) > width:
        text = text.rstrip("…")[:-1] + "…"
    blank = " " * (width - _columns_of(text))
    return blank + text if right else text + blank


def _columns_of(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        2 if unicodedata.east_asian_width(one) in "WF" else not unicodedata.combining(one) for one in text
    )
