"""`ovseg download`: the weights of presets, fetched and verified, before a robot is without network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(commands: Any) -> None:
    """Adds the subcommand to the `ovseg` command's subparsers."""
    parser = commands.add_parser(
        "download",
        help="fetch and verify the weights of presets",
        description="Fetches the weights files of presets, resuming where an earlier download stopped, and "
        "verifies each. Says where to get those that no program can fetch. Exits 0 when all are there, else "
        "2.",
    )
    parser.add_argument("presets", nargs="*", metavar="PRESET", help="a name, or the path of a .yaml file")
    parser.add_argument(
        "--weights-dir",
        type=Path,
        metavar="DIR",
        help="keep the files here (default: ~/.cache/ovseg, or $XDG_CACHE_HOME/ovseg)",
    )
    parser.add_argument("--offline", action="store_true", help="use no network: only check what is there")
    parser.add_argument(
        "--list",
        action="store_true",
        help="print the table of files (of the presets, or all) and fetch nothing",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand.

    Returns:
        0: every file is there and verified (with --list: always). 2: one is not; said on stderr.

    Raises:
        ConfigError: no preset named, or one that is not known.
    """
    from ovseg_ros.app.weights.download_presets import fetch_presets

    weights_dir = None if options.weights_dir is None else options.weights_dir.expanduser()
    complete = fetch_presets(options.presets, weights_dir, offline=options.offline, list_only=options.list)
    return 0 if complete else 2
