"""`ovseg memory`: reads, draws, exports and empties a robot's memory, beside a running node or alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ovseg_ros.app.memory import actions


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    memory = commands.add_parser(
        "memory",
        help="what a robot remembers: list, find, show, export, forget",
        description="Reads what a node with the parameter remember has seen, and forgets what should be "
        "forgotten. Works on the file or database itself, beside a running node or without one.",
    )
    parsers = memory.add_subparsers(title="what to do", required=True, metavar="ACTION")
    _add(
        parsers.add_parser("list", help="list things, those seen last first"),
        actions.list_things,
        "Lists the things that are remembered, those seen last first.",
        _filters,
        _kind,
        _map,
        _json,
    )
    find = _add(
        parsers.add_parser("find", help="things for words, by name and by looks"),
        actions.find_things,
        "Finds things that were called by one of the words, and things that look like it, where the preset "
        "that saw them can be loaded here. Exits 0 if there is one that is not gone, else 1.",
        partial(_filters, nargs="+"),
        _map,
        _json,
    )
    find.add_argument("--by-name", action="store_true", help="only what was called so; loads no network")
    find.add_argument("--device", default="auto", help="where the networks run (default: auto)")
    find.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    show = _add(
        parsers.add_parser("show", help="all about one thing"),
        actions.show_things,
        "Prints all that is remembered of a thing, and writes its picture and a map of what is around it.",
        _map,
        _json,
    )
    show.add_argument("key", metavar="KEY", help="its key, or the beginning of it")
    show.add_argument("--picture", type=Path, metavar="FILE", help="write its picture: .jpg or .png")
    export = _add(
        parsers.add_parser("export", help="write everything for other programs"),
        actions.export_things,
        "Writes what is remembered to a file: .json has all of it, .csv is a table without vectors and "
        "pictures. The same options choose as for `ovseg memory list`.",
    )
    export.add_argument("file", type=Path, metavar="FILE", help="ends in .json or .csv")
    _filters(export)
    _kind(export)
    forget = _add(
        parsers.add_parser("forget", help="forget things, or everything"),
        actions.forget_things,
        "Forgets things with their pictures. A running node hears of it. Exits 1 where nothing was "
        "forgotten.",
    )
    forget.add_argument("keys", nargs="*", metavar="KEY", help="keys, or their beginnings")
    forget.add_argument("--all", action="store_true", help="everything, taught names too; asks first")
    forget.add_argument("--yes", action="store_true", help="do not ask")


def _add(
    parser: argparse.ArgumentParser,
    run: Callable[[argparse.Namespace], int],
    description: str,
    *options: Callable[[argparse.ArgumentParser], None],
) -> argparse.ArgumentParser:
    parser.description = description
    parser.add_argument(
        "--memory",
        metavar="FILE_OR_URL",
        help="a file or postgresql://USER@HOST/NAME (default: the node's own, ovseg/memory.db in "
        "$XDG_DATA_HOME, else in ~/.local/share)",
    )
    for add in options:
        add(parser)
    parser.set_defaults(run=run)
    return parser


def _filters(parser: argparse.ArgumentParser, nargs: str = "*") -> None:
    parser.add_argument("words", nargs=nargs, metavar="WORDS", help='called so: "mug, red cup"')
    parser.add_argument("--since", metavar="TIME", help="last seen since: 20min, 2h, 3d, 2026-11-30T14:05")
    parser.add_argument("--until", metavar="TIME", help="last seen until, likewise")
    gone = parser.add_mutually_exclusive_group()
    gone.add_argument("--gone", action="store_true", default=None, help="only what was seen to be gone")
    gone.add_argument("--here", action="store_false", dest="gone", help="only what is not known to be gone")
    parser.add_argument("--robot", default="", metavar="NAME", help="seen first by this robot")
    parser.add_argument("--frame", default="", metavar="FRAME", help="placed in this frame")
    for name, text in (("--low", "from these metres on"), ("--high", "up to these metres")):
        parser.add_argument(name, nargs=3, type=float, metavar=("X", "Y", "Z"), help=f"the region {text}")


def _kind(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", metavar="WORDS", help='called a kind of this: "container, furniture"')


def _map(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--map", type=Path, metavar="FILE", help="draw a top view with pictures: .png")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, and nothing else")
