"""`ovseg bench`: what a frame costs, stage by stage, beside the method as released. See docs/speed.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError

CASES = ("cold", "query", "video", "colour", "colour_video")
_QUICK = {"masks": 4, "labels": 3, "size_hw": (48, 64), "rounds": 1, "frames": 2}


def add_parser(commands: Any) -> None:
    """Adds the command; `commands` is what argparse's `add_subparsers` gives."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory, beside the method as released",
        description="Puts the same frames, masks and weights through the method as it was released (the "
        "baseline) and through ours, interleaved in one run; prints tables; writes result.json and "
        "result.md. Weights are random (what a forward pass costs does not depend on them) in the cases cold "
        "and query.",
    )
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE", help=f"only these of {', '.join(CASES)} (default: all)")
    add("--quick", action="store_true", help="tiny networks and few frames: only to see that it runs")
    add("--device", default="cpu", help="cpu, cuda, … (default: %(default)s)")
    add("--threads", type=int, default=2, help="of torch and OpenCV (default: %(default)s)")
    add(
        "--rounds",
        type=int,
        default=3,
        help="of each case, one more before them not counted (default: %(default)s)",
    )
    add("--out", type=Path, default=Path("out/bench"), help="folder (default: %(default)s)")
    add = parser.add_argument_group("of cold and query").add_argument
    add("--model", default="ViT-B-16", help="of open_clip (default: %(default)s)")
    add("--masks", type=int, default=64, help="on the frame (default: %(default)s)")
    add("--labels", type=int, default=8, help="asked for, up to 255 (default: %(default)s)")
    add(
        "--size",
        dest="size_hw",
        type=_size_hw,
        default="640x480",
        metavar="WxH",
        help="of the frame (default: %(default)s)",
    )
    add = parser.add_argument_group(
        "of colour and colour_video, which have --size and --frames too"
    ).add_argument
    add("--colour-preset", default="lite", metavar="PRESET", help="name or YAML file (default: %(default)s)")
    add = parser.add_argument_group("of video").add_argument
    add(
        "--recording",
        type=Path,
        default=Path("demo/tabletop"),
        help="folder, or the word panorama: the photographs of colour_video (default: %(default)s)",
    )
    add("--preset", default="mini", help="name or YAML file (default: %(default)s)")
    add("--frames", type=int, metavar="N", help="only the first N (default: all)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints and writes.

    Raises:
        ConfigError: an unknown case, architecture or device, or a number out of range.
        InvalidInputError: a recording that cannot be read.
    """
    _check(options)
    import cv2
    import torch

    from ovseg_ros.app.bench.cases import cold, query, video
    from ovseg_ros.app.bench.colour import colour, colour_video
    from ovseg_ros.app.bench.report import report
    from ovseg_ros.app.bench.scene import TINY
    from ovseg_ros.evaluate.recordings.demo import write_json
    from ovseg_ros.evaluate.scores.provenance import made_with

    try:
        torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {options.device!r} cannot be used: {reason}") from error
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.quick:
        vars(options).update(_QUICK, model=TINY)
    measure = dict(zip(CASES, (cold, query, video, colour, colour_video), strict=True))
    began = os.getloadavg()[0]
    cases = {}
    for name in CASES:
        if name in options.cases or not options.cases:
            print(f"{name} …", file=sys.stderr, flush=True)
            cases[name] = measure[name](options)
    settings = {name: value for name, value in vars(options).items() if name not in ("run", "out", "cases")}
    settings |= {
        "recording": str(options.recording),
        "model": "a tiny CLIP" if options.quick else options.model,
    }
    load = [began, os.getloadavg()[0]]
    result = {"made_with": made_with(), "load": load, "settings": settings, "cases": cases}
    text = report(result)
    print(text)
    write_json(result, options.out / "result.json")
    (options.out / "result.md").write_text(text, encoding="utf-8")
    print(f"written: {options.out / 'result.json'}, {options.out / 'result.md'}")
    return 0


def _check(options: argparse.Namespace) -> None:
    from ovseg_ros.core.words import MAX_LABELS

    if unknown := [name for name in options.cases if name not in CASES]:
        raise ConfigError(f"expected cases of {', '.join(CASES)}, got {', '.join(unknown)}")
    for name in ("threads", "rounds", "masks", "labels", "frames"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"expected {name} at least 1, got {value}")
    if options.labels > MAX_LABELS:
        raise ConfigError(f"expected labels at most {MAX_LABELS}, got {options.labels}")


def _size_hw(text: str) -> tuple[int, int]:
    """640x480 -> (480, 640)."""
    try:
        width, height = (int(part) for part in text.split("x"))
    except ValueError:
        width = height = 0
    if min(width, height) < 1:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 640x480, got {text!r}")
    return height, width
