"""Renders the scenes of the tabletop benchmark: household objects and figures on tables of two sets of rooms.

Training rooms and lamps are drawn as `crops` draws them; validation rooms have other textures, another kind
of lamp and other seeds. Needs MuJoCo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.learn.tabletop.crops import MIN_PIXELS, random_surroundings
from ovseg_ros.learn.tabletop.cutouts import Picture
from ovseg_ros.learn.tabletop.figures import Canvas, heights, stand
from ovseg_ros.learn.tabletop.household import BY_KEY, OBJECTS, HouseholdObject
from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop
from ovseg_ros.learn.tabletop.room import Surroundings
from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees
from ovseg_ros.learn.tabletop.words import caption_name, noun_of, training_objects

SIZE_HW = (360, 480)
VIEWS_PER_SCATTER = 4
_TABLES = ("ceramic.png", "meeka-beige-plaster.png", "new_light_gray_plaster.png",
           "dark_green_plaster_wall.png", "tile_grigia_caldera_porcelain_floor.png", "")  # fmt: skip
_FLOORS = ("gray_ceramic_tile.png", "marble_floor.png", "grigia_caldera_porcelain_floor.png")
_WALLS = (
    "dark_gray_plaster.png",
    "light_blue_wall.png",
    "smooth_light_gray_plaster.png",
    "dark_blue_wall.png",
)


@dataclass(frozen=True)
class Scene:
    """One image of the benchmark with its truth.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 as a sensor sees it, 0 where unknown.
        instances: (H, W) uint16, 0 = none; things of less than MIN_PIXELS are 0.
        nouns: instance value -> class or figure noun.
        spoken: instance value -> what the caption calls it.
        intrinsics: of both.
    """

    image_rgb: np.ndarray
    depth_m: np.ndarray
    instances: np.ndarray
    nouns: dict[int, str]
    spoken: dict[int, str]
    intrinsics: CameraIntrinsics


def training_scenes(
    pictures: Sequence[Picture], rng: np.random.Generator, scatters: int = 2
) -> Iterator[Scene]:
    """`scatters` x VIEWS_PER_SCATTER views of one random set of seen objects, figures anew in each view."""
    things = _choose(training_objects(), rng)
    yield from _scenes(things, random_surroundings(rng), None, pictures, rng, scatters)


def validation_scenes(
    pictures: Sequence[Picture], rng: np.random.Generator, scatters: int = 2
) -> Iterator[Scene]:
    """The same of all classes, in rooms that training does not have."""
    table = str(rng.choice(_TABLES))
    rgb = tuple(float(c) for c in rng.uniform(0.55, 1.0, 3))
    room = Surroundings(table, str(rng.choice(_FLOORS)), str(rng.choice(_WALLS)), (0.65, 0.65), rgb)
    turn = rng.uniform(0, 2 * np.pi)
    lamp = (float(0.8 * np.cos(turn)), float(0.8 * np.sin(turn)), float(rng.uniform(1.6, 2.0)))
    yield from _scenes(_choose(OBJECTS, rng), room, lamp, pictures, rng, scatters)


def _choose(objects: Sequence[HouseholdObject], rng: np.random.Generator) -> list[HouseholdObject]:
    """Six or seven classes with one object each, now and then two of one."""
    by_noun: dict[str, list[HouseholdObject]] = {}
    for thing in objects:
        by_noun.setdefault(noun_of(thing), []).append(thing)
    nouns = list(rng.choice(sorted(by_noun), int(rng.integers(6, 8)), replace=False))
    if rng.random() < 0.25:
        nouns.append(nouns[0])
    return [by_noun[noun][int(rng.integers(len(by_noun[noun])))] for noun in nouns]


def _scenes(
    things: list[HouseholdObject],
    room: Surroundings,
    lamp: tuple[float, float, float] | None,
    pictures: Sequence[Picture],
    rng: np.random.Generator,
    scatters: int,
) -> Iterator[Scene]:
    glaze = (*(float(c) for c in rng.uniform(0.15, 0.95, 3)), 1.0)
    tints = [glaze if thing is BY_KEY["teapot"] else None for thing in things]
    table = Tabletop(things, room, SIZE_HW, tints, samples=4 if rng.random() < 0.3 else 0, lamp_m=lamp)
    try:
        for _ in range(scatters):
            table.scatter(rng, upright=0.9, spread_m=rng.uniform(0.24, 0.38), gap_m=rng.uniform(0.0, 0.03))
            for _ in range(VIEWS_PER_SCATTER):
                if lamp is None:
                    table.light(rng)
                else:
                    table.model.vis.headlight.ambient[:] = rng.uniform(0.25, 0.45)
                yield _scene(table, things, pictures, rng)
    finally:
        table.close()


def _scene(
    table: Tabletop, things: list[HouseholdObject], pictures: Sequence[Picture], rng: np.random.Generator
) -> Scene:
    x, y = (float(c) for c in rng.uniform(-0.1, 0.1, 2))
    pose = CameraPose((x, y, 0.04), float(rng.uniform(0.6, 1.0)), float(rng.uniform(0, 360)),
                      -float(rng.uniform(20, 60)))  # fmt: skip
    view = table.view(pose)
    height = heights(view.depth_m, view.intrinsics.fy, 0.04, pose.distance_m, pose.elevation_deg)
    canvas = Canvas(
        view.image_rgb.copy(), view.depth_m.copy(), view.instances.copy(), height, view.intrinsics.fy
    )
    nouns = {i + 1: noun_of(thing) for i, thing in enumerate(things)}
    spoken = {i + 1: caption_name(thing, rng) for i, thing in enumerate(things)}
    for _ in range(int(rng.integers(2, 6))):
        picture = pictures[int(rng.integers(len(pictures)))]
        number = max(nouns) + 1
        if stand(canvas, picture, number, rng):
            nouns[number] = spoken[number] = picture.noun
    seen = np.bincount(canvas.instances.ravel(), minlength=max(nouns) + 1)
    small = [i for i in nouns if seen[i] < MIN_PIXELS]
    canvas.instances[np.isin(canvas.instances, small)] = 0
    depth = as_a_sensor_sees(canvas.depth_m, rng)
    kept = [i for i in nouns if i not in small]
    return Scene(canvas.image_rgb, depth, canvas.instances, {i: nouns[i] for i in kept},
                 {i: spoken[i] for i in kept}, view.intrinsics)  # fmt: skip
