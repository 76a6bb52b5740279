"""Trains the bundled `mini` model: a small ViT put into the space of a locked text tower, then mask prompts.

    python -m ovseg_ros.learn.mini CROPS_DIR --cutouts EMOJI_DIR --out RUN_DIR

Order as in the paper (section 3.3): first the image tower learns masked crops, background filled with the
mean colour; then everything is frozen and only the tokens that replace blank patches are tuned. The loss
is a softmax over all classes' text embeddings plus the cosine distance to the own class's: the first tells
classes apart, the second keeps the image where synonyms of its words are. Text tower locked, AdamW,
cosine, bfloat16 autocast where the processor has it. A checkpoint is written every few minutes and the
run continues from it after a stop.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import queue
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.augment import plain_crop, reglaze, training_crop
from ovseg_ros.learn.cutouts import load_cutouts
from ovseg_ros.learn.household import OBJECTS
from ovseg_ros.learn.stored_crop import BACKGROUND
from ovseg_ros.models.mini import MiniConfig, build_mini_clip, save_mini

log = logging.getLogger("ovseg.learn.mini")
TEAPOT = next(i for i, thing in enumerate(OBJECTS) if thing.key == "teapot")
BACKGROUND_NAMES = ("background", "empty table top", "wall")


@dataclass(frozen=True)
class Recipe:
    """All that shapes a run.

    `samples` and `prompt_samples` count crops shown in each phase. `distance` weighs the cosine term, from
    the share `late_from` of the first phase on `late_distance`: classes are told apart first, then put where
    their words are, so that words nobody trained on find them.
    `cutout_share` is the share of cut-outs in a batch; `teapot_weight` shows the one object that may have any
    colour that much more often; `label_scale` starts the learned logit scale.
    """

    samples: int = 400_000
    prompt_samples: int = 30_000
    batch: int = 64
    learning_rate: float = 1e-3
    prompt_learning_rate: float = 5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 300
    distance: float = 1.0
    late_distance: float = 8.0
    late_from: float = 0.56
    cutout_share: float = 0.15
    teapot_weight: float = 3.0
    label_scale: float = 20.0
    prompt_depth: int = 1
    average: float = 0.998
    seed: int = 0
    config: MiniConfig = field(default_factory=lambda: MiniConfig(layers=6))


class CropStream:
    """Endless random batches from shards on disk and cut-outs in memory; shards that appear later join in.

    Classes are the objects in `OBJECTS` order, then background, then the cut-outs' names.
    """

    def __init__(
        self, folder: Path, cutouts: Path | None, recipe: Recipe, seeds: list[int] | None = None
    ) -> None:
        self.folder, self.recipe, self.seeds = folder, recipe, seeds
        self.names: list[tuple[str, ...]] = [thing.names for thing in OBJECTS] + [BACKGROUND_NAMES]
        banned = {word for thing in OBJECTS for word in thing.synonyms}
        self.cutouts = np.zeros((0,))
        if cutouts is not None:
            cut_names, self.cutouts = load_cutouts(cutouts, banned)
            self.names += [(name,) for name in cut_names]
        self.refresh()

    def refresh(self) -> None:
        """Looks for new shards."""
        files = sorted(self.folder.glob("crops_*.npy"))
        if self.seeds is not None:
            files = [f for f in files if int(f.stem.split("_")[1]) in self.seeds]
        if not files:
            raise ConfigError(
                f"no crops in {self.folder}; run: python -m ovseg_ros.learn.crops {self.folder}"
            )
        self.shards = [np.load(f, mmap_mode="r") for f in files]
        labels = [np.load(f.with_name(f.name.replace("crops", "labels"))) for f in files]
        self.labels = np.concatenate(labels).astype(np.int64)
        self.labels[self.labels == BACKGROUND] = len(OBJECTS)
        self.starts = np.cumsum([0] + [len(s) for s in self.shards])
        # rare things as often as common ones, half way
        counts = np.bincount(self.labels, minlength=len(OBJECTS) + 1).astype(float)
        weights = 1 / np.sqrt(counts[self.labels])
        weights[self.labels == TEAPOT] *= self.recipe.teapot_weight
        self.cumulative = np.cumsum(weights / weights.sum())

    def rendered(self, i: int) -> np.ndarray:
        """The i-th rendered crop, (S, S, 4) uint8."""
        shard = int(np.searchsorted(self.starts, i, side="right") - 1)
        return self.shards[shard][i - self.starts[shard]]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Pixels (B,3,S,S) float32, masks (B,1,S,S) uint8, labels (B,) int64."""
        pixels, masks, labels = [], [], []
        for _ in range(self.recipe.batch):
            if len(self.cutouts) and rng.random() < self.recipe.cutout_share:
                k = int(rng.integers(len(self.cutouts)))
                crop, label, turn = self.cutouts[k], len(OBJECTS) + 1 + k, 25.0
            else:
                i = min(int(np.searchsorted(self.cumulative, rng.random())), len(self.labels) - 1)
                crop, label, turn = self.rendered(i), int(self.labels[i]), 8.0
                if label == TEAPOT and rng.random() < 0.5:
                    crop = reglaze(crop, rng)
            p, m = training_crop(crop, size, rng, turn)
            pixels.append(p)
            masks.append(m)
            labels.append(label)
        return (
            torch.from_numpy(np.stack(pixels)).float(),
            torch.from_numpy(np.stack(masks)),
            torch.tensor(labels),
        )


class Prefetch:
    """Makes batches on a thread of its own, a few ahead."""

    def __init__(self, stream: CropStream, size: int, seed: int) -> None:
        self._queue: queue.Queue = queue.Queue(maxsize=6)
        self._args = (stream, size, np.random.default_rng(seed))
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        stream, size, rng = self._args
        n = 0
        while True:
            self._queue.put(stream.batch(rng, size))
            n += 1
            if n % 300 == 0:
                stream.refresh()

    def next(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The next batch; waits for it."""
        return self._queue.get()


def class_prototypes(clip: MaskPromptedClip, names: list[tuple[str, ...]]) -> torch.Tensor:
    """(C, D) unit rows: a class's own names averaged, the first (plain) name counted twice."""
    flat = sorted({name for group in names for name in group})
    rows = dict(zip(flat, clip.encode_text(flat, BARE_TEMPLATE), strict=True))
    means = [torch.stack([rows[n] for n in (group[0], *group)]).mean(0) for group in names]
    return F.normalize(torch.stack(means), dim=-1)


def loss_of(
    embedding: torch.Tensor,
    labels: torch.Tensor,
    prototypes: torch.Tensor,
    scale: torch.Tensor,
    distance: float,
) -> torch.Tensor:
    """Softmax cross-entropy over all prototypes + distance * (1 - cosine to the own one)."""
    cosines = embedding @ prototypes.T  # (B, C)
    own = cosines.gather(1, labels[:, None]).squeeze(1)
    return F.cross_entropy(scale * cosines, labels, label_smoothing=0.05) + distance * (1 - own).mean()


@torch.no_grad()
def held_out_accuracy(clip: MaskPromptedClip, stream: CropStream, limit: int = 2000) -> dict[str, float]:
    """Top-1 over the objects' plain nouns, and the mean cosine to the right one, on un-augmented crops."""
    nouns = sorted({thing.names[0] for thing in OBJECTS})
    text = clip.encode_text(nouns, BARE_TEMPLATE)
    truth = torch.tensor([nouns.index(thing.names[0]) for thing in OBJECTS])
    chosen = np.linspace(0, len(stream.labels) - 1, min(limit, len(stream.labels))).astype(int)
    chosen = chosen[stream.labels[chosen] < len(OBJECTS)]
    right = cosine = 0.0
    for part in np.array_split(chosen, max(1, len(chosen) // 100)):
        pairs = [plain_crop(stream.rendered(i), clip.size) for i in part]
        pixels = torch.from_numpy(np.stack([p for p, _ in pairs])).float()
        masks = torch.from_numpy(np.stack([m for _, m in pairs]))
        cosines = clip.encode_regions(pixels, masks) @ text.T
        target = truth[torch.from_numpy(stream.labels[part])]
        right += (cosines.argmax(1) == target).float().sum().item()
        cosine += cosines.gather(1, target[:, None]).sum().item()
    return {"top1": right / len(chosen), "cosine": cosine / len(chosen)}


def _learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, steps - warmup))))


class Trainer:
    """Runs one phase: steps of AdamW over `parameters`, an exponential average of them, checkpoints."""

    save_every_s = 240.0

    def __init__(
        self, clip: MaskPromptedClip, scale: nn.Parameter, prototypes: torch.Tensor, recipe: Recipe, out: Path
    ) -> None:
        self.clip, self.scale, self.prototypes, self.recipe, self.out = clip, scale, prototypes, recipe, out

    def run(self, phase: str, parameters: list[nn.Parameter], samples: int, peak: float, decay: float,
            batches: Prefetch, test: CropStream) -> None:  # fmt: skip
        """Trains `parameters` in place and leaves their average in them."""
        r = self.recipe
        steps = samples // r.batch
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=peak, betas=(0.9, 0.98))
        average = [p.detach().clone() for p in parameters]
        first = self._resume(phase, parameters, average, optimizer)
        began, saved, shown = time.monotonic(), time.monotonic(), 0
        use_masks = phase == "prompts"
        warmup = min(50 if use_masks else r.warmup_steps, steps // 10)
        for step in range(first, steps):
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(step, steps, peak, warmup)
            pixels, masks, labels = batches.next()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                embedding = self.clip.encode_regions(pixels, masks if use_masks else None)
            late = use_masks or step >= r.late_from * steps
            distance = r.late_distance if late else r.distance
            scale = self.scale.exp().clamp(max=60.0)
            loss = loss_of(embedding.float(), labels, self.prototypes, scale, distance)
            if not torch.isfinite(loss):
                raise ConfigError(f"the loss is {loss.item()} at step {step}; lower the learning rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            keep = min(r.average, (1 + step) / (10 + step))
            for a, p in zip(average, parameters, strict=True):
                a.lerp_(p.detach(), 1 - keep)
            shown += len(labels)
            if step % 50 == 0:
                speed = shown / (time.monotonic() - began)
                left = (steps - step) * r.batch / speed / 60
                log.info(
                    "%s %d/%d loss %.3f, %.0f crops/s, %.0f min left",
                    phase,
                    step,
                    steps,
                    loss.item(),
                    speed,
                    left,
                )
            if time.monotonic() - saved > self.save_every_s:
                saved = time.monotonic()
                self._save(phase, step + 1, parameters, average, optimizer)
                self._report(phase, step, parameters, average, test, use_masks)
        with torch.no_grad():
            for a, p in zip(average, parameters, strict=True):
                p.copy_(a)
        self._save(phase, steps, parameters, average, optimizer)
        self._report(phase, steps, parameters, average, test, use_masks)

    def _report(self, phase: str, step: int, parameters: list[nn.Parameter], average: list[torch.Tensor],
                test: CropStream, use_masks: bool) -> None:  # fmt: skip
        kept = [p.detach().clone() for p in parameters]
        prompts, scale = self.clip.mask_prompts, self.scale.exp().item()
        with torch.no_grad():
            for a, p in zip(average, parameters, strict=True):
                p.copy_(a)
        if not use_masks:
            self.clip.mask_prompts = None
        self.clip.eval()
        record = {"phase": phase, "step": step, "scale": scale, **held_out_accuracy(self.clip, test)}
        self.clip.train()
        self.clip.mask_prompts = prompts
        with torch.no_grad():
            for k, p in zip(kept, parameters, strict=True):
                p.copy_(k)
        log.info("held-out %s", record)
        with (self.out / "history.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")

    def _save(
        self, phase: str, step: int, parameters: list, average: list, optimizer: torch.optim.Optimizer
    ) -> None:
        state = {
            "step": step,
            "parameters": [p.detach() for p in parameters],
            "average": average,
            "optimizer": optimizer.state_dict(),
        }
        partial = self.out / f"{phase}.tmp"
        torch.save(state, partial)
        partial.rename(self.out / f"{phase}.pt")

    def _resume(self, phase: str, parameters: list, average: list, optimizer: torch.optim.Optimizer) -> int:
        file = self.out / f"{phase}.pt"
        if not file.exists():
            return 0
        state = torch.load(file, weights_only=True)
        with torch.no_grad():
            for p, a, saved, mean in zip(
                parameters, average, state["parameters"], state["average"], strict=True
            ):
                p.copy_(saved)
                a.copy_(mean)
        optimizer.load_state_dict(state["optimizer"])
        log.info("continuing %s at step %d", phase, state["step"])
        return int(state["step"])


def train(crops: Path, cutouts: Path | None, test_seed: int, out: Path, recipe: Recipe) -> Path:
    """Both phases; returns the weights file. Shards of `test_seed` are only measured on."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    seeds = sorted({int(f.stem.split("_")[1]) for f in crops.glob("crops_*.npy")} - {test_seed})
    stream, test = CropStream(crops, cutouts, recipe, seeds), CropStream(crops, None, recipe, [test_seed])
    model, tokenizer = build_mini_clip(recipe.config)
    clip = MaskPromptedClip(model, tokenizer, new_mask_prompts(model, recipe.prompt_depth))
    prototypes = class_prototypes(clip, stream.names)
    scale = model.logit_scale
    with torch.no_grad():
        scale.fill_(np.log(recipe.label_scale))
    model.train()
    trainer = Trainer(clip, scale, prototypes, recipe, out)
    batches = Prefetch(stream, recipe.config.image_size, recipe.seed)
    tower = [*model.visual.parameters(), scale]
    trainer.run("tower", tower, recipe.samples, recipe.learning_rate, recipe.weight_decay, batches, test)
    model.requires_grad_(False)
    assert clip.mask_prompts is not None
    trainer.run(
        "prompts", [clip.mask_prompts], recipe.prompt_samples, recipe.prompt_learning_rate, 0.0, batches, test
    )
    model.eval()
    figures = {
        "held_out": held_out_accuracy(clip, test, 10_000),
        "classes": len(stream.names),
        "crops": len(stream.labels),
    }
    save_mini(out / "mini.safetensors", model, clip.mask_prompts, recipe.config, figures)
    log.info("wrote %s: %s", out / "mini.safetensors", figures)
    return out / "mini.safetensors"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("crops", type=Path)
    parser.add_argument("--cutouts", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--test-seed", type=int, default=99, help="render seed that is measured on, never trained on"
    )
    parser.add_argument("--samples", type=int, default=Recipe.samples)
    parser.add_argument("--prompt-samples", type=int, default=Recipe.prompt_samples)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe(samples=args.samples, prompt_samples=args.prompt_samples)
    train(args.crops, args.cutouts, args.test_seed, args.out, recipe)


if __name__ == "__main__":
    main()
