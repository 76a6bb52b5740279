"""Which memory and which of its entries the options mean."""

from __future__ import annotations

import argparse
import dataclasses
import re
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry, Where
    from ovseg_ros.memory.store.store import Store

SHORTEST_KEY = 6
_UNITS_S = {"s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_TIMES = (
    "90s, 20min, 2h, 3d or 1w (so long ago), or a local date and time such as 2026-11-30 or 2026-11-30T14:05"
)


def open_memory(address: str | None) -> Store:
    """Opens the memory that `--memory` names; unlike the node it makes none.

    Raises:
        ConfigError: there is none, or what `open_store` says.
        StoreError: the database cannot be reached.
    """
    from ovseg_ros.memory import default_path, open_store

    address = str(default_path()) if address is None else address
    scheme, colon, rest = address.partition("://")
    path = Path(rest[1:] if colon else scheme).expanduser()
    if (not colon or scheme == "sqlite") and not path.exists():
        raise ConfigError(
            f"there is no memory at {path}: start the node with the parameter remember, or name another file "
            "or database with --memory"
        )
    return open_store(address)


def time_of(text: str, now_s: float | None = None) -> float:
    """A time as people write it, in seconds since the epoch.

    Args:
        text: "2h" for two hours ago, or a date and time of ISO 8601, local where it names no zone.
        now_s: seconds since the epoch; None: now.

    Raises:
        ConfigError: neither.
    """
    ago = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", text)
    if ago and ago[2] in _UNITS_S:
        return (time.time() if now_s is None else now_s) - float(ago[1]) * _UNITS_S[ago[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(f"expected a time as {_TIMES}, got {text!r}") from error


def where_of(options: argparse.Namespace, words: Sequence[str], store: Store) -> Where:
    """The entries that filters mean, called by one of some words as a person typed them ([]: by any or none).

    Raises:
        ConfigError: a time or region that is none, or a region where it is not clear in which frame.
        InvalidInputError: words that cannot be looked for.
    """
    from ovseg_ros.memory import Where

    since = None if options.since is None else time_of(options.since)
    until = None if options.until is None else time_of(options.until)
    if since is not None and until is not None and since > until:
        raise ConfigError("--since is later than --until: exchange them")
    low, high = (None if value is None else tuple(value) for value in (options.low, options.high))
    if low and high and not all(a <= b for a, b in zip(low, high, strict=True)):
        raise ConfigError(f"expected --low below --high in x, y and z, got {low} and {high}")
    where = Where(
        words=_words_of(words, getattr(options, "kind", None), store),
        frame_id=options.frame,
        low=low,
        high=high,
        seen_after=since,
        seen_before=until,
        gone=options.gone,
        robot=options.robot,
    )
    if (low or high) and not options.frame:
        frames = sorted(
            {entry.frame_id for entry in store.load(dataclasses.replace(where, low=None, high=None))}
        )
        if len(frames) > 1:
            raise ConfigError(
                f"--low and --high are metres of which frame? add --frame, one of {', '.join(frames)}"
            )
        where = dataclasses.replace(where, frame_id=frames[0] if frames else "map")
    return where


def _words_of(words: Sequence[str], kind: str | None, store: Store) -> tuple[str, ...]:
    """What things have to be called; () for anything."""
    from ovseg_ros.core.words import as_vocabulary

    names = as_vocabulary(" ".join(words)).names if words else ()
    if kind is None:
        return names
    from ovseg_ros.memory.recall import kind_words
    from ovseg_ros.models.trusted import best_meanings

    kinds = as_vocabulary(kind).names
    if not kinds:
        raise ConfigError('expected --kind with a word, such as "container", got none')
    return kind_words(names or store.words(), kinds, best_meanings()) or ("",)  # which nothing was called


def entries_of(store: Store, keys: Sequence[str]) -> list[Entry]:
    """The entries of keys or their beginnings, each once, with pictures.

    Raises:
        InvalidInputError: a key of no entry, or the beginning of several.
    """
    from ovseg_ros.memory import Where

    found = {entry.key: entry for entry in store.load(Where(keys=tuple(keys)), crops=True)}
    everything: list[str] | None = None
    for key in keys:
        if key in found:
            continue
        if everything is None:
            everything = [entry.key for entry in store.load()]
        begin = [one for one in everything if key and one.startswith(key)]
        if not begin:
            raise InvalidInputError(
                f"nothing of key {key!r} is remembered; `ovseg memory list` shows the keys"
            )
        if len(begin) > 1:
            short = short_keys(everything)
            some = ", ".join([short[one] for one in begin[:5]] + ["…"] * (len(begin) > 5))
            raise InvalidInputError(
                f"{key!r} begins the keys of {len(begin)} things ({some}): write more of it"
            )
        found |= {one.key: one for one in store.load(Where(keys=(begin[0],)), crops=True)}
    return list(found.values())


def short_keys(keys: Iterable[str]) -> dict[str, str]:
    """The beginning of each key by which it is told from the others, `SHORTEST_KEY` letters at least."""
    ordered = sorted(set(keys))
    short = {}
    for place, key in enumerate(ordered):
        shared = max(
            (_shared(key, ordered[other]) for other in (place - 1, place + 1) if 0 <= other < len(ordered)),
            default=0,
        )
        short[key] = key[: max(shared + 1, SHORTEST_KEY)]
    return short


def _shared(one: str, other: str) -> int:
    """How many letters two keys begin with alike."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count
