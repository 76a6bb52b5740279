"""`ovseg evaluate masks`: average recall of a preset's masks, whatever they are called."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ovseg_ros.app.evaluate_commands import say, show_progress, tell_failed
from ovseg_ros.errors import ConfigError


def add_parser(subjects: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `masks` to `ovseg evaluate`; imports nothing heavy."""
    masks = subjects.add_parser(
        "masks",
        help="a preset's masks without names: average recall",
        description="Proposes masks on the pictures of a COCO instance file by a preset's generator alone, "
        "and scores them as COCO does, whatever the objects are called: AR@10, AR@100 and AR@1000, by size, "
        "and recall at IoU 0.5. Prints a table; with --out writes masks.json and masks.md too. Exits 1 where "
        "pictures could not be scored.",
    )
    masks.add_argument("json", type=Path, metavar="JSON", help="a COCO instance file (docs/benchmarks.md)")
    masks.add_argument(
        "--images", type=Path, metavar="DIR", help="where its pictures are (default: beside it)"
    )
    masks.add_argument("--preset", default="lite", help="name or YAML file (default: lite)")
    masks.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    masks.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    masks.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    masks.add_argument("--out", type=Path, metavar="DIR", help="where the results go")
    masks.add_argument(
        "--overlays", action="store_true", help="draw what was found and missed, in overlays/ of --out"
    )
    masks.set_defaults(run=_masks)


def _masks(options: argparse.Namespace) -> int:
    from ovseg_ros.evaluate.masks import read_instances, score_masks
    from ovseg_ros.evaluate.masks.overlays import write_overlays
    from ovseg_ros.evaluate.masks.reports import summary_line, table, write_masks
    from ovseg_ros.models.presets import load_proposer

    if options.overlays and options.out is None:
        raise ConfigError("expected --out DIR beside --overlays: it says where they go")
    dataset = read_instances(options.json, options.images)
    if options.limit is not None:
        dataset = dataset.take(options.limit)
    say(f"loading the masks of {options.preset}")
    proposer = load_proposer(options.preset, device=options.device, weights_dir=options.weights_dir)
    if proposer.needs_depth:
        raise ConfigError(
            f"the masks of {options.preset} need depth, which the pictures of a COCO file do not have; "
            "expected a preset that takes colour alone (ovseg presets --json lists needs_depth)"
        )
    scores = score_masks(dataset, proposer.propose, progress=show_progress("picture"))
    print(table(scores))
    print(summary_line(scores))
    if options.out is not None:
        write_masks(options.out, scores, _made_with(options, dataset.sha256, len(dataset)))
        if options.overlays:
            write_overlays(options.out / "overlays", dataset, scores, show_progress("overlay"))
        print(f"written to {options.out}")
    return tell_failed(scores.failed)


def _made_with(options: argparse.Namespace, sha256: str, pictures: int) -> dict[str, Any]:
    from ovseg_ros.evaluate.scores.provenance import made_with

    return made_with(preset=options.preset, weights_dir=options.weights_dir) | {
        "device": options.device,
        "data": {"name": options.json.name, "pictures": pictures, "sha256": sha256},
    }
