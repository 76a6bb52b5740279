"""`ovseg evaluate check | dataset | score | bottleneck | sweep`: segmentation data sets with ground truth."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.evaluate_presets import add_presets, by_name, refuse_failing
from ovseg_ros.app.many import add_ray, pace
from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset
    from ovseg_ros.evaluate.scores.run import Result

_KINDS = (
    "ade20k-150, ade20k-full-847, pascal-context-59, pascal-context-459, voc-20, voc-21, coco-stuff-171, or "
    "folder for one of your own (docs/datasets.md)"
)


def add_parsers(subjects: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subjects to `ovseg evaluate`; imports nothing heavy."""
    check = subjects.add_parser(
        "check",
        help="what a data set's folder lacks",
        description="Says what is missing in a data set's folder and draws the tree that is expected. Exits "
        "1 where something has to be put right.",
    )
    _add_place(check)
    check.add_argument("--all", action="store_true", help="read every file (default: ten, spread evenly)")
    check.set_defaults(run=_check)

    dataset = subjects.add_parser(
        "dataset",
        help="a preset on a data set: mIoU and its relatives",
        description="Segments every picture of a data set by the data set's words and writes result.json, "
        "result.md and classes.png. Exits 1 where pictures could not be scored.",
    )
    _add_data(dataset)
    _add_model(dataset, several=True)
    dataset.add_argument(
        "--resume", action="store_true", help="go on where an earlier run into DIR stopped; failed ones again"
    )
    add_ray(dataset)
    dataset.set_defaults(run=_dataset)

    score = subjects.add_parser(
        "score",
        help="predictions in files, without a model",
        description="Scores label images, or masks in COCO's JSON such as `ovseg segment` writes.",
    )
    _add_data(score)
    score.add_argument(
        "predictions", type=Path, metavar="PREDICTIONS", help="folder of NAME.png, or a .json file"
    )
    score.add_argument(
        "--first-id",
        type=int,
        metavar="N",
        help="number of the first class there; where it is 1, 0 means no prediction (default: 1 where the "
        "number K of K classes occurs, else 0)",
    )
    _add_out(score)
    score.set_defaults(run=_score)

    bottleneck = subjects.add_parser(
        "bottleneck",
        help="whether masks or classes are what is wrong",
        description="Puts the truth in place of the masks, then of the classes, blanks the background or "
        "not, and writes bottleneck.json, .md and a bar chart.",
    )
    _add_data(bottleneck)
    _add_model(bottleneck)
    bottleneck.add_argument(
        "--regions",
        default="class",
        help="what an oracle mask is: all of a class in the picture, or an instance (default: class)",
    )
    bottleneck.add_argument(
        "--masks",
        default="all",
        help="all: every variant; true: those with oracle masks, which need no proposals and none of their "
        "weights (default: all)",
    )
    bottleneck.set_defaults(run=_bottleneck)

    sweep = subjects.add_parser(
        "sweep",
        help="the score over an option",
        description="Measures at several values of an option, and writes sweep_OPTION.json, .md and .png.",
    )
    sweep.add_argument(
        "option", metavar="OPTION", help="clip_weight (λ), threshold, granularity or mask_threshold"
    )
    _add_data(sweep)
    _add_model(sweep)
    sweep.add_argument(
        "--values", metavar="V,V,…", help="the values (default: a grid over the option's range)"
    )
    sweep.set_defaults(run=_sweep)


def _add_data(parser: argparse.ArgumentParser) -> None:
    _add_place(parser)
    parser.add_argument("--classes", type=Path, metavar="FILE", help="other names, one class a line")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")


def _add_place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help=_KINDS)
    parser.add_argument("folder", type=Path, metavar="DIR", help="the data set's folder")
    parser.add_argument("--split", default="validation", help="validation or training (default: validation)")
    parser.add_argument("--layout", metavar="NAME", help="how it lies in the folder (default: found out)")


def _add_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Adds `--set KEY=VALUE`, which is read by `changed_options`."""
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another option of the segmenter, as in a preset (docs/modes.md); may be repeated",
    )


def _add_model(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    _add_out(parser)
    auto = "auto, the best that is here and that the device can carry"
    if several:
        add_presets(parser, auto)
    else:
        parser.add_argument("--preset", default="auto", help=f"name or YAML file (default: {auto})")
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    parser.add_argument(
        "--rules",
        default="benchmark",
        help="benchmark: every mask counts and no word competes but the classes; preset: threshold, "
        "background words and maps as the preset has them (default: benchmark)",
    )
    parser.add_argument(
        "--names",
        default="first",
        help="a class is its first name, or the average of all its names (default: first)",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="score the others where some pictures cannot be scored (default: nothing is started)",
    )
    add_settings(parser)


def _check(options: argparse.Namespace) -> int:
    from ovseg_ros.evaluate.datasets.check import check_dataset, expected_trees

    report = check_dataset(
        options.kind,
        options.folder,
        options.split,
        layout=options.layout,
        read_all=options.all,
        progress=show_progress("reading"),
    )
    for line in report.found:
        print(line)
    for line in report.problems:
        print(f"problem: {line}")
    if report.ok:
        print("everything that is needed is there")
        return 0
    print(f"\nexpected:\n{expected_trees(options.kind)}")
    return 1


def _dataset(options: argparse.Namespace, load: Callable[..., Any] | None = None) -> int:
    """Runs `ovseg evaluate dataset`; `load` stands in for `models.presets.load_preset`."""
    from ovseg_ros.app.evaluate_work import evaluated
    from ovseg_ros.evaluate.datasets import preflight
    from ovseg_ros.evaluate.scores.reports import write_comparison, write_dataset

    presets, dataset = by_name(options.preset or ["auto"]), _opened(options)
    if len(presets) == 1:
        options.preset = next(iter(presets.values()))
        result, made_with = evaluated(options, dataset, load)
        write_dataset(options.out, result, made_with)
        return _told(options.out, {"": result})
    refuse_failing(
        list(presets.values()),
        options.device,
        options.weights_dir,
        lambda preset: preflight.refuse_without_depth(dataset, preset),
    )
    results, made = {}, {}
    for called, preset in presets.items():
        one = argparse.Namespace(**{**vars(options), "preset": preset, "out": options.out / called})
        results[called], made[called] = evaluated(one, dataset, load)
        write_dataset(one.out, results[called], made[called])
    print(write_comparison(options.out, results, made))
    return _told(options.out, results)


def _score(options: argparse.Namespace) -> int:
    from ovseg_ros.evaluate.scores.predictions import score_predictions
    from ovseg_ros.evaluate.scores.provenance import made_with
    from ovseg_ros.evaluate.scores.reports import write_dataset

    dataset = _opened(options)
    result = score_predictions(
        dataset, options.predictions, first_id=options.first_id, progress=show_progress("picture")
    )
    write_dataset(options.out, result, made_with(dataset=dataset))
    return _told(options.out, {"": result})


def _bottleneck(options: argparse.Namespace) -> int:
    from ovseg_ros.app.evaluate_setup import measured
    from ovseg_ros.evaluate.scores.bottleneck import bottleneck, check_variants
    from ovseg_ros.evaluate.scores.reports import write_bottleneck

    dataset, own = _opened(options), {"regions": options.regions, "masks": options.masks}
    check_variants(dataset, **own)
    results, made_with = measured(options, dataset, bottleneck, true_masks=options.masks == "true", **own)
    write_bottleneck(options.out, results, made_with)
    return _told(options.out, results)


def _sweep(options: argparse.Namespace) -> int:
    from ovseg_ros.app.evaluate_setup import measured
    from ovseg_ros.evaluate.scores.reports import write_sweep
    from ovseg_ros.evaluate.scores.sweeps import DEFAULT_VALUES, sweep

    if options.option not in DEFAULT_VALUES:
        raise ConfigError(f"expected an option of {', '.join(DEFAULT_VALUES)}, got {options.option!r}")
    dataset = _opened(options)
    values = None
    if options.values is not None:
        try:
            values = [float(value) for value in options.values.split(",")]
        except ValueError as error:
            raise ConfigError(f"expected --values as numbers with commas, got {options.values!r}") from error
    results, made_with = measured(options, dataset, sweep, name=options.option, values=values)
    write_sweep(options.out, options.option, results, made_with)
    return _told(options.out, {f"{options.option} {value:g}": r for value, r in results.items()})


def _opened(options: argparse.Namespace) -> SegmentationDataset:
    from ovseg_ros.evaluate.datasets.dataset import open_dataset

    dataset = open_dataset(
        options.kind, options.folder, options.split, classes=options.classes, layout=options.layout
    )
    if options.limit is not None:
        if options.limit < 1:
            raise InvalidInputError(f"expected --limit at least 1, got {options.limit}")
        dataset = dataset.take(slice(options.limit))
    return dataset


def _told(out: Path, results: dict[str, Result]) -> int:
    """Prints what was measured; 1 where pictures could not be scored."""
    from ovseg_ros.evaluate.scores.reports import summary_line

    for name, result in results.items():
        print(f"{name}: {summary_line(result)}" if name else summary_line(result))
    print(f"written to {out}")
    for remark in dict.fromkeys(remark for result in results.values() for remark in result.remarks):
        say(remark)
    return tell_failed(list(dict.fromkeys(entry for result in results.values() for entry in result.failed)))


def tell_failed(failed: Sequence[tuple[str, str]]) -> int:
    """Names on stderr the pictures that could not be scored, (name, reason) each; 1 where there are any."""
    if not failed:
        return 0
    say(f"{len(failed)} pictures could not be scored:")
    for name, reason in failed[:20]:
        say(f"  {name}: {reason}")
    if len(failed) > 20:
        say(f"  and {len(failed) - 20} more, all of them in the results")
    return 1


def show_progress(what: str) -> Callable[[int, int], None]:
    """A line on stderr with the pace, which grows on a terminal; elsewhere one every hundredth picture."""
    start = time.monotonic()

    def show(done: int, total: int) -> None:
        said = f"{what} {done}/{total}, {pace(done, total, time.monotonic() - start)}"
        if sys.stderr.isatty():
            print(f"\r{said:<79}", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done % 100 == 0 or done == total:
            say(said)

    return show


def say(text: str) -> None:
    """A line on stderr, at once."""
    print(text, file=sys.stderr, flush=True)
