"""`ovseg bench`: what a frame costs the plain way and ours, stage by stage. See docs/speed.md."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ovseg_ros.app.bench_plan import CASES, Plan

_DEFAULT = Plan()


def add_parser(commands: Any) -> None:
    """Adds the command; `commands` is what argparse's `add_subparsers` gives."""
    parser = commands.add_parser(
        "bench",
        help="measure speed and memory, beside the plain way",
        description="Puts the same frames, masks and weights through the method as it was released and "
        "through ours, turn by turn in one run; prints tables; writes result.json, result.md and cost.png. "
        "Weights are random (what a forward pass costs does not depend on them) but in the case video. "
        "Figures that miss their target are marked, and are no error.",
    )
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"only these of {', '.join(CASES)} (default: all)"
    )
    parser.add_argument("--quick", action="store_true", help="tiny networks: only to see that it runs")
    parser.add_argument(
        "--model", default=_DEFAULT.model, help="open_clip's name of the CLIP (default: %(default)s)"
    )
    parser.add_argument(
        "--device",
        default=_DEFAULT.device,
        help="where the networks run: cpu, cuda, … (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=_DEFAULT.threads,
        help="threads of torch and OpenCV (default: %(default)s)",
    )
    parser.add_argument(
        "--masks",
        type=int,
        metavar="N",
        help=f"masks per frame in cold, query, labels, size (default: {_DEFAULT.masks})",
    )
    parser.add_argument(
        "--runs", type=int, metavar="N", help=f"at most N rounds per point (default: {_DEFAULT.runs})"
    )
    parser.add_argument(
        "--budget",
        type=float,
        metavar="S",
        help=f"at most S seconds per point (default: {_DEFAULT.budget_s:g})",
    )
    parser.add_argument(
        "--recording",
        default=str(_DEFAULT.recording),
        metavar="DIR",
        help="what the case video plays (default: %(default)s)",
    )
    parser.add_argument(
        "--preset", default=_DEFAULT.preset, help="who answers in the case video (default: %(default)s)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/bench"),
        metavar="DIR",
        help="where the results go (default: %(default)s)",
    )
    parser.add_argument(
        "--add", action="store_true", help="keep the cases of an earlier run that lie in the folder"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measures, prints and writes; 0 whatever the figures are."""
    from ovseg_ros.app.bench_run import bench

    bench(options, print_)
    return 0


def print_(text: str) -> None:
    """Prints at once, so that a pipe shows progress."""
    print(text, flush=True)
