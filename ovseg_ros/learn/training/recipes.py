"""Recipes: every hyper-parameter of finetuning and of mask prompt tuning, in YAML.

    description: one line
    finetune: {epochs: 5, batch: 256, ...}      # the fields of FinetuneRecipe
    prompts: {depth: 3, learning_rate: 0.02}    # the fields of PromptsRecipe

Those in `ovseg_ros/learn/training/recipes` go by their name, others by their path. What is left out has the
default here; what is not known is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.models.template_sets import TEMPLATE_SETS
from ovseg_ros.models.yaml_files import check_keys, from_mapping, read_yaml, setting, yaml_file, yaml_names

RECIPES_FOLDER = Path(__file__).parent / "recipes"
STAGES = ("finetune", "prompts")
_CHOICES = {
    "same_noun": ("negative", "positive"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "schedule": ("cosine", "constant"),
    "templates": ("preset", *TEMPLATE_SETS),
}


@dataclass(frozen=True)
class Recipe:
    """What both stages have.

    Attributes:
        epochs: passes over the pairs.
        max_steps: ends earlier, and the schedule with it; None for whole epochs.
        batch: pairs in a step, over all processes together: every one is a negative of every other.
        learning_rate: peak.
        weight_decay: of matrices; biases, norms and the logit scale have none.
        betas: of AdamW.
        epsilon: of AdamW.
        warmup_steps: steps in which the learning rate rises; at most a tenth of all.
        schedule: "cosine" to 0, or "constant".
        clip_gradient_norm: largest norm of the gradient; 0 for no limit.
        precision: "auto" is bf16 where the processor or GPU computes in it, fp16 on other GPUs, else fp32.
        gradient_checkpointing: computes blocks twice to hold less.
        average: of an exponential moving average of the weights, which then is the result; 0 for none.
        same_noun: pairs with the noun of another in the batch are its "negative", as in the paper, or
            "positive": the target is shared among them.
        distance: weight of 1 − cosine to the own noun, beside the contrastive loss.
        templates: sentences nouns are put into: the preset's own, or a set by name.
        held_out: share of images that is only measured on, where no held-out data set is given.
        held_out_pairs: at most so many are measured on.
        shuffle_buffer: pairs move at most so far from their place in the order of the shards.
        workers: processes that load data, per training process.
        save_every: steps between checkpoints, beside those at the end of epochs.
        keep_checkpoints: so many stay.
        log_every: steps between records in history.jsonl and TensorBoard.
        seed: of all randomness.
        augment: see `Augment`; fields are written as augment.flip and so on for `--set`.
    """

    epochs: int = 5
    max_steps: int | None = None
    batch: int = 256
    learning_rate: float = 5e-6
    weight_decay: float = 0.2
    betas: tuple[float, float] = (0.9, 0.98)
    epsilon: float = 1e-6
    warmup_steps: int = 100
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_gradient_norm: float = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    gradient_checkpointing: bool = False
    average: float = 0.0
    same_noun: Literal["negative", "positive"] = "negative"
    distance: float = 0.0
    templates: str = "preset"
    held_out: float = 0.02
    held_out_pairs: int = 5000
    shuffle_buffer: int = 10_000
    workers: int = 2
    save_every: int = 500
    keep_checkpoints: int = 2
    log_every: int = 20
    seed: int = 0
    augment: Augment = field(default_factory=Augment)

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"expected {name} one of {', '.join(known)}, got {getattr(self, name)!r}")
        for name in ("epochs", "batch", "save_every", "keep_checkpoints", "log_every", "shuffle_buffer"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} >= 1, got {getattr(self, name)}")
        for name in ("warmup_steps", "workers", "held_out_pairs", "weight_decay", "distance", "seed"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"expected {name} >= 0, got {getattr(self, name)}")
        if self.max_steps is not None and (type(self.max_steps) is not int or self.max_steps < 1):
            raise ConfigError(f"expected max_steps >= 1 or null, got {self.max_steps!r}")
        if not self.learning_rate > 0 or not self.epsilon > 0 or not self.clip_gradient_norm >= 0:
            raise ConfigError("expected learning_rate > 0, epsilon > 0 and clip_gradient_norm >= 0")
        if not 0 <= self.average < 1 or not 0 <= self.held_out < 1:
            raise ConfigError(f"expected average and held_out in [0, 1), got {self.average}, {self.held_out}")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"expected two betas in [0, 1), got {self.betas}")


@dataclass(frozen=True)
class FinetuneRecipe(Recipe):
    """Finetuning the image tower on masked crops, text tower locked. Defaults: the paper's.

    Attributes:
        train_logit_scale: the factor of cosines is learned too.
        logit_scale: what it starts from; None for the model's own.
        max_logit_scale: it does not grow beyond.
    """

    train_logit_scale: bool = True
    logit_scale: float | None = None
    max_logit_scale: float = 100.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.logit_scale)
        if not self.max_logit_scale > 1:
            raise ConfigError(f"expected max_logit_scale > 1, got {self.max_logit_scale}")


@dataclass(frozen=True)
class PromptsRecipe(Recipe):
    """Mask prompt tuning, everything else frozen. Defaults: the paper's.

    Attributes:
        depth: background tokens are replaced before the first transformer block and after the next depth − 1.
        start: "fresh" random prompts, or the "preset"'s own.
        logit_scale: factor of cosines in the loss; None for the model's own.
    """

    learning_rate: float = 0.02
    weight_decay: float = 0.0
    depth: int = 3
    start: Literal["fresh", "preset"] = "fresh"
    logit_scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_scale(self.logit_scale)
        if self.depth < 1:
            raise ConfigError(f"expected depth >= 1, got {self.depth}")
        if self.start not in ("fresh", "preset"):
            raise ConfigError(f"expected start fresh or preset, got {self.start!r}")


_KINDS: Mapping[str, type[Recipe]] = {"finetune": FinetuneRecipe, "prompts": PromptsRecipe}


def list_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package, sorted."""
    return yaml_names(RECIPES_FOLDER)


def load_recipe(name_or_path: str | Path, stage: str, changes: Sequence[str] = ()) -> Any:
    """One stage of a recipe.

    Args:
        name_or_path: one of `list_recipes`, or a YAML file.
        stage: "finetune" or "prompts".
        changes: "key=value", the value in YAML; "augment.flip=0.5" for what is inside `augment`.

    Returns:
        A FinetuneRecipe or a PromptsRecipe.

    Raises:
        ConfigError: no such recipe; keys that are not known; values of another kind or out of range.
    """
    path = yaml_file(name_or_path, RECIPES_FOLDER, "a recipe")
    content = read_yaml(path)
    check_keys(path, "the recipe", content, {"description", *STAGES})
    values = content.get(stage)
    if values is None:
        raise ConfigError(
            f"{path}: expected a part {stage!r}, it has {', '.join(sorted(content)) or 'nothing'}"
        )
    return recipe_from(values, stage, changes, path)


def recipe_from(
    values: Mapping[str, Any], stage: str, changes: Sequence[str] = (), path: Path = Path("recipe")
) -> Any:
    """A recipe from a mapping; the rest as `load_recipe`. `path` is for messages."""
    kind = _KINDS[stage]
    check_keys(path, stage, values, {f.name for f in dataclasses.fields(kind)})
    flat = dict(values)
    augment = flat.pop("augment", None) or {}
    check_keys(path, "augment", augment, {f.name for f in dataclasses.fields(Augment)})
    inner = dict(augment)
    for change in changes:
        key, value = setting(change, "--set")
        if key.startswith("augment."):
            inner[key.removeprefix("augment.")] = value
        else:
            flat[key] = value
    if "augment" in flat:
        raise ConfigError("expected what is inside augment as augment.flip=0.5 and so on")
    flat["augment"] = from_mapping(path, Augment, inner)
    return from_mapping(path, kind, flat)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain values, as YAML and JSON hold them."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, tuple) else value

    return plain(dataclasses.asdict(recipe))


def save_recipe(path: Path, stage: str, recipe: Recipe) -> None:
    """Writes a recipe that `load_recipe` reads back."""
    text = yaml.safe_dump(
        {"description": f"what {path.parent.name} ran with", stage: recipe_values(recipe)}, sort_keys=False
    )
    path.write_text(text, encoding="utf-8")


def _check_scale(scale: float | None) -> None:
    if scale is not None and not (isinstance(scale, (int, float)) and scale > 0):
        raise ConfigError(f"expected logit_scale > 0 or null, got {scale!r}")
