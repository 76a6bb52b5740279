"""Makes the recording `demo/tabletop`: three table scenes seen by a moving camera, with true masks and names.

    scripts/env.sh python demo/make_tabletop.py [--out demo/tabletop]
    scripts/env.sh python demo/make_tabletop.py --out OTHER --shuffle 77 --rate 15

The second makes other scenes of the same things, drawn by chance, which nothing was tuned on. Beside the
recording lies the truth in space, objects.json (ovseg_ros/evaluate/recordings/objects.py). `--objects` makes
that alone, for the recording that is there, and ends with an error where the scenes are not those recorded.

Needs MuJoCo and LIBERO's models: `pip install '.[render]'`, or `make setup-render`. The scenes use
arrangements, cameras, lamps and table textures that the training
renders (ovseg_ros/learn/tabletop/crops.py) do not.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ovseg_ros.core.frame import Frame
from ovseg_ros.evaluate.recordings.objects import TrueThing, TrueView, hidden_share, write_objects
from ovseg_ros.evaluate.recordings.recording import (
    RecordedFrame,
    depth_to_mm,
    read_recording,
)
from ovseg_ros.evaluate.recordings.writing import write_recording
from ovseg_ros.learn.tabletop.household import BY_KEY
from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop, View
from ovseg_ros.learn.tabletop.room import Surroundings
from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees

SECONDS_PER_SCENE = 3.0
JPEG_QUALITY = 92
RATE_HZ = 5.0
SAME_PIXELS = 0.001  # may differ where graphics drivers round otherwise
START_NS = 1_700_000_000_000_000_000


@dataclass(frozen=True)
class Scene:
    """Objects as (key, word, x m, y m, yaw degrees), surroundings, the camera's way, the lamp."""

    objects: tuple[tuple[str, str, float, float, float], ...]
    surroundings: Surroundings
    teapot_rgb: tuple[float, float, float]
    azimuth_deg: tuple[float, float]
    elevation_deg: tuple[float, float]
    distance_m: tuple[float, float]
    lamp_m: tuple[float, float, float]


SCENES = (
    Scene(
        (
            ("teapot", "teapot", 0.02, -0.10, 200),
            ("moka_pot", "moka pot", 0.26, 0.10, 30),
            ("red_coffee_mug", "red mug", -0.22, 0.06, 60),
            ("akita_black_bowl", "bowl", 0.20, -0.20, 0),
            ("plate", "plate", -0.02, 0.24, 0),
            ("milk", "milk carton", -0.26, -0.16, 20),
            ("chefmate_8_frypan", "frying pan", 0.00, 0.40, 150),
        ),
        Surroundings(
            "ceramic.png", "gray_ceramic_tile.png", "cream-plaster.png", (0.7, 0.8), (0.85, 0.8, 0.75)
        ),
        (0.16, 0.42, 0.5),
        (-120, -55),
        (-30, -46),
        (0.98, 0.86),
        (0.7, -0.5, 1.8),
    ),
    Scene(
        (
            ("teapot", "teapot", -0.06, 0.02, 310),
            ("wine_bottle", "wine bottle", 0.24, 0.14, 0),
            ("basket", "basket", -0.30, 0.13, 15),
            ("orange_juice", "orange juice", 0.05, 0.26, 40),
            ("ketchup", "ketchup bottle", 0.18, -0.10, 80),
            ("cookies", "cookies", -0.20, -0.20, 65),
            ("glazed_rim_porcelain_ramekin", "ramekin", 0.06, -0.24, 0),
        ),
        Surroundings(
            "meeka-beige-plaster.png",
            "marble_floor.png",
            "dark_gray_plaster.png",
            (0.65, 0.65),
            (0.75, 0.6, 0.45),
        ),
        (0.92, 0.9, 0.84),
        (-60, 10),
        (-48, -30),
        (0.84, 0.92),
        (-0.6, -0.6, 1.7),
    ),
    Scene(
        (
            ("teapot", "teapot", 0.10, 0.14, 120),
            ("yellow_book", "book", -0.24, 0.22, 25),
            ("porcelain_mug", "white mug", -0.08, -0.16, 200),
            ("alphabet_soup", "soup can", 0.24, -0.14, 140),
            ("macaroni_and_cheese", "macaroni and cheese", -0.30, -0.12, 100),
            ("wooden_tray", "wooden tray", -0.06, 0.38, 10),
            ("bbq_sauce", "barbecue sauce", 0.06, -0.30, 0),
        ),
        Surroundings(
            "new_light_gray_plaster.png",
            "dapper_gray_floor.png",
            "light_blue_wall.png",
            (0.7, 0.75),
            (0.55, 0.62, 0.7),
        ),
        (0.72, 0.3, 0.16),
        (-140, -80),
        (-35, -50),
        (0.88, 0.98),
        (-0.3, 0.8, 1.9),
    ),
)


def shuffled(seed: int) -> tuple[Scene, ...]:
    """As many scenes of the same things in other company and places, with other colours, ways and lamps."""
    rng = np.random.default_rng(seed)
    things = [thing for scene in SCENES for thing in scene.objects if thing[0] != "teapot"]
    places = [(x, y) for _, _, x, y, _ in SCENES[0].objects]
    rng.shuffle(things)
    each = len(things) // len(SCENES)
    scenes = []
    for k in range(len(SCENES)):
        chosen = [("teapot", "teapot"), *((key, word) for key, word, *_ in things[k * each : (k + 1) * each])]
        x, y = (np.array(places)[rng.permutation(len(places))[: len(chosen)]] + rng.uniform(-0.02, 0.02, 2)).T
        yaw = rng.uniform(0, 360, len(chosen))
        azimuth = rng.uniform(-140, -20)
        scenes.append(
            Scene(
                tuple((*thing, *map(float, at)) for thing, *at in zip(chosen, x, y, yaw, strict=True)),
                SCENES[(k + 1) % len(SCENES)].surroundings,
                tuple(rng.uniform(0.2, 0.9, 3)),
                (azimuth, azimuth + rng.choice([-1, 1]) * rng.uniform(50, 75)),
                tuple(rng.uniform(-50, -30, 2)),
                tuple(rng.uniform(0.84, 1.0, 2)),
                (rng.uniform(-0.7, 0.7), -0.5, 1.8),
            )
        )
    return tuple(scenes)


@dataclass
class Truth:
    """Where things are, collected while frames are rendered."""

    things: dict[int, TrueThing] = field(default_factory=dict)
    views: list[TrueView] = field(default_factory=list)

    def place(self, table: Tabletop, names: dict[int, str]) -> None:
        """Things as they stand now; `names` has them in the table's order."""
        for i, (instance, name) in enumerate(names.items()):
            self.things[instance] = TrueThing.around(name, table.vertices_m(i))

    def see(
        self, table: Tabletop, pose: CameraPose, view: View, instances: np.ndarray, stamp_ns: int
    ) -> None:
        """What an exact view shows of them; `instances` has its ids in the recording."""
        to_camera, camera = pose.from_world(), view.intrinsics
        v, u = np.mgrid[: camera.height, : camera.width]
        x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
        points = np.stack([x, y, np.ones_like(x)], axis=-1) * view.depth_m[..., None]
        middles, hidden = {}, {}
        for number in np.unique(view.instances[view.instances > 0]).tolist():
            mask = view.instances == number
            instance = int(instances[mask][0])
            vertices = to_camera.of_points(table.vertices_m(number - 1))
            middles[instance] = points[mask].mean(axis=0)
            hidden[instance] = hidden_share(vertices, view.depth_m, instances, instance, camera.fx)
        self.views.append(TrueView(stamp_ns, to_camera, middles, hidden))


def record(
    scene: Scene, first_id: int, first_frame: int, rate_hz: float, truth: Truth
) -> Iterator[RecordedFrame]:
    """Renders one scene; its objects get the ids first_id, first_id + 1, …"""
    frames = round(SECONDS_PER_SCENE * rate_hz)
    things = [BY_KEY[key] for key, *_ in scene.objects]
    tints = [(*scene.teapot_rgb, 1.0) if key == "teapot" else None for key, *_ in scene.objects]
    table = Tabletop(things, scene.surroundings, (480, 640), tints, lamp_m=scene.lamp_m)
    table.place([(x, y, np.radians(yaw)) for _, _, x, y, yaw in scene.objects])
    table.model.vis.headlight.ambient[:] = 0.35
    table.model.light_diffuse[1] = 0.15
    names = {first_id + i: word for i, (_, word, *_) in enumerate(scene.objects)}
    truth.place(table, names)
    synonyms = {first_id + i: BY_KEY[key].synonyms for i, (key, *_) in enumerate(scene.objects)}
    for n in range(frames):
        t = n / (frames - 1)
        ease = 0.5 - 0.5 * np.cos(np.pi * t)
        ends = (scene.distance_m, scene.azimuth_deg, scene.elevation_deg)
        pose = CameraPose((0.0, 0.08, 0.04), *(float(a + (b - a) * ease) for a, b in ends))
        view = table.view(pose)
        instances = np.where(view.instances > 0, view.instances + (first_id - 1), 0).astype(np.uint16)
        stamp = START_NS + int((first_frame + n) / rate_hz * 1e9)
        truth.see(table, pose, view, instances, stamp)
        depth_m = as_a_sensor_sees(view.depth_m, np.random.default_rng(first_frame + n))
        frame = Frame(view.image_rgb, depth_m, view.intrinsics, stamp, "camera_color_optical_frame")
        yield RecordedFrame(frame, instances, names, synonyms)
    table.close()


def all_frames(scenes: Sequence[Scene], rate_hz: float, truth: Truth) -> Iterator[RecordedFrame]:
    """All scenes one after the other."""
    first_id, first_frame = 1, 0
    for scene in scenes:
        yield from record(scene, first_id, first_frame, rate_hz, truth)
        first_id += len(scene.objects)
        first_frame += round(SECONDS_PER_SCENE * rate_hz)


def check_same(recorded: Sequence[RecordedFrame], rendered: Sequence[RecordedFrame]) -> None:
    """Ends the program where a recording does not show what was rendered, to the millimetre."""
    if len(recorded) != len(rendered):
        raise SystemExit(f"expected the recording's {len(recorded)} frames, rendered {len(rendered)}")
    for n, (old, new) in enumerate(zip(recorded, rendered, strict=True)):
        moved = np.mean(old.instances != new.instances)
        off = np.mean(depth_to_mm(old.frame.depth_m) != depth_to_mm(new.frame.depth_m))
        if old.frame.stamp_ns != new.frame.stamp_ns or max(moved, off) > SAME_PIXELS:
            raise SystemExit(
                f"frame {n} is not the recording's: {moved:.2%} of the instances' pixels and {off:.2%} of "
                "the depth's differ; make the recording anew"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "tabletop")
    parser.add_argument("--shuffle", type=int, metavar="SEED", help="other scenes, drawn by chance")
    parser.add_argument("--rate", type=float, default=RATE_HZ, help="frames a second (default: %(default)s)")
    parser.add_argument("--objects", action="store_true", help="objects.json alone, for the recording there")
    arguments = parser.parse_args()
    scenes, truth = SCENES if arguments.shuffle is None else shuffled(arguments.shuffle), Truth()
    frames = all_frames(scenes, arguments.rate, truth)
    if arguments.objects:
        check_same(list(read_recording(arguments.out)), list(frames))
    else:
        write_recording(arguments.out, frames, jpeg_quality=JPEG_QUALITY)
    write_objects(arguments.out, truth.things, truth.views)


if __name__ == "__main__":
    main()
