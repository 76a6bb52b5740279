"""The group `ovseg learn`: collecting pairs, finetuning CLIP, tuning mask prompts."""

from __future__ import annotations

from typing import Any

from ovseg_ros.app.learn import pairs as learn_pairs
from ovseg_ros.app.learn import train as learn_train


def add_parser(commands: Any) -> None:
    """Adds the group; `commands` is what argparse's `add_subparsers` gives."""
    learn = commands.add_parser(
        "learn",
        help="adapt CLIP to masks on own images",
        description="From images with captions to a mask-adapted CLIP: pairs, then finetune, then prompts.",
    )
    stages = learn.add_subparsers(title="what", required=True, metavar="WHAT")
    learn_pairs.add_parser(stages)
    learn_train.add_parser(stages)
