"""Whether memory stays as it is through a long day: entries, bytes, threads, process and time per image.

    scripts/env.sh python benchmark/memory_hours.py
    scripts/env.sh python benchmark/memory_hours.py --sightings 1000000 --hours 80

A made-up robot looks into ten rooms in turn, by a clock of its own: 15 things a room, seen in five images a
look, each with noise in place, looks and name; now and then one is overlooked. Every three minutes somebody
carries a thing to another room, every ten a thing goes for good and another comes, every half hour
localisation corrects itself by 10 cm. What is told of it goes through merging (`ObjectMemory`), the writer's
thread and a SQLite file, as in the node; depth shows the empty floor, so that what is not reported is seen to
be gone. Things not seen for a quarter of the time are forgotten. Prints a line for each half hour and writes
out/benchmark/memory_hours.json.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.space import Rigid
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.tables import markdown_table
from ovseg_ros.memory import Retention, Where, Writer, open_store
from ovseg_ros.memory.objects import ObjectMemory
from ovseg_ros.memory.sighting import Sighting, View

ROOT = Path(__file__).resolve().parents[1]
ROOMS, THINGS, APART_M, IMAGES, PRUNE_S = 10, 150, 12.0, 5, 600.0
MOVE_S, CHANGE_S, JUMP_S, REPORT_S = 180.0, 600.0, 1800.0, 1800.0
RADIUS_M, DIMS, CROP_BYTES = 0.05, 512, 4000
NOISE_M, LIKE, OVERLOOKED, MISNAMED = 0.01, 0.95, 0.05, 0.1
K = CameraIntrinsics(120.0, 120.0, 79.5, 59.5, 160, 120)
WORDS = [f"kind {number}" for number in range(40)]


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@dataclass
class Thing:
    """One thing: its word, how it looks, and where it is."""

    word: str
    looks: np.ndarray
    room: int
    place: np.ndarray  # in its room, metres


@dataclass
class House:
    """The things, the robot's camera and its clock, made from a seed."""

    seed: int = 0
    clock_s: float = 1_700_000_000.0
    things: list[Thing] = field(default_factory=list)
    off: np.ndarray = field(default_factory=lambda: np.zeros(3))  # by which localisation is wrong
    track: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        rays = np.stack(np.meshgrid((np.arange(160) - K.cx) / K.fx, (np.arange(120) - K.cy) / K.fy), -1)
        self.rays = np.concatenate([rays, np.ones((120, 160, 1))], -1)
        self.surface = RADIUS_M * unit(self.random.standard_normal((64, 3)))
        for number in range(THINGS):
            self.add(number % ROOMS)

    def free_place(self, room: int) -> np.ndarray:
        """Where nothing else stands, 0.25 m apart; the fuller the room the farther out."""
        taken = [one.place for one in self.things if one.room == room]
        reach = 0.6
        while True:
            place = np.array([*self.random.uniform(-reach, reach, 2), RADIUS_M])
            if all(np.linalg.norm(place - other) > 0.25 for other in taken):
                return place
            reach += 0.002

    def add(self, room: int) -> None:
        word = WORDS[int(self.random.integers(len(WORDS)))]
        self.things.append(Thing(word, unit(self.random.standard_normal(DIMS)), room, self.free_place(room)))

    def look(self, memory: ObjectMemory, room: int) -> tuple[int, list[float]]:
        """Five images of a room from some side; how many sightings, and processor seconds of each image."""
        heading = self.random.uniform(0, 2 * np.pi)
        forward = np.array([np.cos(heading), np.sin(heading), -1.0])
        at = np.array([room * APART_M, 0, 0]) - 1.3 * forward
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0, 1])
        right /= np.linalg.norm(right)
        turn = np.stack([right, np.cross(forward, right), forward], axis=1)
        down = self.rays @ turn.T
        depth = np.where(down[..., 2] < 0, -at[2] / np.minimum(down[..., 2], -1e-9), 0).astype(np.float32)
        view_at = Rigid(turn, at + self.off)
        here = [one for one in self.things if one.room == room]
        self.track += len(here)  # tracks begin anew
        count, taken = 0, []
        for _ in range(IMAGES):
            self.clock_s += 0.2
            sightings = [
                self.sighting(one, i) for i, one in enumerate(here) if self.random.random() > OVERLOOKED
            ]
            start = time.thread_time()
            memory.note(View(self.clock_s, "map", view_at, depth, K), sightings)
            taken.append(time.thread_time() - start)
            count += len(sightings)
        return count, taken

    def sighting(self, thing: Thing, number: int) -> Sighting:
        centre = thing.place + np.array([thing.room * APART_M, 0, 0]) + self.off
        aside = unit(self.random.standard_normal(DIMS))
        word = thing.word if self.random.random() > MISNAMED else WORDS[int(self.random.integers(len(WORDS)))]
        return Sighting(
            ("", self.track + number),
            centre + self.random.normal(size=3) * NOISE_M,
            np.eye(3) * NOISE_M**2,
            np.full(3, 2 * RADIUS_M),
            np.array([0.0, 0, 0, 1]),
            unit(LIKE * thing.looks + (1 - LIKE**2) ** 0.5 * aside),
            {word: float(self.random.uniform(0.6, 0.95))},
            (centre + self.surface).astype(np.float32),
            crop=lambda: self.random.bytes(CROP_BYTES),
            clarity=float(self.random.uniform(300, 600)),
        )

    def live(self, memory: ObjectMemory, since_s: float, until_s: float) -> None:
        """What somebody does to the things between two times."""

        def due(every_s: float) -> bool:
            return since_s // every_s != until_s // every_s

        if due(MOVE_S):
            thing = self.things[int(self.random.integers(len(self.things)))]
            room = int(self.random.integers(ROOMS))
            thing.place = self.free_place(room)
            thing.room = room
        if due(CHANGE_S):
            gone = self.things.pop(int(self.random.integers(len(self.things))))
            self.add(gone.room)
        if due(JUMP_S):
            shift = np.append(unit(self.random.standard_normal(2)) * 0.1, 0.0) - self.off
            self.off = self.off + shift
            memory.correct(self.clock_s, Rigid(np.eye(3), shift))


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def simulate(
    path: Path, sightings: int, hours: float, *, seed: int = 0, report_s: float = REPORT_S
) -> list[dict[str, Any]]:
    """Lives through so many hours; a row for each `report_s` of them."""
    house, rows, told = House(seed), [], 0
    start_s = house.clock_s
    looks = max(round(sightings / (IMAGES * THINGS / ROOMS * (1 - OVERLOOKED))), 1)
    pause_s = hours * 3600 / looks - 0.2 * IMAGES
    retention = Retention(max_age_s=3600.0 * max(hours / 4, 0.1), max_count=10_000)
    with open_store(path, retention=retention) as store:
        writer = Writer(store)
        memory = ObjectMemory(store, writer, "made up")
        taken: list[float] = []
        for look in range(looks):
            since_s = house.clock_s - start_s
            count, times = house.look(memory, look % ROOMS)
            told += count
            taken += times
            house.clock_s += pause_s
            now_s = house.clock_s - start_s
            house.live(memory, since_s, now_s)
            if since_s // PRUNE_S != now_s // PRUNE_S:
                store.prune(house.clock_s)
            if since_s // report_s != now_s // report_s or look == looks - 1:
                memory.flush()
                writer.flush(60.0)
                rows.append(row(path, store, memory, now_s / 3600, told, taken))
                print(rows[-1], file=sys.stderr, flush=True)
                taken = []
        writer.close()
    return rows


def row(
    path: Path, store: Any, memory: ObjectMemory, hours: float, told: int, taken: list[float]
) -> dict[str, Any]:
    files = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    return {
        "hours": round(hours, 2),
        "sightings": told,
        "there": store.count(Where(gone=False)),
        "gone": store.count(Where(gone=True)),
        "held": len(memory.held()),
        "file_mb": files / 2**20,
        "process_mb": resident_mb(),
        "threads": threading.active_count(),
        "image_ms_median": 1e3 * statistics.median(taken),
        "image_ms_95": 1e3 * float(np.quantile(taken, 0.95)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sightings", type=int, default=100_000)
    parser.add_argument("--hours", type=float, default=8.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ovseg_hours_") as folder:
        rows = simulate(Path(folder) / "memory.sqlite", arguments.sightings, arguments.hours)
    print(markdown_table(list(rows[0]), [[f"{value:.4g}" for value in one.values()] for one in rows]))
    write_json({"machine": machine(), "rows": rows}, ROOT / "out" / "benchmark" / "memory_hours.json")


if __name__ == "__main__":
    main()
