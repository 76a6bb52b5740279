"""What is trained, and how fast it moves: the parts of a run that are no loop."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from ovseg_ros.core.encoders import MaskPromptedClip
from ovseg_ros.errors import OvsegError
from ovseg_ros.learn.training.recipes import Recipe


class TrainingError(OvsegError):
    """A run that cannot go on, such as one whose loss is no longer a number; says what was saved."""


@dataclass
class Task:
    """What is trained.

    Attributes:
        clip: the encoder; only `parameters` require a gradient.
        parameters: what moves, by name.
        templates: sentences nouns are put into.
        use_masks: the encoder sees the masks (mask prompts).
        buffers: names of running statistics that move too.
        logit_scale: factor of cosines where the model's own is not trained.
        max_logit_scale: limit of the model's own where it is.
    """

    clip: MaskPromptedClip
    parameters: dict[str, nn.Parameter]
    templates: tuple[str, ...]
    use_masks: bool
    buffers: tuple[str, ...] = ()
    logit_scale: float | None = None
    max_logit_scale: float = 100.0

    def moving(self) -> dict[str, torch.Tensor]:
        """Parameters and running statistics that training changes, by name."""
        everything = dict(self.clip.named_buffers())
        return {**self.parameters, **{name: everything[name] for name in self.buffers}}


class Forward(nn.Module):
    """What is wrapped for several processes: (pixels, masks) -> embeddings and the factor of cosines."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.clip, self._use_masks, self._scale = task.clip, task.use_masks, task.logit_scale

    def forward(self, pixels: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        rows = self.clip.encode_regions(pixels, masks if self._use_masks else None)
        if self._scale is not None:
            return rows, torch.tensor(self._scale, device=rows.device)
        return rows, self.clip.clip_model.logit_scale.float().exp()


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """The learning rate of a step.

    Args:
        recipe: peak, warm-up and schedule.
        step: counted from 0.
        steps: of the whole run.
    """
    warmup = min(recipe.warmup_steps, steps // 10)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
