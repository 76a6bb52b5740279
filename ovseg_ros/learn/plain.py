"""Trains a *plain* mini CLIP: it has seen unmasked crops and whole scenes, never a blanked background.

    python -m ovseg_ros.learn.plain BENCHMARK_DIR --out RUN_DIR --seed 0 --samples 80000

This is the starting point the paper speaks of: a CLIP that has never met a masked image. It learns on the
training scenes of the tabletop benchmark (`learn.tabletop_benchmark`): boxes around things with their real
surroundings, boxes with nothing in them, and whole scenes, against the words of what they show. Text tower
locked; soft-target cross-entropy over all training words plus the cosine distance. Held-out words are in no
image and no caption of that split. A checkpoint is written every two minutes; a stopped run goes on from it.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import queue
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.core.regions import crop_regions
from ovseg_ros.core.templates import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.augment import FILL_RGB, recolour
from ovseg_ros.models.mini import MiniConfig, build_mini_clip, save_mini

log = logging.getLogger("ovseg.learn.plain")

BACKGROUND_WORDS = ("background", "empty table top", "wall")
MIN_PIXELS = 200
_MEAN = np.array(FILL_RGB, np.float32)
_STD = np.array([68.5005327, 66.6321579, 70.32316305], np.float32)
_SAVE_EVERY_S = 120.0


@dataclass(frozen=True)
class PlainRecipe:
    """All that shapes a run.

    `samples` counts pictures shown; `scene_share` of them are whole scenes, `empty_share` boxes without
    things. A noun shown n times in the scenes is drawn n ** (1 - rarity) times as often as one shown once.
    `distance` weighs the cosine term, `average` is the decay of the exponential average that is kept.
    """

    samples: int = 100_000
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 200
    scene_share: float = 0.12
    empty_share: float = 0.08
    rarity: float = 0.0
    distance: float = 2.0
    label_scale: float = 20.0
    average: float = 0.998
    seed: int = 0
    config: MiniConfig = field(default_factory=lambda: MiniConfig(width=128, layers=6))


@dataclass(frozen=True)
class Scenes:
    """One split in memory: images (M, H, W, 3) uint8, instances (M, H, W) uint16, nouns per instance."""

    images: np.ndarray
    instances: np.ndarray
    things: tuple[dict[int, str], ...]

    @classmethod
    def load(cls, folder: Path, split: str) -> Scenes:
        """Reads a split of the benchmark.

        Raises:
            ConfigError: there is no such benchmark.
        """
        file = folder / f"things_{split}.json"
        if not file.is_file():
            raise ConfigError(
                f"want the tabletop benchmark in {folder}, {file.name} is not there; run: "
                "python -m ovseg_ros.learn.tabletop_benchmark"
            )
        records = json.loads(file.read_text(encoding="utf-8"))
        images, instances, things = [], [], []
        for name in sorted(records):
            bgr = cv2.imread(str(folder / "images" / split / f"{name}.jpg"))
            ids = cv2.imread(str(folder / "instances" / split / f"{name}.png"), cv2.IMREAD_UNCHANGED)
            if bgr is None or ids is None:
                raise ConfigError(f"{folder}: image or instances of {name} cannot be read; render it again")
            areas = np.bincount(ids.ravel(), minlength=1)
            shown = {int(i): noun for i, noun in records[name].items() if int(i) < len(areas)}
            images.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
            instances.append(ids)
            things.append({i: noun for i, noun in shown.items() if areas[i] >= MIN_PIXELS})
        return cls(np.stack(images), np.stack(instances), tuple(things))

    @property
    def nouns(self) -> tuple[str, ...]:
        """All nouns, sorted."""
        return tuple(sorted({noun for scene in self.things for noun in scene.values()}))


class PlainStream:
    """Endless random batches of unmasked pictures with soft targets over `names`."""

    def __init__(self, scenes: Scenes, recipe: PlainRecipe) -> None:
        self.scenes, self.recipe = scenes, recipe
        self.names = (*scenes.nouns, *BACKGROUND_WORDS)
        self._index = {name: i for i, name in enumerate(self.names)}
        self._things = [(m, i, noun) for m, scene in enumerate(scenes.things) for i, noun in scene.items()]
        self._boxes = [_box(scenes.instances[m] == i) for m, i, _ in self._things]
        counts: dict[str, int] = {}
        for _, _, noun in self._things:
            counts[noun] = counts.get(noun, 0) + 1
        weights = np.array([counts[noun] ** -recipe.rarity for _, _, noun in self._things])
        self._cumulative = np.cumsum(weights / weights.sum())

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Pixels (B,3,S,S) float32 CLIP-normalised and targets (B,C), rows summing to 1."""
        pixels, targets = [], []
        for _ in range(self.recipe.batch):
            kind = rng.random()
            if kind < self.recipe.scene_share:
                picture, words = self._scene(rng)
            elif kind < self.recipe.scene_share + self.recipe.empty_share:
                picture, words = self._empty(rng)
            else:
                picture, words = self._thing(rng)
            target = np.zeros(len(self.names), np.float32)
            for word in words:
                target[self._index[word]] += 1 / len(words)
            pixels.append(self._finish(picture, rng))
            targets.append(target)
        return torch.from_numpy(np.stack(pixels)), torch.from_numpy(np.stack(targets))

    def _thing(self, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
        at = min(int(np.searchsorted(self._cumulative, rng.random())), len(self._things) - 1)
        m, _, noun = self._things[at]
        left, top, right, bottom = self._boxes[at]
        grow = rng.uniform(0.0, 0.35, 4)
        h, w = bottom - top, right - left
        y0, y1 = int(top - grow[0] * h), int(bottom + grow[1] * h)
        x0, x1 = int(left - grow[2] * w), int(right + grow[3] * w)
        return self.scenes.images[m][max(y0, 0) : y1, max(x0, 0) : x1], [noun]

    def _scene(self, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
        m = int(rng.integers(len(self.scenes.images)))
        words = sorted(set(self.scenes.things[m].values())) or [BACKGROUND_WORDS[0]]
        return self.scenes.images[m], words

    def _empty(self, rng: np.random.Generator) -> tuple[np.ndarray, list[str]]:
        height, width = self.scenes.instances.shape[1:]
        for _ in range(20):
            m = int(rng.integers(len(self.scenes.images)))
            h, w = (int(rng.uniform(0.1, 0.45) * side) for side in (height, width))
            y, x = int(rng.integers(height - h)), int(rng.integers(width - w))
            box = (slice(y, y + h), slice(x, x + w))
            if (self.scenes.instances[m][box] > 0).mean() < 0.03:
                return self.scenes.images[m][box], list(BACKGROUND_WORDS)
        return self._scene(rng)

    def _finish(self, picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        side = self.recipe.config.image_size
        square = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        if rng.random() < 0.5:
            square = square[:, ::-1]
        return ((recolour(square, rng) - _MEAN) / _STD).transpose(2, 0, 1).astype(np.float32)


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a mask that is not empty, end exclusive."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


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


def train_plain(benchmark: Path, out: Path, recipe: PlainRecipe) -> Path:
    """Trains until `samples` were shown, measures, and returns the weights file `out/mini.safetensors`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    stream = PlainStream(Scenes.load(benchmark, "training"), recipe)
    model, tokenizer = build_mini_clip(recipe.config)
    clip = MaskPromptedClip(model, tokenizer)
    prototypes = clip.encode_text(stream.names, BARE_TEMPLATE)  # (C,D)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(recipe.label_scale))
    parameters = [*model.visual.parameters(), model.logit_scale]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98))
    average = [p.detach().clone() for p in parameters]
    steps = recipe.samples // recipe.batch
    first = _resume(out / "plain.pt", parameters, average, optimizer)
    batches = _Prefetch(stream, recipe.seed * 1_000_003 + first)
    began = saved = time.monotonic()
    model.train()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(step, steps, recipe)
        pixels, targets = batches.next()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rows = clip.encode_regions(pixels)
        cosines = rows.float() @ prototypes.T  # (B,C)
        scale = model.logit_scale.exp().clamp(max=60.0)
        loss = F.cross_entropy(scale * cosines, targets, label_smoothing=0.05)
        loss = loss + recipe.distance * (1 - (cosines * targets).sum(dim=1)).mean()
        if not torch.isfinite(loss):
            raise ConfigError(f"the loss is {loss.item()} at step {step}; lower the learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        keep = min(recipe.average, (1 + step) / (10 + step))
        for mean, parameter in zip(average, parameters, strict=True):
            mean.lerp_(parameter.detach(), 1 - keep)
        if step % 50 == 0:
            speed = (step - first + 1) * recipe.batch / (time.monotonic() - began)
            log.info("step %d/%d loss %.3f, %.0f pictures/s", step, steps, loss.item(), speed)
        if time.monotonic() - saved > _SAVE_EVERY_S:
            saved = time.monotonic()
            _save(out / "plain.pt", step + 1, parameters, average, optimizer)
    with torch.no_grad():
        for mean, parameter in zip(average, parameters, strict=True):
            parameter.copy_(mean)
    _save(out / "plain.pt", steps, parameters, average, optimizer)
    model.eval()
    return _finish(benchmark, out, recipe, clip, stream)


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


def _learning_rate(step: int, steps: int, recipe: PlainRecipe) -> float:
    warmup = max(1, min(recipe.warmup_steps, steps // 10))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _save(path: Path, step: int, parameters: list, average: list, optimizer: torch.optim.Optimizer) -> None:
    state = {
        "step": step,
        "parameters": [p.detach() for p in parameters],
        "average": average,
        "optimizer": optimizer.state_dict(),
    }
    partial = path.with_suffix(".tmp")
    torch.save(state, partial)
    partial.rename(path)


def _resume(path: Path, parameters: list, average: list, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for own, saved in ((parameters, state["parameters"]), (average, state["average"])):
            for parameter, value in zip(own, saved, strict=True):
                parameter.copy_(value)
    optimizer.load_state_dict(state["optimizer"])
    log.info("continuing at step %d", state["step"])
    return int(state["step"])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--samples", type=int, default=PlainRecipe.samples)
    parser.add_argument("--width", type=int, default=128, help="channels of the ViT")
    parser.add_argument("--rarity", type=float, default=PlainRecipe.rarity)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    config = MiniConfig(width=args.width, layers=6)
    recipe = PlainRecipe(samples=args.samples, seed=args.seed, rarity=args.rarity, config=config)
    train_plain(args.benchmark, args.out, recipe)


if __name__ == "__main__":
    main()
