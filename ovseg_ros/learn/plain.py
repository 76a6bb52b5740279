"""Trains a *plain* mini CLIP: it has seen unmasked crops and whole scenes, never a blanked background.

    python -m ovseg_ros.learn.plain BENCHMARK_DIR --crops CROPS_DIR --cutouts EMOJI_DIR --out RUN_DIR --seed 0

This is the starting point the paper speaks of: a CLIP that has met nearly every word, and never a masked
image. With `--crops` and `--cutouts` it learns the words of all things, also those that the benchmark's
captions hold out from the learning of masks; without them it sees the benchmark's training scenes alone, so
held-out words are new to it too. What it is shown is in `learn.plain_pictures`. Text tower locked;
soft-target cross-entropy over all words plus the cosine distance; Muon for the matrices of the blocks, AdamW
for the rest. `--start` goes on from the weights of another run. A checkpoint is written every two minutes; a
stopped run goes on from it.
"""

from __future__ import annotations

import argparse
import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.core.regions import crop_regions
from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.learn.augment import FILL_RGB, recolour
from ovseg_ros.learn.plain_pictures import BACKGROUND_WORDS, ScenePictures, Scenes, WebPictures, Words
from ovseg_ros.models.mini import MiniConfig, build_mini_clip, load_mini, mini_config, save_mini

_Optimizer = tuple[torch.optim.Optimizer, float]  # and its peak rate

log = logging.getLogger("ovseg.learn.plain")

_MEAN = np.array(FILL_RGB, np.float32)
_STD = np.array([68.5005327, 66.6321579, 70.32316305], np.float32)
_SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class PlainRecipe:
    """All that shapes a run.

    `samples` counts pictures shown. `scene_share` of them are whole scenes, `empty_share` boxes without
    things, and where there are web pictures `rendered_share` rendered crops and `pasted_share` cut-outs; the
    rest are boxes around the scenes' things. `learning_rate` is AdamW's, `matrix_rate` Muon's. `distance`
    weighs the cosine term, `average` is the decay of the exponential average that is kept.
    """

    samples: int = 100_000
    batch: int = 32
    learning_rate: float = 1e-3
    matrix_rate: float = 0.01
    weight_decay: float = 0.05
    warmup_steps: int = 200
    scene_share: float = 0.12
    empty_share: float = 0.08
    rendered_share: float = 0.45
    pasted_share: float = 0.25
    distance: float = 2.0
    label_scale: float = 20.0
    average: float = 0.998
    seed: int = 0
    config: MiniConfig = field(default_factory=lambda: MiniConfig(width=128, layers=6))


class PlainStream:
    """Endless random batches of unmasked pictures with soft targets over `names`."""

    def __init__(self, scenes: Scenes, recipe: PlainRecipe, web: tuple[Path, Path] | None = None) -> None:
        self.recipe = recipe
        own = ScenePictures(scenes)
        kinds: list[tuple[float, Callable[[np.random.Generator], tuple[np.ndarray, Words]]]] = [
            (recipe.scene_share, own.whole),
            (recipe.empty_share, own.empty),
        ]
        words = set(own.words)
        if web is not None:
            pictures = WebPictures(*web, own)
            kinds += [(recipe.rendered_share, pictures.rendered), (recipe.pasted_share, pictures.pasted)]
            words |= set(pictures.words)
        kinds.append((1 - sum(share for share, _ in kinds), own.thing))
        self._draw = [draw for _, draw in kinds]
        self._cumulative = np.cumsum([share for share, _ in kinds])
        self.names = (*sorted(words), *BACKGROUND_WORDS)
        self._index = {name: i for i, name in enumerate(self.names)}

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (B,3,S,S) float32 CLIP-normalised and targets (B,C), rows summing to 1."""
        pixels, targets = [], []
        for _ in range(self.recipe.batch):
            at = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._draw) - 1)
            picture, words = self._draw[at](rng)
            target = np.zeros(len(self.names), np.float32)
            for word, share in words.items():
                target[self._index[word]] += share
            pixels.append(_finish_picture(picture, self.recipe.config.image_size, rng))
            targets.append(target)
        return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(targets))


def _finish_picture(picture: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        square = square[:, ::-1]
    return ((recolour(square, rng) - _MEAN) / _STD).transpose(2, 0, 1).astype(np.float32)


@torch.no_grad()
def top1(
    clip: MaskPromptedClip, scenes: Scenes, names: tuple[str, ...], unseen: set[str]
) -> dict[str, float]:
    """Share of true masks whose class is the nearest of `names`, with the surroundings kept and blanked.

    Returns:
        "context" and "masked", each with "_seen" and "_unseen" beside the whole, in [0, 1].
    """
    text = clip.encode_text(names, BARE_TEMPLATE)
    hits: dict[str, list[bool]] = {}
    for image, instances, things in zip(scenes.images, scenes.instances, scenes.things, strict=True):
        known = [(i, noun) for i, noun in things.items() if noun in names]
        if not known:
            continue
        masks = torch.from_numpy(np.stack([instances == i for i, _ in known]))
        pixels = torch.from_numpy(image).permute(2, 0, 1)
        for view, fill in (("context", "none"), ("masked", "mean")):
            regions = crop_regions(pixels, masks, size=clip.size, fill=fill)  # type: ignore[arg-type]
            told = None if clip.mask_prompts is None or view == "context" else regions.masks
            best = (clip.encode_regions(regions.pixels, told) @ text.T).argmax(dim=1)
            for (_, noun), answer in zip(known, best.tolist(), strict=True):
                right = names[answer] == noun
                hits.setdefault(view, []).append(right)
                hits.setdefault(f"{view}_{'unseen' if noun in unseen else 'seen'}", []).append(right)
    return {key: sum(value) / len(value) for key, value in sorted(hits.items())}


class _Prefetch:
    """Makes batches on a thread of its own, a few ahead."""

    def __init__(self, stream: PlainStream, seed: int) -> None:
        self._queue: queue.Queue[tuple[torch.Tensor, torch.Tensor]] = queue.Queue(maxsize=6)
        rng = np.random.default_rng(seed)

        def run() -> None:
            while True:
                self._queue.put(stream.batch(rng))

        threading.Thread(target=run, daemon=True).start()

    def next(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._queue.get()


def train_plain(
    benchmark: Path,
    out: Path,
    recipe: PlainRecipe,
    web: tuple[Path, Path] | None = None,
    start: Path | None = None,
) -> Path:
    """Trains until `samples` were shown, measures, and returns the weights file `out/mini.safetensors`.

    Args:
        benchmark: folder of `learn.tabletop_benchmark`.
        out: folder for checkpoint and weights.
        recipe: how.
        web: folders of `learn.crops` and `learn.cutouts`; None for the benchmark's scenes alone.
        start: weights of an earlier run to start from; None: from nothing.

    Raises:
        ConfigError: a folder holds nothing to learn from, or the loss is no number.
        WeightsError: `start` cannot be read, or is of another shape.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    stream = PlainStream(Scenes.load(benchmark, "training"), recipe, web)
    clip = _new_clip(recipe) if start is None else _started(start, recipe.config)
    model = clip.clip_model
    prototypes = clip.encode_text(stream.names, BARE_TEMPLATE)  # (C,D)
    parameters = [*model.visual.parameters(), model.logit_scale]
    average = [p.detach().clone() for p in parameters]
    optimizers = _optimizers(model, recipe)
    steps = recipe.samples // recipe.batch
    first = _resume(out / "plain.pt", parameters, average, optimizers)
    batches = _Prefetch(stream, recipe.seed * 1_000_003 + first)
    began = saved = time.monotonic()
    shown: list[tuple[float, float]] = []  # loss and top-1 since the last record
    model.visual.train()
    for step in range(first, steps):
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * _schedule(step, steps, recipe)
        pixels, targets = batches.next()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows = clip.encode_regions(pixels)
        cosines = rows.float() @ prototypes.T  # (B,C)
        scale = model.logit_scale.exp().clamp(max=60.0)
        loss = F.cross_entropy(scale * cosines, targets, label_smoothing=0.05)
        loss = loss + recipe.distance * (1 - (cosines * targets).sum(dim=1)).mean()
        if not torch.isfinite(loss):
            raise ConfigError(f"the loss is {loss.item()} at step {step}; lower the learning rates")
        for optimizer, _ in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
        keep = min(recipe.average, (1 + step) / (10 + step))
        for mean, parameter in zip(average, parameters, strict=True):
            mean.lerp_(parameter.detach(), 1 - keep)
        right = (cosines.argmax(dim=1) == targets.argmax(dim=1)).float().mean().item()
        shown.append((loss.item(), right))
        if step % 50 == 0:
            speed = (step - first + 1) * recipe.batch / (time.monotonic() - began)
            told = np.mean(shown, axis=0)
            log.info("step %d/%d loss %.3f top-1 %.3f, %.0f pictures/s", step, steps, *told, speed)
            shown.clear()
        if time.monotonic() - saved > _SAVE_EVERY_S:
            saved = time.monotonic()
            _save(out / "plain.pt", step + 1, parameters, average, optimizers)
    with torch.no_grad():
        for mean, parameter in zip(average, parameters, strict=True):
            parameter.copy_(mean)
    _save(out / "plain.pt", steps, parameters, average, optimizers)
    model.eval()
    return _finish(benchmark, out, recipe, clip, stream)


def _new_clip(recipe: PlainRecipe) -> MaskPromptedClip:
    model, tokenizer = build_mini_clip(recipe.config)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(recipe.label_scale))
    return MaskPromptedClip(model, tokenizer)


def _started(start: Path, config: MiniConfig) -> MaskPromptedClip:
    clip = load_mini(start)
    if mini_config(clip.clip_model) != config:
        raise WeightsError(f"{start} is {mini_config(clip.clip_model)}, wanted is {config}")
    if clip.mask_prompts is not None:
        raise WeightsError(f"{start} has mask prompts: it is no plain CLIP")
    clip.clip_model.visual.requires_grad_(True)
    clip.clip_model.logit_scale.requires_grad_(True)
    return clip


def _optimizers(model: torch.nn.Module, recipe: PlainRecipe) -> list[_Optimizer]:
    """Each with its peak rate: Muon for the blocks' matrices, AdamW for all else."""
    matrices = [p for p in model.visual.transformer.parameters() if p.ndim == 2]
    ids = {id(p) for p in matrices}
    rest = [p for p in (*model.visual.parameters(), model.logit_scale) if id(p) not in ids]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
    muon = torch.optim.Muon(matrices, lr=recipe.matrix_rate, weight_decay=recipe.weight_decay)
    return [(adam, recipe.learning_rate), (muon, recipe.matrix_rate)]


def _finish(
    benchmark: Path, out: Path, recipe: PlainRecipe, clip: MaskPromptedClip, stream: PlainStream
) -> Path:
    names = tuple((benchmark / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1])
    unseen = set((benchmark / "unseen.txt").read_text(encoding="utf-8").split("\n")[:-1])
    figures = top1(clip, Scenes.load(benchmark, "validation"), names, unseen)
    notes = {"plain": True, "words": len(stream.names), "recipe": asdict(recipe), "validation_top1": figures}
    save_mini(out / "mini.safetensors", clip.clip_model, None, recipe.config, notes)
    log.info("wrote %s: %s", out / "mini.safetensors", figures)
    return out / "mini.safetensors"


def _schedule(step: int, steps: int, recipe: PlainRecipe) -> float:
    """Share of the peak rates: a warm-up, then a cosine to 0."""
    warmup = max(1, min(recipe.warmup_steps, steps // 10))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _save(path: Path, step: int, parameters: list, average: list, optimizers: list[_Optimizer]) -> None:
    state = {
        "step": step,
        "parameters": [p.detach() for p in parameters],
        "average": average,
        "optimizers": [optimizer.state_dict() for optimizer, _ in optimizers],
    }
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    partial.rename(path)


def _resume(path: Path, parameters: list, average: list, optimizers: list[_Optimizer]) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for own, saved in ((parameters, state["parameters"]), (average, state["average"])):
            for parameter, value in zip(own, saved, strict=True):
                parameter.copy_(value)
    for (optimizer, _), saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    log.info("continuing at step %d", state["step"])
    return int(state["step"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--crops", type=Path, help="of learn.crops; goes with --cutouts")
    parser.add_argument("--cutouts", type=Path, help="emoji, see ovseg_ros/learn/cutouts.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=PlainRecipe.samples)
    parser.add_argument("--batch", type=int, default=PlainRecipe.batch)
    parser.add_argument("--width", type=int, default=128, help="channels of the ViT")
    parser.add_argument("--start", type=Path, help="weights of an earlier run")
    args = parser.parse_args()
    if (args.crops is None) != (args.cutouts is None):
        parser.error("--crops and --cutouts go together")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = MiniConfig(width=args.width, layers=6)
    recipe = PlainRecipe(samples=args.samples, batch=args.batch, seed=args.seed, config=config)
    web = None if args.crops is None else (args.crops, args.cutouts)
    train_plain(args.benchmark, args.out, recipe, web, args.start)


if __name__ == "__main__":
    main()
