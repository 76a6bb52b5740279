"""`ovseg export`: a preset's networks as programs of another runtime, checked and kept."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError


def add_parser(commands: Any) -> None:
    """Adds the subcommand; `commands` is what argparse's `add_subparsers` gives."""
    parser = commands.add_parser(
        "export",
        help="make a preset's networks ready for OpenVINO, ONNX Runtime or TensorRT",
        description="Gives the image tower and the mask networks of a preset to another runtime, holds "
        "what comes out against torch, and keeps the programs in ~/.cache/ovseg/engines, so that the next "
        "start finds them. A preset whose options name the runtime does the same at its first start. "
        "Exits 1 where torch stays.",
    )
    parser.add_argument("preset", metavar="PRESET", help="a preset's name, or the path of its file")
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=("auto", "onnxruntime", "openvino", "tensorrt"),
        help="which (default: auto, which is OpenVINO on a CPU)",
    )
    parser.add_argument(
        "--size",
        nargs="+",
        default=["640x480"],
        metavar="WxH",
        help="of the camera's images, for mask networks that take any (default: 640x480)",
    )
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exports, and prints what runs by what and how it agrees.

    Returns:
        0: the runtime takes every network that it can be asked to take. 1: torch stays for one.

    Raises:
        OvsegError: see `load_preset`; or a size that is none.
    """
    sizes = [_size(text) for text in options.size]
    from ovseg_ros.models.engines import EngineFolder
    from ovseg_ros.models.presets import load_preset

    segmenter = load_preset(
        options.preset, device=options.device, weights_dir=options.weights_dir, runtime=options.runtime
    )
    encoder = segmenter.clip
    taken = [("image tower", getattr(encoder, "runtime", "torch"), getattr(encoder, "report", None))]
    for masks in _within(segmenter.proposer):
        for width, height in sizes:
            masks.prepare((height, width))
        programs = masks.programs
        for (*_, height, width), agreed in programs.reports.items():
            taken.append((f"{programs.what}, input of {width}x{height}", programs.runtime, agreed))
        if not programs.reports:  # none could be made
            taken.append((programs.what, programs.runtime, None))
    for what, runtime, report in taken:
        print(f"{what}: {runtime}" + ("" if report is None else f"; {report}"))
    print(f"kept in {EngineFolder().folder}", file=sys.stderr)
    return int(any(runtime == "torch" for _, runtime, _ in taken))


def _within(proposer: Any) -> Iterator[Any]:
    """The generators in one that have programs: itself, a union's members, where boxes or masks come from."""
    if hasattr(proposer, "programs"):
        yield proposer
    inner = (getattr(proposer, name, None) for name in ("boxes_from", "cutter"))
    for one in (*getattr(proposer, "members", ()), *inner):
        if one is not None:
            yield from _within(one)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise ConfigError(f"expected --size WxH, such as 1280x720, got {text!r}")
    return int(found[1]), int(found[2])
