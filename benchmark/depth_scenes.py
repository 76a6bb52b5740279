"""Rendered tables with exact depth and true masks, as robots' cameras see them, for `depth_masks.py`.

Each frame is one .npz file: image_rgb, depth_m (exact), instances, surface, intrinsics, so that a depth
camera's faults are put in when a frame is read and one rendering serves all cameras. Rendering needs MuJoCo
and LIBERO's models (requirements/render.txt); reading needs neither.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.scores.match import instance_masks
from ovseg_ros.learn.tabletop.sensors import SENSORS, Surface

if TYPE_CHECKING:
    from ovseg_ros.learn.tabletop.household import HouseholdObject
    from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop, View
    from ovseg_ros.learn.tabletop.room import Surroundings

VIEWS_PER_BLOCK = 4
KINDS = ("table", "clutter", "down", "past_vertical", "small_table", "box")
LEAST_PIXELS = 300  # of a thing that is asked for
UNSAID = 65535  # in an instance map: a mask here is neither right nor wrong
_GLOSSY_NOUNS = ("teapot", "mug", "bowl", "moka", "bottle", "ramekin", "plate", "pan")
_DARK_KEYS = ("chefmate_8_frypan", "black_book", "black_bowl", "akita_black_bowl", "wine_bottle")
_GLOSSY_SHARE, _DARK_SHARE, _TRANSPARENT_SHARE, _MIRRORING_SHARE = 0.35, 0.6, 0.04, 0.2


@dataclass(frozen=True)
class Kind:
    """Ranges that a kind of view is drawn from: (least, most), metres and degrees below the horizon."""

    things: tuple[int, int] = (6, 9)
    spread_m: tuple[float, float] = (0.22, 0.36)
    gap_m: tuple[float, float] = (0.0, 0.03)
    distance_m: tuple[float, float] = (0.6, 1.1)
    below_deg: tuple[float, float] = (20, 60)
    table_half_m: tuple[float, float] = (0.5, 0.65)
    upright: float = 0.85
    box: bool = False


_RANGES = {
    "table": Kind(),
    "clutter": Kind(things=(9, 13), spread_m=(0.14, 0.22), gap_m=(-0.03, 0.0), upright=0.7),
    "down": Kind(distance_m=(0.7, 1.1), below_deg=(86, 94)),
    "past_vertical": Kind(distance_m=(0.6, 1.0), below_deg=(102, 130)),
    "small_table": Kind(things=(3, 5), spread_m=(0.1, 0.14), distance_m=(1.1, 1.7), below_deg=(18, 45),
                        table_half_m=(0.19, 0.27)),
    "box": Kind(things=(5, 7), spread_m=(0.3, 0.36), distance_m=(0.8, 1.2), box=True),
}  # fmt: skip


@dataclass(frozen=True)
class TrueFrame:
    """A frame with its true masks.

    Attributes:
        frame: as a camera sees it.
        things: (G, H, W) bool, the true masks.
        ignored: (H, W) bool, where the truth says nothing.
        kind: of view, or the source of a real frame.
        name: of its file.
    """

    frame: Frame
    things: np.ndarray
    ignored: np.ndarray
    kind: str
    name: str


def read_frames(folder: Path, sensor: str, frames: int | None = None) -> Iterator[TrueFrame]:
    """Rendered frames as one of `SENSORS` sees them; the same ones on every call.

    Raises:
        ConfigError: the folder holds none.
    """
    files = sorted(folder.glob("*.npz"))[:frames]
    if not files:
        raise ConfigError(f"no rendered frame in {folder}; python benchmark/depth_masks.py render")
    for index, file in enumerate(files):
        with np.load(file) as saved:
            fx, fy, cx, cy = (float(value) for value in saved["intrinsics"])
            image, instances = saved["image_rgb"], saved["instances"]
            depth = SENSORS[sensor](saved["depth_m"], fx, np.random.default_rng([7, index]), saved["surface"])
        height, width = depth.shape
        intrinsics = CameraIntrinsics(fx, fy, cx, cy, width, height)
        asked = [i for i in np.unique(instances).tolist() if i not in (0, UNSAID)]
        things = instance_masks(instances, asked)
        yield TrueFrame(
            Frame(image, depth, intrinsics), things, instances == UNSAID, file.stem.split("-")[1], file.stem
        )


def render_frames(folder: Path, frames: int, seed: int = 0) -> None:
    """Renders what is missing of so many frames, kinds in turn; a run that was stopped goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    for block in tqdm(range(-(-frames // VIEWS_PER_BLOCK)), desc="blocks of views"):
        kind = KINDS[block % len(KINDS)]
        names = [f"{block:03d}{n}-{kind}.npz" for n in range(VIEWS_PER_BLOCK)]
        if all((folder / name).exists() for name in names):
            continue
        for name, arrays in zip(names, _block(kind, np.random.default_rng([seed, block])), strict=True):
            np.savez_compressed(folder / name, **arrays)


def _block(kind: str, rng: np.random.Generator) -> Iterator[dict[str, np.ndarray]]:
    """`VIEWS_PER_BLOCK` frames of one set of things, thrown anew for every second one."""
    from ovseg_ros.learn.tabletop.household import OBJECTS
    from ovseg_ros.learn.tabletop.render import Tabletop

    ranges = _RANGES[kind]
    count = int(rng.integers(ranges.things[0], ranges.things[1] + 1))
    things = [OBJECTS[int(k)] for k in rng.choice(len(OBJECTS), count, replace=False)]
    with tempfile.TemporaryDirectory() as scratch:
        if ranges.box:
            things.append(_carton(Path(scratch), rng))
        table = Tabletop(things, _surroundings(ranges, rng), samples=4, lamp_m=(0.5, -0.4, 1.8))
        materials = [_material(thing, rng) for thing in things]
        ground = Surface.MIRRORING if rng.random() < _MIRRORING_SHARE else Surface.MATT
        try:
            for n in range(VIEWS_PER_BLOCK):
                if n % 2 == 0:
                    fallen = _scatter(table, ranges, rng)
                view = table.view(_pose(ranges, rng))
                yield _arrays(view, np.array([ground, *materials], np.uint8), fallen)
        finally:
            table.close()


def _surroundings(ranges: Kind, rng: np.random.Generator) -> Surroundings:
    """A room of training's textures around a table of this kind's size."""
    from ovseg_ros.learn.tabletop.crops import random_surroundings
    from ovseg_ros.learn.tabletop.room import Surroundings

    room = random_surroundings(rng)
    half = (float(rng.uniform(*ranges.table_half_m)), float(rng.uniform(*ranges.table_half_m)))
    return Surroundings(room.table, room.floor, room.wall, half, room.table_rgb)


def _scatter(table: Tabletop, ranges: Kind, rng: np.random.Generator, tries: int = 6) -> np.ndarray:
    """Throws the things on the table; gives (K,) which fell off it in the best of some tries, the last."""
    for _ in range(tries):
        table.scatter(rng, ranges.upright, rng.uniform(*ranges.spread_m), rng.uniform(*ranges.gap_m))
        heights = np.array([table.data.joint(f"thing{i}_free").qpos[2] for i in range(len(table.things))])
        if not (heights < -0.1).any():
            break
    return heights < -0.1


def _pose(ranges: Kind, rng: np.random.Generator) -> CameraPose:
    from ovseg_ros.learn.tabletop.render import CameraPose

    aside = 0.25 * ranges.spread_m[1]
    x, y = (float(c) for c in rng.uniform(-aside, aside, 2))
    return CameraPose((x, y, 0.03), float(rng.uniform(*ranges.distance_m)), float(rng.uniform(0, 360)),
                      -float(rng.uniform(*ranges.below_deg)))  # fmt: skip


def _material(thing: HouseholdObject, rng: np.random.Generator) -> Surface:
    """What a thing is made of, as far as a depth camera's light goes; drawn, as the models do not say it."""
    if rng.random() < _TRANSPARENT_SHARE:
        return Surface.TRANSPARENT
    if thing.key in _DARK_KEYS and rng.random() < _DARK_SHARE:
        return Surface.DARK
    glossy = any(word in thing.names[0] for word in _GLOSSY_NOUNS)
    return Surface.GLOSSY if glossy and rng.random() < _GLOSSY_SHARE else Surface.MATT


def _arrays(view: View, materials: np.ndarray, fallen: np.ndarray) -> dict[str, np.ndarray]:
    """What a file holds; things on the floor and slivers are asked for by nobody: `UNSAID`."""
    instances = view.instances.copy()
    seen = np.bincount(instances.ravel(), minlength=len(materials))
    gone = np.flatnonzero((seen[1:] < LEAST_PIXELS) | fallen) + 1
    instances[np.isin(instances, gone)] = UNSAID
    k = view.intrinsics
    return {
        "image_rgb": view.image_rgb,
        "depth_m": view.depth_m,
        "instances": instances,
        "surface": materials[view.instances],
        "intrinsics": np.array([k.fx, k.fy, k.cx, k.cy]),
    }


def _carton(scratch: Path, rng: np.random.Generator) -> HouseholdObject:
    """A plain box whose top is a second, higher level."""
    from ovseg_ros.learn.tabletop.household import HouseholdObject

    half = np.array([rng.uniform(0.11, 0.18), rng.uniform(0.09, 0.14), rng.uniform(0.03, 0.09)])
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    colour = " ".join(f"{c:.3f}" for c in (*rng.uniform(0.35, 0.9, 3), 1.0))
    vertices = " ".join(f"{c:.4f}" for c in corners.ravel())
    file = scratch / "carton.xml"
    file.write_text(
        f'<mujoco><asset><mesh name="box" vertex="{vertices}"/></asset><worldbody><body>'
        f'<geom type="mesh" mesh="box" group="1" density="100" rgba="{colour}"/></body></worldbody></mujoco>',
        encoding="utf-8",
    )
    return HouseholdObject("carton", str(file), ("carton",))
