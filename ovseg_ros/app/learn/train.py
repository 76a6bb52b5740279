"""`ovseg learn finetune` and `ovseg learn prompts`: training on mask-category pairs; see docs/training.md."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_STAGES = {
    "finetune": (
        "finetune CLIP's image tower on pairs, text tower locked",
        "Finetunes the image tower of a preset's encoder on mask-category pairs with a symmetric contrastive "
        "loss, text tower locked. Writes weights and a preset that `ovseg segment` takes.",
    ),
    "prompts": (
        "tune mask prompts on pairs, everything else frozen",
        "Learns the tokens that stand in for background patches, everything else frozen. Writes them and a "
        "preset that `ovseg segment` takes. Finetune first, then tune prompts on RUN/preset.yaml.",
    ),
}


def add_parser(commands: Any) -> None:
    """Adds both subcommands; `commands` is what argparse's `add_subparsers` gives."""
    for stage, (summary, description) in _STAGES.items():
        parser = commands.add_parser(stage, help=summary, description=description)
        parser.add_argument("pairs", type=Path, metavar="PAIRS_DIR", help="data set of `ovseg learn pairs`")
        parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder for the results")
        parser.add_argument(
            "--preset", default="mini", metavar="P", help="what to start from, name or file (default: mini)"
        )
        parser.add_argument(
            "--recipe", default="mini", metavar="R", help="hyper-parameters, name or file (default: mini)"
        )
        parser.add_argument(
            "--set",
            dest="changes",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="another value for one of them, such as epochs=2 or augment.flip=0; may be repeated",
        )
        parser.add_argument(
            "--held-out", type=Path, metavar="DIR", help="pairs to measure on (default: a share of PAIRS_DIR)"
        )
        parser.add_argument("--resume", action="store_true", help="go on with the run in RUN, if any")
        parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
        parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
        parser.set_defaults(run=run, stage=stage)


def run(options: argparse.Namespace) -> int:
    """Trains; progress goes to stderr, the last line of figures and the preset's path to stdout.

    Returns:
        0.

    Raises:
        OvsegError: see `ovseg_ros.learn.training.finetune` and `ovseg_ros.learn.training.tune_prompts`.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    from ovseg_ros.learn.training.recipes import load_recipe

    recipe = load_recipe(options.recipe, options.stage, options.changes)
    if options.stage == "finetune":
        from ovseg_ros.learn.training.finetune import finetune as train
    else:
        from ovseg_ros.learn.training.tune_prompts import tune_prompts as train
    figures = train(
        options.pairs,
        options.preset,
        recipe,
        options.out,
        held_out=options.held_out,
        device=options.device,
        weights_dir=options.weights_dir,
        resume=options.resume,
        report=show,
    )
    if figures:
        preset = figures.pop("preset")
        print(", ".join(f"{name} {value}" for name, value in figures.items()))
        print(preset)
    return 0


def show(record: Mapping[str, Any]) -> None:
    """One line on stderr for a record of the history, or a message."""
    if "message" in record:
        line = str(record["message"])
    else:
        line = f"step {record['step']}/{record['steps']}"
        formats = {
            "epoch": "epoch {}",
            "loss": "loss {:.4f}",
            "top1": "held out: top-1 {:.3f}",
            "cosine": "cosine {:.3f}",
            "learning_rate": "rate {:.2e}",
            "pairs_per_s": "{:.0f} pairs/s",
            "waiting": "waiting {:.1%}",
        }
        line += "".join(f", {text.format(record[key])}" for key, text in formats.items() if key in record)
        if record.get("skipped"):
            line += f", {record['skipped']} skipped"
    print(line, file=sys.stderr, flush=True)
