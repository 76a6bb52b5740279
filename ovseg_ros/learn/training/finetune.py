"""Finetunes CLIP's image tower on masked crops, text tower locked (OVSeg section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.training.learned_preset import Start, save_tower, write_preset
from ovseg_ros.learn.training.recipes import FinetuneRecipe
from ovseg_ros.learn.training.stages import Stage, run_stage
from ovseg_ros.learn.training.task import Task


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
            f"expected gradient_checkpointing false for the tower {type(model.visual).__name__}, got true"
        )


def write_tower(out: Path, start: Start, recipe: FinetuneRecipe, notes: Mapping[str, Any]) -> Path:
    """Writes the trained tower and a preset with it; returns the preset."""
    start.clip.logit_scale = math.exp(float(start.clip.clip_model.logit_scale.detach()))
    encoder = save_tower(out, start, notes)
    options: dict[str, Any] = {
        "fill": recipe.augment.fill,
        "expand_ratio": float(recipe.augment.expand_ratio),
    }
    if recipe.train_logit_scale or recipe.logit_scale is not None:
        options["logit_scale"] = None  # the model's own, which was trained
    return write_preset(out, start, encoder, "image tower finetuned on masked crops", **options)


FINETUNE = Stage("finetune", tower_task, write_tower)


def finetune(
    pairs: Path, preset: str | Path, recipe: FinetuneRecipe, out: Path, **options: Any
) -> dict[str, Any]:
    """Finetunes the image tower; arguments, results and errors as `run_stage`.

    The image tower sees crops whose background is filled, not the masks themselves. Mask prompts of the
    preset belong to its old tower and are left out: tune new ones on the result. `out` gets
    model.safetensors.
    """
    return run_stage(FINETUNE, pairs, preset, recipe, out, **options)
