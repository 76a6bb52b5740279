"""What `ovseg memory` does, action by action; each returns the exit status."""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.memory.selection import entries_of, open_memory, where_of
from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    from ovseg_ros.memory import Entry
    from ovseg_ros.memory.recall import Recalled

DONE, NOTHING = 0, 1


def list_things(options: argparse.Namespace) -> int:
    """Prints what the filters mean; always 0."""
    from ovseg_ros.app.memory.exporting import entry_json
    from ovseg_ros.app.memory.texts import counted, table

    with open_memory(options.memory) as store:
        entries = store.load(where_of(options, options.words, store), crops=options.map is not None)
        name, total = store.name, store.count()
    entries.sort(key=lambda entry: -entry.last_seen)
    now = time.time()
    _draw(options.map, entries, now)
    if options.json:
        _print_json([entry_json(entry) for entry in entries])
    elif entries:
        _print(f"{table(entries, now, _width())}\n\n{counted(entries, name)}")
    else:
        _print(f"nothing of {total} things fits; {name}" if total else f"nothing is remembered; {name}")
    return DONE


def find_things(options: argparse.Namespace) -> int:
    """Prints what answers to the words; 1 where nothing does that is not gone."""
    from ovseg_ros.app.memory.exporting import entry_json
    from ovseg_ros.app.memory.finding import find, find_by_name
    from ovseg_ros.app.memory.texts import counted, table
    from ovseg_ros.core.words import as_vocabulary
    from ovseg_ros.memory import Where

    def load(preset: str) -> Any:
        from ovseg_ros.models.presets import load_preset

        print(f"loading {preset}", file=sys.stderr, flush=True)
        return load_preset(preset, device=options.device, weights_dir=options.weights_dir)

    vocabulary = as_vocabulary(" ".join(options.words))
    with open_memory(options.memory) as store:
        where = where_of(options, [], store)
        found, remarks = (
            (find_by_name(store, vocabulary, where), [])
            if options.by_name
            else find(store, vocabulary, where, load)
        )
        name = store.name
        if options.map is not None and found:
            crops = store.load(Where(keys=tuple(one.entry.key for one in found)), crops=True)
            order = {one.entry.key: i for i, one in enumerate(found)}
            _draw(options.map, sorted(crops, key=lambda entry: order[entry.key]), time.time())
    for remark in remarks:
        print(f"ovseg: {remark}", file=sys.stderr)
    if options.json:
        _print_json([_found_json(one, entry_json(one.entry)) for one in found])
    elif found:
        entries = [one.entry for one in found]
        _print(f"{table(entries, time.time(), _width(), found)}\n\n{counted(entries, name)}")
    else:
        _print(f"nothing remembered is {' or '.join(vocabulary.names)}; {name}")
    return DONE if any(one.entry.gone_since is None for one in found) else NOTHING


def _found_json(one: Recalled, entry: dict[str, Any]) -> dict[str, Any]:
    return {"word": one.word, "confidence": one.confidence, **entry}


def show_things(options: argparse.Namespace) -> int:
    """Prints all of one thing, and writes its picture and a map."""
    from ovseg_ros.app.memory.exporting import entry_json
    from ovseg_ros.app.memory.pictures import write_picture
    from ovseg_ros.app.memory.texts import details, name_of

    with open_memory(options.memory) as store:
        (entry,) = entries_of(store, [options.key])
        around = [] if options.map is None else _around(store, entry)
    now = time.time()
    if options.picture is not None:
        if entry.crop is None:
            raise ConfigError(f"no picture of {name_of(entry)} is kept: leave out --picture")
        write_picture(options.picture, entry.crop)
    _draw(options.map, around, now, entry)
    if options.json:
        _print_json(entry_json(entry, vectors=True))
    else:
        _print(details(entry, now))
    return DONE


def _around(store: Any, entry: Entry) -> list[Entry]:
    """What is no more than 2 m from a thing, the thing itself first."""
    from ovseg_ros.memory import Where

    low, high = (tuple((entry.position + off).tolist()) for off in (-2.0, 2.0))
    near = store.load(Where(frame_id=entry.frame_id, low=low, high=high), crops=True)
    return sorted(near, key=lambda one: (one.key != entry.key, -one.last_seen))


def export_things(options: argparse.Namespace) -> int:
    """Writes the file."""
    from ovseg_ros.app.memory import exporting
    from ovseg_ros.memory import Where

    ending = options.file.suffix.lower()
    if ending not in exporting.ENDINGS:
        raise ConfigError(f"expected a file that ends in .json or .csv, got {options.file}")
    with open_memory(options.memory) as store:
        where = where_of(options, options.words, store)
        entries = store.load(where, crops=ending == ".json")
        examples = store.examples() if where == Where() else []
    text = (
        exporting.export_json(entries, examples, time.time())
        if ending == ".json"
        else exporting.export_csv(entries)
    )
    exporting.write_file(options.file, text.encode())
    told = f" and {len(examples)} examples" if examples and ending == ".json" else ""
    _print(f"{len(entries)} things{told} written to {options.file}")
    return DONE


def forget_things(options: argparse.Namespace) -> int:
    """Forgets; 1 where nothing was forgotten."""
    from ovseg_ros.memory import Where

    if options.all == bool(options.keys):
        raise ConfigError("expected keys of what to forget (`ovseg memory list` shows them), or --all")
    with open_memory(options.memory) as store:
        if options.all:
            count = store.count()
            if not options.yes and not _agreed(
                f"forget all {count} things and all taught names of {store.name}?"
            ):
                _print("nothing was forgotten")
                return NOTHING
            forgotten = store.forget()
        else:
            keys = tuple(entry.key for entry in entries_of(store, options.keys))
            forgotten = store.forget(Where(keys=keys))
    _print(f"{forgotten} thing{'s' * (forgotten != 1)} forgotten")
    return DONE if forgotten or options.all else NOTHING


def _agreed(question: str) -> bool:
    """Whether the person at the terminal says yes.

    Raises:
        ConfigError: there is nobody to ask.
    """
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} There is no terminal to answer: add --yes")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _draw(path: Path | None, entries: Sequence[Entry], now_s: float, marked: Entry | None = None) -> None:
    if path is None:
        return
    from ovseg_ros.app.memory.top_view import draw_top_view

    if path.suffix.lower() != ".png":
        raise ConfigError(f"expected --map as a file that ends in .png, got {path}")
    if not entries:
        raise ConfigError("nothing fits, so there is nothing to draw: leave out --map or ask for more")
    from ovseg_ros.app.memory.exporting import write_file

    drawing = draw_top_view(entries, now_s, marked=marked)
    write_file(path, drawing.png)
    if drawing.left_out:
        print(f"ovseg: {drawing.left_out}", file=sys.stderr)


def _width() -> int | None:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print_json(value: Any) -> None:
    _print(json.dumps(value, indent=2, ensure_ascii=False))


def _print(text: str) -> None:
    """To stdout, in what letters that has; who reads it through a pipe may have seen enough."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
