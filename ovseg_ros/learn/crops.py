"""Masked crops of household objects, rendered with physics, as training data for the bundled `mini` model.

    python -m ovseg_ros.learn.crops OUT_DIR --crops 60000 --seed 1

Every shard is a pair `crops_<seed>_<n>.npy` (M, S, S, 4) uint8, laid out as `stored_crop` says, and
`labels_<seed>_<n>.npy` (M,) int16, an index into `household.OBJECTS` or BACKGROUND. Shards
are written whole (to a temporary name, then renamed): a run that was stopped continues with the next shard,
from that shard's own seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ovseg_ros.learn.household import BY_KEY, OBJECTS
from ovseg_ros.learn.stored_crop import BACKGROUND, cut
from ovseg_ros.learn.tabletop import CameraPose, Surroundings, Tabletop, View

SHARD = 2000
MIN_PIXELS = 350  # of a 480x360 view
_INDEX = {thing.key: i for i, thing in enumerate(OBJECTS)}
_TABLES = (
    "martin_novak_wood_table.png", "table_light_wood.png", "marble_floor.png", "dark_floor_texture.png",
    "seamless_wood_planks_floor.png", "rustic_floor.png", "cream-plaster.png", "kona_gotham.png",
    "brown_ceramic_tile.png", "gray_ceramic_tile.png", "white_marble_floor.png", "light_blue_wall.png", "",
)  # fmt: skip
_FLOORS = (
    "gray_floor.png",
    "light_floor.png",
    "dapper_gray_floor.png",
    "light-gray-floor-tile.png",
    "rustic_floor.png",
)
_WALLS = (
    "light_gray_plaster.png",
    "yellow_linen_wall_texture.png",
    "stucco_wall.png",
    "white_wall.png",
    "gray_plaster.png",
)


def random_surroundings(rng: np.random.Generator) -> Surroundings:
    """A table, floor and walls drawn at random."""
    table = str(rng.choice(_TABLES))
    rgb = tuple(rng.uniform(0.55, 1.0, 3)) if table else tuple(rng.uniform(0.15, 0.95, 3))
    return Surroundings(table, str(rng.choice(_FLOORS)), str(rng.choice(_WALLS)), table_rgb=rgb)


def _background(view: View, rng: np.random.Generator) -> np.ndarray | None:
    """A crop of table, floor or wall under a random ellipse; None when an object is in the way."""
    h, w = view.instances.shape
    mask = np.zeros((h, w), np.uint8)
    axes = (int(rng.uniform(15, 90)), int(rng.uniform(15, 60)))
    cv2.ellipse(
        mask, (int(rng.uniform(0, w)), int(rng.uniform(0, h))), axes, rng.uniform(0, 180), 0, 360, 1, -1
    )
    region = (mask > 0) & (view.instances == 0)
    return cut(view.image_rgb, region) if region.sum() > MIN_PIXELS else None


def _crops_of_view(
    view: View, labels: list[int], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, int]]:
    counts = np.bincount(view.instances.ravel(), minlength=len(labels) + 1)
    for i, label in enumerate(labels):
        if counts[i + 1] < MIN_PIXELS:
            continue
        mask = view.instances == i + 1
        at_edge = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
        if at_edge > 0.25 * np.sqrt(counts[i + 1]):  # cut off by the image's border
            continue
        yield cut(view.image_rgb, mask), label
    if rng.random() < 0.35 and (crop := _background(view, rng)) is not None:
        yield crop, BACKGROUND


def _glaze(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A teapot's colour: white, cream, grey or black as often as anything else."""
    if rng.random() < 0.5:
        grey = rng.choice([rng.uniform(0.75, 1.0), rng.uniform(0.05, 0.75)])
        rgb = np.clip(grey + rng.uniform(-0.06, 0.06, 3), 0, 1)
    else:
        rgb = rng.uniform(0.08, 0.95, 3)
    return float(rgb[0]), float(rgb[1]), float(rgb[2]), 1.0


def render(rng: np.random.Generator, scatters: int = 7, views: int = 5) -> Iterator[tuple[np.ndarray, int]]:
    """Yields crops of one random set of objects: every scatter seen from several cameras and lamps."""
    chosen = list(rng.choice(len(OBJECTS), 11, replace=False))
    chosen += [_INDEX["teapot"]] * int(rng.integers(0, 5))
    things = [OBJECTS[i] for i in chosen]
    tints = [_glaze(rng) if t is BY_KEY["teapot"] else None for t in things]
    samples = 4 if rng.random() < 0.3 else 0
    scene = Tabletop(things, random_surroundings(rng), (360, 480), tints, samples)
    try:
        for _ in range(scatters):
            scene.scatter(rng, upright=0.8, spread_m=rng.uniform(0.2, 0.38), gap_m=rng.uniform(-0.01, 0.02))
            for _ in range(views):
                scene.light(rng)
                x, y = rng.uniform(-0.15, 0.15, 2)
                pose = CameraPose(
                    (x, y, 0.04), rng.uniform(0.4, 0.95), rng.uniform(0, 360), -rng.uniform(12, 75)
                )
                yield from _crops_of_view(scene.view(pose, depth=False), [int(i) for i in chosen], rng)
    finally:
        scene.close()


def write_shards(folder: Path, crops: int, seed: int) -> None:
    """Renders until `crops` crops of this seed are on disk; whole shards already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in tqdm(range(-(-crops // SHARD)), desc=f"shards of seed {seed}"):
        target = folder / f"crops_{seed}_{n:03d}.npy"
        if target.exists():
            continue
        rng = np.random.default_rng([seed, n])
        pixels: list[np.ndarray] = []
        labels: list[int] = []
        while len(labels) < SHARD:
            for crop, label in render(rng):
                pixels.append(crop)
                labels.append(label)
        np.save(folder / f"labels_{seed}_{n:03d}.npy", np.array(labels[:SHARD], np.int16))
        partial = folder / f".crops_{seed}_{n:03d}.tmp.npy"
        np.save(partial, np.stack(pixels[:SHARD]))
        partial.rename(target)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crops", type=int, default=60000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    write_shards(args.folder, args.crops, args.seed)


if __name__ == "__main__":
    main()
