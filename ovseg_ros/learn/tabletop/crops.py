"""Masked crops of household objects, rendered with physics, as a data set of pairs to train `mini` on.

    python -m ovseg_ros.learn.tabletop.crops OUT_DIR --scenes 240 --seed 1 --cutouts EMOJI_DIR

What it writes is what `ovseg learn pairs` writes, so `ovseg learn finetune` and `prompts` take it. A scene is
one random set of objects and gives about 240 pairs, named with the objects' captions' words; pieces of table,
floor and wall go by `BACKGROUND_WORDS`, and cut-outs (`cutouts`) give breadth. A run that was stopped goes on
where it was; each scene has a seed of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ovseg_ros.learn.pairs.shards import Pair
from ovseg_ros.learn.tabletop.cutouts import load_pictures
from ovseg_ros.learn.tabletop.household import BY_KEY, OBJECTS, HouseholdObject
from ovseg_ros.learn.tabletop.made_pairs import MakePairs, copies_of, made_pair, write_pairs
from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop, View
from ovseg_ros.learn.tabletop.room import Surroundings
from ovseg_ros.learn.tabletop.words import BACKGROUND_WORDS, caption_name

MIN_PIXELS = 350  # of a 480x360 view
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
    """A random ellipse on table, floor or wall, (H, W) bool; None when an object is in the way."""
    h, w = view.instances.shape
    mask = np.zeros((h, w), np.uint8)
    axes = (int(rng.uniform(15, 90)), int(rng.uniform(15, 60)))
    cv2.ellipse(
        mask, (int(rng.uniform(0, w)), int(rng.uniform(0, h))), axes, rng.uniform(0, 180), 0, 360, 1, -1
    )
    region = (mask > 0) & (view.instances == 0)
    return region if region.sum() > MIN_PIXELS else None


def _pairs_of_view(
    view: View, things: list[HouseholdObject], image: str, rng: np.random.Generator
) -> Iterator[Pair]:
    counts = np.bincount(view.instances.ravel(), minlength=len(things) + 1)
    for i, thing in enumerate(things):
        if counts[i + 1] < MIN_PIXELS:
            continue
        mask = view.instances == i + 1
        at_edge = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
        if at_edge > 0.25 * np.sqrt(counts[i + 1]):  # cut off by the image's border
            continue
        yield made_pair(view.image_rgb, mask, caption_name(thing, rng), image)
    if rng.random() < 0.35 and (region := _background(view, rng)) is not None:
        yield made_pair(view.image_rgb, region, str(rng.choice(BACKGROUND_WORDS)), image)


def _glaze(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A teapot's colour: white, cream, grey or black as often as anything else."""
    if rng.random() < 0.5:
        grey = rng.choice([rng.uniform(0.75, 1.0), rng.uniform(0.05, 0.75)])
        rgb = np.clip(grey + rng.uniform(-0.06, 0.06, 3), 0, 1)
    else:
        rgb = rng.uniform(0.08, 0.95, 3)
    return float(rgb[0]), float(rgb[1]), float(rgb[2]), 1.0


def render(image: str, rng: np.random.Generator, scatters: int = 7, views: int = 5) -> Iterator[Pair]:
    """Yields pairs of one random set of objects: every scatter seen from several cameras and lamps.

    Args:
        image: what the pairs name as their image.
        rng: source of randomness.
        scatters: how often the objects are thrown on the table.
        views: cameras of each.
    """
    things = [OBJECTS[i] for i in rng.choice(len(OBJECTS), 11, replace=False)]
    things += [BY_KEY["teapot"]] * int(rng.integers(0, 5))
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
                yield from _pairs_of_view(scene.view(pose, depth=False), things, image, rng)
    finally:
        scene.close()


def write_crops(folder: Path, scenes: int, seed: int, cutouts: Path | None = None, copies: int = 11) -> None:
    """Renders a data set of pairs; what an earlier run of the same arguments left is kept.

    Args:
        folder: of the data set.
        scenes: random sets of objects.
        seed: of all randomness.
        cutouts: folder of emoji; None for no cut-outs.
        copies: pairs of each cut-out, turned otherwise in each.

    Raises:
        ConfigError: a folder that holds something else, or no cut-outs.
    """
    # words kept for measuring are in no name
    banned = {word for thing in OBJECTS for word in thing.synonyms}
    pictures = [] if cutouts is None else load_pictures(cutouts, banned=banned)
    made: dict[str, MakePairs] = {f"scene_{seed}_{n:04d}": render for n in range(scenes)}
    made |= {f"cutout_{n:04d}": partial(copies_of, picture, copies) for n, picture in enumerate(pictures)}
    write_pairs(folder, made, seed, source="renders and cut-outs" if pictures else "renders")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cutouts", type=Path, help="emoji, see ovseg_ros/learn/tabletop/cutouts.py")
    args = parser.parse_args()
    write_crops(args.folder, args.scenes, args.seed, args.cutouts)


if __name__ == "__main__":
    main()
