"""Mask prompt tuning: learns the tokens that stand in for background patches (OVSeg section 3.3).

Everything else is frozen, so the CLIP it is for stays what it was, and the result is a small file of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros.core.encoders import new_mask_prompts
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.training.finetune import checkpoint_blocks
from ovseg_ros.learn.training.learned_preset import Start, save_prompts, write_preset
from ovseg_ros.learn.training.recipes import PromptsRecipe
from ovseg_ros.learn.training.stages import Stage, run_stage
from ovseg_ros.learn.training.task import Task


def prompts_task(start: Start, recipe: PromptsRecipe) -> Task:
    """What prompt tuning moves: the mask prompts, and nothing else.

    Raises:
        ConfigError: a tower that cannot take prompts, a depth it does not have, or no prompts to start from.
    """
    clip = start.clip
    if recipe.start == "preset":
        if clip.mask_prompts is None or len(clip.mask_prompts) != recipe.depth:
            got = "none" if clip.mask_prompts is None else f"depth {len(clip.mask_prompts)}"
            raise ConfigError(
                f"expected mask prompts of depth {recipe.depth} in preset {start.context.preset.stem} to "
                f"start from, got {got}; set start to fresh, or depth to what it has"
            )
    else:
        generator = torch.Generator().manual_seed(recipe.seed)
        clip.mask_prompts = nn.Parameter(new_mask_prompts(clip.clip_model, recipe.depth, generator=generator))
    clip.requires_grad_(False)
    clip.mask_prompts.requires_grad_(True)
    checkpoint_blocks(clip.clip_model, recipe.gradient_checkpointing)
    return Task(
        clip,
        {"mask_prompts": clip.mask_prompts},
        start.templates(recipe.templates),
        use_masks=True,
        logit_scale=clip.logit_scale if recipe.logit_scale is None else float(recipe.logit_scale),
    )


def write_prompts(out: Path, start: Start, recipe: PromptsRecipe, notes: Mapping[str, Any]) -> Path:
    """Writes the prompts and a preset with them; returns the preset."""
    return write_preset(
        out,
        start,
        save_prompts(out, start, notes),
        f"mask prompts of depth {recipe.depth} tuned",
        mask_prompts=True,
        fill=recipe.augment.fill,
        expand_ratio=float(recipe.augment.expand_ratio),
    )


PROMPTS = Stage("prompts", prompts_task, write_prompts)


def tune_prompts(
    pairs: Path, preset: str | Path, recipe: PromptsRecipe, out: Path, **options: Any
) -> dict[str, Any]:
    """Tunes mask prompts on a plain or a finetuned CLIP; arguments, results and errors as `run_stage`.

    The preset's encoder needs a ViT. `out` gets prompts.safetensors.
    """
    return run_stage(PROMPTS, pairs, preset, recipe, out, **options)
