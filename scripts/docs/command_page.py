"""The page of the `ovseg` command, made from its own parsers."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from interface_pages import plain

from ovseg_ros.app import cli

_WIDTH = 96


def page() -> str:
    """Every command and option, in the order of `ovseg --help`."""
    parser = cli._parser()
    lines = ["# Command line", "", plain(parser.description or ""), "", plain(parser.epilog or ""), ""]
    return "\n".join([*lines, *_command(parser, 2)]) + "\n"


def commands_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The sub-commands of a parser, by name; empty where it has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    if level > 2:
        yield f"{'#' * (level - 1)} `{parser.prog}`\n"
        yield f"{_paragraphs(parser.description or '')}\n"
    yield f"```text\n{_usage(parser)}\n```\n"
    yield from _options(parser)
    if level > 2 and parser.epilog:
        yield f"\n{_paragraphs(parser.epilog)}\n"
    for child in commands_of(parser).values():
        yield from _command(child, level + 1)


def _usage(parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=_WIDTH)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    return formatter.format_help().strip()


def _paragraphs(text: str) -> str:
    """A description; Google sections and indented lines of a docstring stay as they are written."""
    if "\n" not in text.strip():
        return plain(text)
    return f"```text\n{text.strip()}\n```" if re.search(r"\n {2,}\S", text) else plain(text)


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table for each group of arguments that holds any."""
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help != argparse.SUPPRESS
            and not isinstance(action, argparse._SubParsersAction | argparse._HelpAction)
        ]
        if not actions:
            continue
        title = group.title or ""
        if title and title not in ("positional arguments", "options", "optional arguments"):
            yield f"**{title}**{': ' + plain(group.description) if group.description else ''}\n"
        yield "| argument | meaning |\n|---|---|"
        for action in actions:
            yield f"| {_name(action)} | {plain(_help(parser, action))} |"
        yield ""


def _name(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else " ".join(action.metavar or ())
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else ""
    value = "" if action.nargs == 0 else metavar or choices or action.dest.upper()
    if not action.option_strings:
        value = metavar or choices or action.dest
    text = ", ".join(action.option_strings)
    return "`" + " ".join(filter(None, (text, value))).replace("|", "\\|") + "`"


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = argparse.HelpFormatter(parser.prog)._expand_help(action) if action.help else ""
    if action.choices and action.metavar:
        text += f" One of {', '.join(map(str, action.choices))}."
    return " ".join(text.split())
