"""Trains the colour mask network.

    python -m ovseg_ros.learn.colour.train real/train --out out/colour --seed 0
    python -m ovseg_ros.learn.colour.train real/train --out out/colour --seed 0 --resume

The folder holds COCO instance files beside their pictures. First pictures are composed, and the backbone's
maps of them kept in OUT/prepared, which several runs may share (`--prepared`); then the network is trained
on them.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.device import DTYPES, check_device
from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError
from ovseg_ros.learn.colour.compose import Composer
from ovseg_ros.learn.colour.pictures import read_pictures
from ovseg_ros.learn.colour.prepared import normalised, prepare, read_batch
from ovseg_ros.learn.colour.targets import losses_of
from ovseg_ros.models.bundled.colour_masks import save_colour_masks
from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.proposals.colour.network import ColourMaskNetwork

_SAVE_EVERY = 250  # steps


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes:
        steps: of the optimiser.
        learning_rate: of AdamW, after the warm-up; it falls to 0 as half a cosine.
        weight_decay: of AdamW.
        warm_up: steps.
        average: decay of the moving average of the weights, which is what is kept.
        clip: largest norm of the gradient.
        seed: of everything random.
    """

    steps: int = 4000
    learning_rate: float = 1e-3
    weight_decay: float = 0.03
    warm_up: int = 100
    average: float = 0.998
    clip: float = 5.0
    seed: int = 0

    def rate(self, step: int) -> float:
        """The learning rate at a step."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        done = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def train(
    files: Sequence[Path],
    recipe: Recipe,
    out: Path,
    *,
    device: str | torch.device = "cpu",
    resume: bool = False,
) -> ColourMaskNetwork:
    """Trains a network, with checkpoints in `out`.

    Args:
        files: prepared batches, see `prepare`; taken in another order in every epoch.
        recipe: see there.
        out: folder for `history.jsonl` and `checkpoint.pt`.
        device: of torch.
        resume: go on from the checkpoint in `out`.

    Returns:
        The average network, on `device`.

    Raises:
        ConfigError: `out` already holds a run and `resume` is False, or the checkpoint is of another recipe.
        InvalidInputError: no batches, or a damaged one.
    """
    if not files:
        raise InvalidInputError("expected at least one prepared batch, got none")
    where = torch.device(device)
    dtype = DTYPES[check_device("auto", where)]
    stored = torch.bfloat16 if dtype == torch.bfloat16 else torch.float32
    torch.manual_seed(recipe.seed)
    network = ColourMaskNetwork().to(where, memory_format=torch.channels_last)
    average = copy.deepcopy(network).requires_grad_(False)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=recipe.weight_decay)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.exists():
        if not resume:
            raise ConfigError(f"{out} already holds a run; --resume goes on with it, or name another folder")
        first = _restore(checkpoint, recipe, network, average, optimizer)
    rng = np.random.default_rng(recipe.seed)
    sums, begun = np.zeros(5), time.monotonic()
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        batch = read_batch(files[_order(len(files), step, recipe.seed)])
        # They are stored in bf16; a device without it, which computes outside autocast, wants float32.
        maps = [m.to(where, stored, memory_format=torch.channels_last) for m in batch.maps]
        with torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
            cells = network(maps, normalised(batch.pixels.to(where)))
        losses = [losses_of(c, t, rng) for c, t in zip(cells, batch.targets, strict=True)]
        answers = max(1, sum(loss.answers for loss in losses))
        parts = [sum(getattr(loss, part) for loss in losses) / answers for part in ("score", "mask", "box")]
        total = 4.0 * parts[0] + 2.0 * parts[1] + parts[2]
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimizer.step()
        follow = min(recipe.average, (step + 1) / (step + 10))
        with torch.no_grad():
            for kept, moved in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(moved, 1 - follow)
        iou = sum(loss.iou * loss.answers for loss in losses) / answers
        sums += [*(float(part.detach()) for part in parts), iou, answers / len(losses)]
        if (step + 1) % 50 == 0:
            _report(out, step + 1, recipe, sums / 50, time.monotonic() - begun)
            sums[:] = 0
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == recipe.steps:
            _save(checkpoint, recipe, step + 1, network, average, optimizer)
    return average


def _order(count: int, step: int, seed: int) -> int:
    """Which of `count` batches a step takes: all of them in each epoch."""
    epoch, place = divmod(step, count)
    return int(np.random.default_rng((seed, epoch)).permutation(count)[place])


def _report(out: Path, step: int, recipe: Recipe, means: np.ndarray, seconds: float) -> None:
    names = ("score", "mask", "box", "iou", "answers")
    record = {
        "step": step,
        "seconds": round(seconds, 1),
        **dict(zip(names, means.round(4).tolist(), strict=True)),
    }
    with (out / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    print(
        f"{step}/{recipe.steps}  " + "  ".join(f"{k} {v}" for k, v in record.items() if k != "step"),
        flush=True,
    )


def _save(path: Path, recipe: Recipe, step: int, network: Any, average: Any, optimizer: Any) -> None:
    state = {"recipe": asdict(recipe), "step": step, "network": network.state_dict()}
    state |= {"average": average.state_dict(), "optimizer": optimizer.state_dict()}
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.replace(path)


def _restore(path: Path, recipe: Recipe, network: Any, average: Any, optimizer: Any) -> int:
    state = torch.load(path, weights_only=True)
    if state["recipe"] != asdict(recipe):
        raise ConfigError(f"{path} was trained by another recipe: {state['recipe']}; name another folder")
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+", help="COCO instance files, or folders of them")
    parser.add_argument("--share", action="append", default=[], metavar="NAME=NUMBER", help="of one file")
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints and weights")
    parser.add_argument("--prepared", type=Path, help="folder for prepared batches; OUT/prepared by default")
    parser.add_argument("--batches", type=int, default=600, help="that are prepared, of 8 pictures")
    parser.add_argument("--from-batch", type=int, default=0, help="so that several processes can prepare")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="0 prepares only")
    parser.add_argument("--seed", type=int, default=0, help="of the network and the order")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="of torch and OpenCV")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
        cv2.setNumThreads(asked.threads)
    try:
        prepared = asked.prepared or asked.out / "prepared"
        _prepare(asked, prepared)
        if asked.steps:
            recipe = Recipe(steps=asked.steps, seed=asked.seed)
            files = sorted(prepared.glob("*.pt"))
            network = train(files, recipe, asked.out, device=asked.device, resume=asked.resume)
            print(f"written: {save_colour_masks(asked.out / 'colour_masks.safetensors', network)}")
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None


def _prepare(asked: argparse.Namespace, folder: Path) -> None:
    missing = [n for n in range(asked.from_batch, asked.batches) if not (folder / f"{n:06d}.pt").exists()]
    if not missing:
        return
    files = [
        file for path in asked.data for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])
    ]
    if not files:
        raise InvalidInputError(f"expected COCO instance files in {asked.data}, there are none")
    sets = [read_pictures(file) for file in files]
    print(
        "pictures: " + ", ".join(f"{f.stem} {len(s)}" for f, s in zip(files, sets, strict=True)), flush=True
    )
    given = _shares(asked.share, [file.stem for file in files])
    shares = [given.get(file.stem, float(len(s))) for file, s in zip(files, sets, strict=True)]
    backbone = load_classifier().to(asked.device)
    made = prepare(
        Composer(sets, shares),
        backbone,
        folder,
        range(missing[0], asked.batches),
        size=8,
        device=asked.device,
    )
    for number in made:
        if number % 20 == 0:
            print(f"prepared {number} of {asked.batches}", flush=True)


def _shares(given: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """What --share says; see `main`."""
    shares = {}
    for pair in given:
        name, _, number = pair.partition("=")
        try:
            shares[name] = float(number)
        except ValueError:
            raise ConfigError(f"expected --share NAME=NUMBER, got {pair!r}") from None
        if name not in names or not shares[name] > 0:
            raise ConfigError(f"expected --share of {', '.join(names)} with a number above 0, got {pair!r}")
    return shares


if __name__ == "__main__":
    main()
