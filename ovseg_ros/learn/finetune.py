"""Finetunes CLIP's image tower on masked crops, text tower locked (OVSeg section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.learned_preset import Start, read_start, save_tower, write_preset
from ovseg_ros.learn.recipes import FinetuneRecipe, save_recipe
from ovseg_ros.learn.training import Report, Trainer
from ovseg_ros.learn.training_task import Task


def finetune(
    pairs: Path,
    preset: str | Path,
    recipe: FinetuneRecipe,
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

    The image tower sees crops whose background is filled, not the masks themselves. Mask prompts of the
    preset belong to its old tower and are left out: tune new ones on the result.

    Args:
        pairs: data set, see docs/pairs.md.
        preset: what to start from, name or path; its encoder is `mini` or `clip`.
        recipe: see `load_recipe`.
        out: folder for model.safetensors, preset.yaml, recipe.yaml, history, checkpoints.
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
    start = read_start(preset, weights_dir=weights_dir, offline=offline)
    task = tower_task(start, recipe)
    trainer = Trainer(
        task, pairs, recipe, out, held_out=held_out, device=device, resume=resume, report=report
    )
    if trainer.processes.is_first:
        save_recipe(Path(out) / "recipe.yaml", "finetune", recipe)
    figures = trainer.run()
    start.clip.logit_scale = math.exp(float(start.clip.clip_model.logit_scale.detach()))
    written = None
    if trainer.processes.is_first:
        written = _write(Path(out), start, recipe, figures)
    trainer.close()
    return {} if written is None else {**figures, "preset": str(written)}


def tower_task(start: Start, recipe: FinetuneRecipe) -> Task:
    """What finetuning moves: the whole image tower, and the logit scale where the recipe says so.

    Raises:
        ConfigError: gradient checkpointing on a tower that has none.
    """
    clip, model = start.clip, start.clip.clip_model
    clip.mask_prompts = None
    clip.requires_grad_(False)
    model.visual.requires_grad_(True)
    checkpoint_blocks(model, recipe.gradient_checkpointing)
    if recipe.logit_scale is not None:
        model.logit_scale.data.fill_(math.log(recipe.logit_scale))
    model.logit_scale.requires_grad_(recipe.train_logit_scale)
    buffers = tuple(f"clip_model.visual.{name}" for name, _ in model.visual.named_buffers())
    saved = clip.state_dict().keys()
    return Task(
        clip,
        {name: p for name, p in clip.named_parameters() if p.requires_grad},
        start.templates(recipe.templates),
        use_masks=False,
        buffers=tuple(name for name in buffers if name in saved),
        max_logit_scale=recipe.max_logit_scale,
    )


def checkpoint_blocks(model: Any, on: bool) -> None:
    """Switches gradient checkpointing of the image tower.

    Raises:
        ConfigError: it has none.
    """
    if hasattr(model.visual, "set_grad_checkpointing"):
        model.visual.set_grad_checkpointing(on)
    elif on:
        raise ConfigError(
            f"want gradient_checkpointing false for the tower {type(model.visual).__name__}, got true"
        )


def _write(out: Path, start: Start, recipe: FinetuneRecipe, figures: Mapping[str, Any]) -> Path:
    name = start.context.preset.stem
    notes = {"trained": "finetune", "from_preset": name, **figures}
    encoder = save_tower(out, start, notes)
    options: dict[str, Any] = {
        "fill": recipe.augment.fill,
        "expand_ratio": float(recipe.augment.expand_ratio),
    }
    if recipe.train_logit_scale or recipe.logit_scale is not None:
        options["logit_scale"] = None  # the model's own, which was trained
    return write_preset(out, start, encoder, "image tower finetuned on masked crops", **options)
