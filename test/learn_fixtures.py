"""Made-up mask-category pairs and a tiny CLIP to train on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from clip_layout import TINY, random_clip
from safetensors.torch import save_file

from ovseg_ros.learn.pair_augment import Augment
from ovseg_ros.learn.pair_store import Pair, PairWriter
from ovseg_ros.learn.recipes import FinetuneRecipe
from ovseg_ros.models.clip import build_network

COLOURS = {"red mug": (200, 40, 40), "plate": (40, 200, 40), "teapot": (40, 40, 200), "book": (220, 210, 40)}
TINY_FINETUNE = FinetuneRecipe(
    epochs=6,
    batch=24,
    learning_rate=3e-3,
    warmup_steps=2,
    precision="fp32",
    held_out=0.2,
    workers=0,
    log_every=1,
    save_every=4,
    average=0.5,
    same_noun="positive",
    augment=Augment(flip=0.5, colour=0.5, edges=0.3, crop=(0.9, 1.0)),
)
"""Six short epochs that leave nothing to chance: single precision, no worker processes."""


def make_pair(noun: str, rng: np.random.Generator, image: str = "image") -> Pair:
    """An L of the noun's colour before noise, 20 to 60 pixels a side."""
    height, width = (int(side) for side in rng.integers(28, 60, 2))
    rgb = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
    mask = np.zeros((height, width), bool)
    y0, x0 = (int(v) for v in rng.integers(0, 6, 2))
    y1, x1 = height - int(rng.integers(0, 6)), width - int(rng.integers(0, 6))
    mask[y0:y1, x0 : x0 + (x1 - x0) // 2] = True
    mask[y0 : y0 + (y1 - y0) // 2, x0:x1] = True
    colour = np.array(COLOURS.get(noun, (128, 128, 128))) + rng.integers(-15, 16, 3)
    rgb[mask] = np.clip(colour + rng.integers(-8, 9, (int(mask.sum()), 3)), 0, 255)
    box = [x0, y0, x1, y1]
    meta = {"noun": noun, "image": image, "caption": f"A {noun}.", "score": 0.3, "box_xyxy": box}
    return Pair(noun, rgb, mask, meta)


def write_pairs(
    folder: Path, count: int, *, per_shard: int = 20, seed: int = 0, nouns: Sequence[str] = tuple(COLOURS)
) -> list[tuple[str, Pair]]:
    """A data set as `ovseg learn pairs` writes it, two pairs an image; returns (stem, pair) in order."""
    rng = np.random.default_rng(seed)
    pairs: dict[str, list[Pair]] = {}
    for i in range(count):
        image = f"image{seed}_{i // 2:04d}"
        pairs.setdefault(image, []).append(make_pair(nouns[int(rng.integers(len(nouns)))], rng, image))
    with PairWriter(folder, {}, pairs_per_shard=per_shard) as writer:
        for image, own in pairs.items():
            writer.add(image, own)
        writer.finish({})
    return [(f"{image}-{i}", pair) for image, own in pairs.items() for i, pair in enumerate(own)]


def write_clip_preset(
    folder: Path, *, vision: dict[str, Any] | None = None, untrained: bool = False, licence: str = ""
) -> Path:
    """A preset with depth clusters and a tiny random CLIP: 32 pixels, 16 patches.

    `vision` changes its image tower; `untrained` takes open_clip's own first values instead of made-up ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model = TINY.as_open_clip()
    model["vision_cfg"] |= vision or {}
    state = random_clip()
    if untrained:
        torch.manual_seed(0)
        state = build_network({**model, "quick_gelu": True}, "tiny").state_dict()
    metadata = {"activation": "quick_gelu"} | ({"licence": licence} if licence else {})
    save_file(state, folder / "clip.safetensors", metadata)
    preset = {
        "description": "a tiny CLIP",
        "proposer": {"kind": "depth_clusters"},
        "encoder": {"kind": "clip", "model": model, "weights": "clip.safetensors"},
        "options": {"templates": "single", "threshold": 0.0, "min_mask_pixels": 1},
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(preset))
    return path


def history(out: Path) -> list[dict]:
    """The records of a run, in order."""
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
