"""`ovseg evaluate tabletop`: the whole road from a plain CLIP to a mask-adapted one; docs/learning.md.

Per seed: pairs from the training captions, the tower finetuned on them, mask prompts tuned on the plain and
on the finetuned tower, and, as a control, the tower trained further on the same pairs without blanking
anything; each measured on the validation split. What is on disk is not done again, so a run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.files.whole import write_whole

MODELS = ("plain", "control", "prompts", "finetuned", "both")
LABELS = {
    "plain": "plain",
    "control": "trained further, not blanked",
    "prompts": "prompts only",
    "finetuned": "finetuned",
    "both": "finetuned, then prompts",
}
COLUMNS = {
    "miou": "mIoU",
    "miou_seen": "seen",
    "miou_unseen": "unseen",
    "miou_context": "mIoU not blanked",
    "masked": "top-1 blanked",
    "masked_seen": "seen",
    "masked_unseen": "unseen",
    "context": "top-1 not blanked",
}
CONTROL = ('augment.fills={"none": 1.0}',)
_MEASURED = "measured.json"


class Steps(Protocol):
    """What is done at each station; the tests have their own."""

    def pairs(self, preset: Path, out: Path) -> None:
        """Collects pairs from the training captions."""
        ...

    def train(
        self, stage: str, pairs: Path, preset: Path, out: Path, seed: int, changes: Sequence[str] = ()
    ) -> None:
        """Writes `out`/preset.yaml; `stage` is finetune or prompts, `changes` are to its recipe."""
        ...

    def measure(self, preset: Path) -> dict[str, Any]:
        """All of `COLUMNS` as shares, and "bars": variant of the bottleneck -> mIoU."""
        ...


def add_parser(subjects: Any) -> None:
    """Adds the subject to `ovseg evaluate`; imports nothing heavy."""
    parser = subjects.add_parser(
        "tabletop",
        help="from a plain CLIP to a mask-adapted one, measured on rendered tables",
        description="Collects pairs from the tabletop benchmark's captions, finetunes, tunes mask prompts "
        "and measures plain, prompts only, finetuned, finetuned then prompts, and a control that is trained "
        "further without blanking, for each seed. Writes tabletop.json, tabletop.md and bottleneck.png. "
        "What is done already is kept.",
    )
    parser.add_argument(
        "benchmark",
        type=Path,
        metavar="DIR",
        help="the rendered benchmark: what `python -m ovseg_ros.learn.tabletop.benchmark` wrote",
    )
    parser.add_argument(
        "--plain",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="weights of plain mini CLIPs, see docs/learning.md; seed N takes the N-th, or again the first "
        "ones where there are fewer",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="how many times to learn and measure (default: one per FILE)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="where everything goes")
    parser.add_argument(
        "--recipe",
        default="mini",
        metavar="R",
        help="hyper-parameters of both trainings, name or file (default: mini)",
    )
    for stage in ("finetune", "prompts"):
        parser.add_argument(
            f"--{stage}-set",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help=f"another value for one of them in `learn {stage}`; may be repeated",
        )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, steps: Steps | None = None) -> int:
    """Runs what is missing and writes the report.

    Args:
        options: from the parser `add_parser` makes.
        steps: stands in for the real stations.

    Returns:
        0.

    Raises:
        OvsegError: no benchmark, weights that cannot be read, or what a station raises.
    """
    if not (options.benchmark / "classes.txt").is_file():
        raise InvalidInputError(
            f"expected the tabletop benchmark, {options.benchmark / 'classes.txt'} is not there; run: "
            "python -m ovseg_ros.learn.tabletop.benchmark"
        )
    for file in options.plain:
        if not file.is_file():
            raise InvalidInputError(
                f"expected a plain CLIP, {file} is not there; docs/learning.md says how to train one"
            )
    if options.seeds is not None and options.seeds < 1:
        raise InvalidInputError(f"expected --seeds of at least 1, got {options.seeds}")
    done = steps or RealSteps(options)
    measured: list[dict[str, dict[str, Any]]] = []
    for n in range(len(options.plain) if options.seeds is None else options.seeds):
        weights = options.plain[n % len(options.plain)]
        measured.append(walk(options.out / f"seed{n}", weights, done, n))
        write_report(options.out, measured)
    print((options.out / "tabletop.md").read_text(encoding="utf-8"))
    return 0


def walk(folder: Path, weights: Path, steps: Steps, seed: int = 0) -> dict[str, dict[str, Any]]:
    """One seed's road; every station that left its result is passed by.

    Args:
        folder: of this seed.
        weights: the plain CLIP's.
        steps: what is done at the stations.
        seed: of the trainings.

    Returns:
        model of `MODELS` -> what was measured.
    """
    presets = {name: folder / name / "preset.yaml" for name in MODELS}
    if not presets["plain"].is_file():
        from ovseg_ros.learn.tabletop.untrained_mini import write_mini_preset

        what = "A plain mini CLIP that has never seen a blanked background"
        write_mini_preset(presets["plain"], weights, what)
    found: dict[str, dict[str, Any]] = {}

    def measure(name: str) -> None:
        file = folder / name / _MEASURED
        if not file.is_file():
            _say(f"{folder.name}: measuring {LABELS[name]}")
            write_whole(file, json.dumps(steps.measure(presets[name]), indent=1))
        found[name] = json.loads(file.read_text(encoding="utf-8"))

    def train(name: str, stage: str, start: str, changes: Sequence[str] = ()) -> None:
        if not presets[name].is_file():
            _say(f"{folder.name}: {LABELS[name]}: {stage} on {start}")
            steps.train(stage, folder / "pairs", presets[start], folder / name, seed, changes)
        measure(name)

    measure("plain")
    if not _whole(folder / "pairs"):
        _say(f"{folder.name}: collecting pairs")
        steps.pairs(presets["plain"], folder / "pairs")
    train("prompts", "prompts", "plain")
    train("finetuned", "finetune", "plain")
    train("both", "prompts", "finetuned")
    train("control", "finetune", "plain", CONTROL)
    return {name: found[name] for name in MODELS}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; the latter None for a single value."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def table(measured: Sequence[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Markdown: a row per model, percent, mean ± spread over seeds."""
    lines = [f"| | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name in MODELS:
        cells = [_cell([float(seed[name][key]) for seed in measured]) for key in COLUMNS]
        lines.append(f"| {LABELS[name]} | {' | '.join(cells)} |")
    return lines


def write_report(out: Path, measured: Sequence[Mapping[str, Mapping[str, Any]]]) -> None:
    """`tabletop.json`, `tabletop.md` and `bottleneck.png` of all seeds so far."""
    from ovseg_ros.evaluate.scores.charts import BLUE, GREEN, GREY, ORANGE, Bar, bar_chart
    from ovseg_ros.evaluate.scores.provenance import made_with

    bars = []
    colours = {"oracle masks": ORANGE, "oracle masks, not blanked": GREY, "oracle classes": GREEN}
    for name in MODELS:
        for variant in measured[0][name]["bars"]:
            same_for_all = variant == "oracle classes" and name != MODELS[-1]
            if same_for_all or variant == "clip, not blanked":
                continue
            mean, spread = mean_and_spread([float(seed[name]["bars"][variant]) for seed in measured])
            who = "any model" if variant == "oracle classes" else LABELS[name]
            bars.append(Bar(f"{who}: {variant}", mean, colours.get(variant, BLUE), spread))
    text = ["# Tabletop", "", f"{len(measured)} seed(s), percent.", "", *table(measured), ""]
    text += ["![bottleneck](bottleneck.png)", ""]
    write_whole(out / "tabletop.md", "\n".join(text))
    write_whole(
        out / "tabletop.json", json.dumps({"seeds": list(measured), "made_with": made_with()}, indent=1)
    )
    bar_chart(out / "bottleneck.png", "Tabletop: masks or classes?", bars)


@dataclass(frozen=True)
class RealSteps:
    """The stations as the command line has them."""

    options: argparse.Namespace

    def pairs(self, preset: Path, out: Path) -> None:
        """`ovseg learn pairs` on the training split.

        Raises:
            ConfigError: no pairs came of it.
        """
        from ovseg_ros.app.learn import pairs as learn_pairs

        folder = self.options.benchmark
        words = ["pairs", "--images", str(folder / "images" / "training"), "--out", str(out), "--resume"]
        words += ["--captions", str(folder / "captions_training.json")]
        words += ["--preset", str(preset), "--crop-size", "128"]
        if _parsed(learn_pairs.add_parser, words) not in (0, 1):
            raise ConfigError(f"no pairs came of {folder}; see what was left out above")

    def train(
        self, stage: str, pairs: Path, preset: Path, out: Path, seed: int, changes: Sequence[str] = ()
    ) -> None:
        """`ovseg learn finetune` or `prompts`."""
        from ovseg_ros.app.learn import train as learn_train

        asked = self.options.finetune_set if stage == "finetune" else self.options.prompts_set
        changes = [*asked, *changes, f"seed={seed}"]
        words = [stage, str(pairs), "--preset", str(preset), "--out", str(out), "--resume"]
        words += ["--recipe", self.options.recipe, "--device", self.options.device]
        _parsed(learn_train.add_parser, words + [word for change in changes for word in ("--set", change)])

    def measure(self, preset: Path) -> dict[str, Any]:
        """Mean IoU and the bottleneck's variants under the benchmarks' rules, and top-1 of the true masks."""
        from ovseg_ros.evaluate.datasets.dataset import open_dataset
        from ovseg_ros.evaluate.scores.bottleneck import CLIP, CLIP_CONTEXT, bottleneck
        from ovseg_ros.learn.tabletop.benchmark import Scenes, top1
        from ovseg_ros.models.presets import load_preset

        folder = self.options.benchmark
        dataset = open_dataset("folder", folder, "validation")
        segmenter = load_preset(str(preset), device=self.options.device)
        segmenter.options = replace(segmenter.options, fill="mean")  # the control's own is none
        results = bottleneck(segmenter, dataset, regions="instance")
        own = results[CLIP]
        figures = {"miou": own.miou, "miou_seen": own.seen_miou, "miou_unseen": own.unseen_miou}
        figures["miou_context"] = results[CLIP_CONTEXT].miou
        scenes = Scenes.load(folder, "validation")
        tops = top1(segmenter.clip, scenes, dataset.class_names, set(dataset.unseen))  # type: ignore[arg-type]
        return {**figures, **tops, "bars": {name: result.miou for name, result in results.items()}}


def _parsed(add: Callable[[Any], None], words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    add(parser.add_subparsers(required=True))
    options = parser.parse_args(list(words))
    return int(options.run(options))


def _whole(pairs: Path) -> bool:
    """True where pairs were collected to the end."""
    manifest = pairs / "manifest.json"
    return manifest.is_file() and bool(json.loads(manifest.read_text(encoding="utf-8")).get("complete"))


def _cell(values: Sequence[float]) -> str:
    mean, spread = mean_and_spread(values)
    return f"{100 * mean:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")


def _say(text: str) -> None:
    print(f"ovseg: {text}", file=sys.stderr, flush=True)
