"""Mask prompt tuning: learns the tokens that stand in for background patches (OVSeg section 3.3).

Everything else is frozen, so the CLIP it is for stays what it was, and the result is a small file of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros.core.mask_clip import new_mask_prompts
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.finetune import checkpoint_blocks
from ovseg_ros.learn.learned_preset import Start, read_start, save_prompts, write_preset
from ovseg_ros.learn.recipes import PromptsRecipe, save_recipe
from ovseg_ros.learn.training import Report, Trainer
from ovseg_ros.learn.training_task import Task


def tune_prompts(
    pairs: Path,
    preset: str | Path,
    recipe: PromptsRecipe,
    out: Path,
    *,
    held_out: Path | None = None,
    device: str = "cpu",
    weights_dir: str | Path | None = None,
    offline: bool = True,
    resume: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Tunes mask prompts on a plain or a finetuned CLIP and writes a preset with them.

    Args:
        pairs: data set, see docs/pairs.md.
        preset: what to start from, name or path; its encoder is `mini` or `clip` with a ViT.
        recipe: see `load_recipe`.
        out: folder for prompts.safetensors, preset.yaml, recipe.yaml, history, checkpoints.
        held_out: data set to measure on; None takes a share of the images of `pairs`.
        device: "cpu" or "cuda".
        weights_dir: where weights are looked for first.
        offline: False lets the preset's weights be downloaded.
        resume: go on from the newest checkpoint in `out`, if there is one.
        report: gets each record of the history as it is made.

    Returns:
        As `finetune`.

    Raises:
        InvalidInputError, ConfigError, WeightsError, TrainingError: see `Trainer` and `read_start`.
    """
    start = read_start(preset, weights_dir=weights_dir, offline=offline)
    task = prompts_task(start, recipe)
    trainer = Trainer(
        task, pairs, recipe, out, held_out=held_out, device=device, resume=resume, report=report
    )
    if trainer.processes.is_first:
        save_recipe(Path(out) / "recipe.yaml", "prompts", recipe)
    figures = trainer.run()
    written = None
    if trainer.processes.is_first:
        name = start.context.preset.stem
        encoder = save_prompts(Path(out), start, {"trained": "prompts", "from_preset": name, **figures})
        written = write_preset(
            Path(out),
            start,
            encoder,
            f"mask prompts of depth {recipe.depth} tuned",
            mask_prompts=True,
            fill=recipe.augment.fill,
            expand_ratio=float(recipe.augment.expand_ratio),
        )
    trainer.close()
    return {} if written is None else {**figures, "preset": str(written)}


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
                f"want mask prompts of depth {recipe.depth} in preset {start.context.preset.stem} to start "
                f"from, got {got}; set start to fresh, or depth to what it has"
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
