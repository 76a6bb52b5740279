"""`ovseg teach`: gives a thing that is shown a name of its own; see docs/teaching.md."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.teach.shown import Shown, add_shown_options, shown_of
from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from ovseg_ros.app.teach.places import Place

DONE, NOTHING, FAILED = 0, 1, 2
MAX_NAME_BYTES = 128


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    parser = commands.add_parser(
        "teach",
        help='give a thing that is shown a name of its own: "my mug"',
        description="Shows a thing, and gives it a name of its own. From then on the name can be asked for "
        'as any other word: `ovseg ask "find my mug"`. Tells a running node with the parameter remember, '
        "or, with --memory, writes into a memory file and needs no ROS. Exits 0 if it is taught, 1 if the "
        "thing was not found in what was shown or there was nothing to forget, 2 if something cannot be "
        "used.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help='what it is to be called: "my mug"')
    parser.add_argument(
        "--add",
        action="store_true",
        help="one more example of a name that there is; without it that is an error",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="list the names, and how many examples each has")
    what.add_argument("--forget", action="store_true", help="forget all examples of NAME")
    add_shown_options(parser.add_argument_group("what is shown"), what)
    where = parser.add_argument_group("where it is kept")
    where.add_argument(
        "--memory",
        metavar="FILE_OR_URL",
        help="write into this memory, without a node; a file is made where there is none (default: a running "
        "node's own)",
    )
    where.add_argument("--preset", default="lite", help="with --memory: who will look for it (default: lite)")
    where.add_argument(
        "--device", default="auto", help="with --memory: where the networks run (default: auto)"
    )
    where.add_argument(
        "--weights-dir", type=Path, metavar="DIR", help="with --memory: look for weights here first"
    )
    where.add_argument(
        "--no-picture", action="store_true", help="with --memory: keep no picture of the thing beside it"
    )
    where.add_argument(
        "--node", default="/ovseg", metavar="NAME", help="the node's full name (default: /ovseg)"
    )
    parser.add_argument("--json", action="store_true", help="print all names as JSON, and nothing else")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Teaches, lists or forgets; the exit status as the parser's description says.

    Raises:
        OvsegError: what cannot be used, and the cure.
    """
    name = _name_of(options)
    shown = shown_of(options)
    if options.memory is None:
        from ovseg_ros.app.teach.node import Node as Kept
    else:
        from ovseg_ros.app.teach.memory import Memory as Kept  # type: ignore[assignment]
    with Kept(options) as place:
        if options.list:
            return _list(place, options)
        if options.forget:
            return _forget(place, name, options)
        return _teach(place, name, shown, options)


def _name_of(options: argparse.Namespace) -> str:
    """The name, "" where a list is wanted.

    Raises:
        ConfigError: there is none, one too many, or one that cannot be asked for.
    """
    name = (options.name or "").strip()
    if options.list:
        if options.name is not None:
            raise ConfigError(f"--list tells of all names: leave {options.name!r} out")
        return ""
    if not name or '"' in name or len(name.encode()) > MAX_NAME_BYTES:
        got = f"{len(name.encode())} bytes" if len(name.encode()) > MAX_NAME_BYTES else repr(name)
        raise ConfigError(
            f"expected a name of 1 to {MAX_NAME_BYTES} bytes without quotation marks, got {got}; as in "
            'ovseg teach "my mug" --image photo.png --box 210,130,60,70'
        )
    return name


def _teach(place: Place, name: str, shown: list[Shown], options: argparse.Namespace) -> int:
    there = spelled(name, place.names())
    if there is not None and not options.add:
        count = place.names()[there]
        raise InvalidInputError(
            f"the name {there!r} is taken: it has {counted(count)}; --add shows one more of the same "
            f'thing, ovseg teach "{there}" --forget takes them back'
        )
    refused = place.teach(there or name, shown)
    if refused:
        print(f"ovseg: {refused}", file=sys.stderr)
        return NOTHING
    _tell(place.names(), options, there or name)
    return DONE


def _list(place: Place, options: argparse.Namespace) -> int:
    names = place.names()
    if options.json:
        print(json.dumps(names, ensure_ascii=False))
    elif not names:
        print("no name was taught")
    for name, count in names.items() if not options.json else ():
        print(f"{name}: {counted(count)}")
    return DONE


def _forget(place: Place, name: str, options: argparse.Namespace) -> int:
    names = place.names()
    there = spelled(name, names)
    if there is None:
        known = f"; there is {', '.join(map(repr, names))}" if names else "; no name was taught"
        print(f"ovseg: nothing of {name!r} to forget{known}", file=sys.stderr)
        return NOTHING
    place.forget(there)
    if options.json:
        print(json.dumps(place.names(), ensure_ascii=False))
    else:
        print(f"{counted(names[there])} of {there!r} forgotten")
    return DONE


def _tell(names: Mapping[str, int], options: argparse.Namespace, name: str) -> None:
    if options.json:
        print(json.dumps(names, ensure_ascii=False))
        return
    there = spelled(name, names) or name
    print(f"{there!r} has {counted(names.get(there, 0))} now")


def spelled(name: str, names: Mapping[str, int]) -> str | None:
    """A name as it was taught, whichever case it is written in; None where it was not."""
    return next((one for one in names if one.casefold() == name.casefold()), None)


def counted(count: int) -> str:
    """A number of examples in words for people."""
    return f"{count} example{'s' * (count != 1)}"
