"""`ovseg convert-checkpoint`: splits a released OVSeg file into the parts that presets name."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

NON_COMMERCIAL = """\
OVSeg's weights are licensed CC-BY-NC 4.0: NON-COMMERCIAL USE ONLY.
That goes for the files written here too, and for whatever is finetuned from them.
Licence: https://creativecommons.org/licenses/by-nc/4.0/"""


def add_parser(commands: Any) -> None:
    """Adds the subcommand; `commands` is what argparse's `add_subparsers` gives."""
    parser = commands.add_parser(
        "convert-checkpoint",
        help="split an OVSeg checkpoint into safetensors files",
        description="Splits a checkpoint of OVSeg (.pth, .pt) into proposals, CLIP, mask prompts and "
        "non-object row, as the presets ovseg and ovseg_sam want them. Nothing in the file is executed, and "
        "nothing is overwritten unless --force is given.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="FILE", help="as downloaded, under any name")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder for the parts (default: the name of FILE without its ending, in the cache folder)",
    )
    parser.add_argument("--force", action="store_true", help="overwrite files with other content")
    parser.add_argument(
        "--activation",
        choices=("auto", "gelu", "quick_gelu"),
        default="auto",
        help="of CLIP; only asked for where a file with CLIP alone does not tell (default: auto)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Converts, and says what was found and written.

    Returns:
        0.

    Raises:
        OvsegError: see `ovseg_ros.models.checkpoints.convert.convert_checkpoint`.
    """
    from ovseg_ros.models.checkpoints.convert import convert_checkpoint, read_metadata

    files = convert_checkpoint(
        options.checkpoint,
        options.out,
        force=options.force,
        activation=options.activation,
        report=lambda line: print(line, file=sys.stderr, flush=True),
        warn=lambda line: print(f"WARNING: {line}", file=sys.stderr, flush=True),
    )
    for file in files:
        said = read_metadata(file)
        megabytes = file.stat().st_size / 1e6
        print(f"{file}  {said['part']}, {said['architecture']}, {said['activation']}, {megabytes:.1f} MB")
    print(_framed(NON_COMMERCIAL), file=sys.stderr)
    return 0


def _framed(text: str) -> str:
    rule = "!" * 84
    return f"{rule}\n{textwrap.indent(text, '!! ')}\n{rule}"
