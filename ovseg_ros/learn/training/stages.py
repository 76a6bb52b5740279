"""The frame of both stages: read what training starts from, train, write a preset with the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.learn.training.learned_preset import Start, read_start
from ovseg_ros.learn.training.loop import Report, Trainer
from ovseg_ros.learn.training.recipes import save_recipe
from ovseg_ros.learn.training.task import Task


@dataclass(frozen=True)
class Stage:
    """What one stage has of its own.

    Attributes:
        name: its part of a recipe, "finetune" or "prompts".
        task: says what moves; given the start and the recipe.
        write: writes weights and preset to a folder, given start, recipe and what to note with the weights;
            returns the preset.
    """

    name: str
    task: Callable[[Start, Any], Task]
    write: Callable[[Path, Start, Any, Mapping[str, Any]], Path]


def run_stage(
    stage: Stage,
    pairs: Path,
    preset: str | Path,
    recipe: Any,
    out: Path,
    *,
    held_out: Path | None = None,
    device: str = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
    resume: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Trains on a data set of mask-category pairs and writes a preset with the result.

    Args:
        stage: which.
        pairs: data set, see docs/pairs.md.
        preset: what to start from, name or path; its encoder is `mini` or `clip`.
        recipe: the stage's, see `load_recipe`.
        out: folder for the weights, preset.yaml, recipe.yaml, history, checkpoints.
        held_out: data set to measure on; None takes a share of the images of `pairs`.
        device: "cpu" or "cuda".
        weights_dir: where weights are looked for first.
        offline: False lets the preset's weights be downloaded.
        resume: go on from the newest checkpoint in `out`, if there is one.
        report: gets each record of the history as it is made.

    Returns:
        The figures of `Trainer.run` and the "preset" that was written; {} in all processes but the first.

    Raises:
        InvalidInputError, ConfigError, WeightsError, TrainingError: see `Trainer` and `read_start`.
    """
    out = Path(out)
    start = read_start(preset, weights_dir=weights_dir, offline=offline)
    task = stage.task(start, recipe)
    trainer = Trainer(
        task, pairs, recipe, out, held_out=held_out, device=device, resume=resume, report=report
    )
    first = trainer.processes.is_first
    if first:
        save_recipe(out / "recipe.yaml", stage.name, recipe)
    figures = trainer.run()
    if first:
        notes = {"trained": stage.name, "from_preset": start.context.preset.stem, **figures}
        figures = {**figures, "preset": str(stage.write(out, start, recipe, notes))}
    trainer.close()
    return figures if first else {}
