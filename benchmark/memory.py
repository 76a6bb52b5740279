"""What memory costs with many things: time of questions and of updates, and memory of the process.

    scripts/env.sh python benchmark/memory.py
    scripts/env.sh python benchmark/memory.py --things 100000 --dims 1576 --url postgresql://…

Writes out/benchmark/memory.json. Things stand evenly in a hall of 50 x 50 x 2 m, belong to one of 400 kinds
(embeddings around a centre), and are called by their kind's word and by one of twenty others. A question asks
for the ten nearest to another embedding of some kind; an update saves later states of 20 things. Ways are
interleaved. On a busy machine read the processor time: it has all but waiting for the disk.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.tables import markdown_table
from ovseg_ros.memory import Entry, Name, Where
from ovseg_ros.memory.store import open_store

ROOT = Path(__file__).resolve().parents[1]
KINDS, OTHERS, SPREAD = 400, 20, 0.8
TRACKS, K = 20, 10


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


class World:
    """Things of a number of kinds, made anew from their number."""

    def __init__(self, dims: int, views: int) -> None:
        self.dims, self.views = dims, views
        self.centres = unit(np.random.default_rng(0).standard_normal((KINDS, dims), dtype=np.float32))

    def embedding(self, random: np.random.Generator, kind: int) -> np.ndarray:
        noise = unit(random.standard_normal(self.dims, dtype=np.float32))
        return unit(self.centres[kind] + SPREAD * noise)

    def thing(self, number: int, **given: Any) -> Entry:
        random = np.random.default_rng(number + 1)
        kind = int(random.integers(KINDS))
        views = np.stack([self.embedding(random, kind) for _ in range(self.views)])
        fields: dict[str, Any] = {
            "key": f"{number:032x}",
            "robot": "",
            "frame_id": "map",
            "position": random.uniform((0, 0, 0), (50, 50, 2)),
            "covariance": np.eye(3) * 1e-4,
            "size": random.uniform(0.05, 0.5, 3),
            "orientation": np.array([0.0, 0, 0, 1]),
            "space": "made up",
            "embedding": unit(views.mean(axis=0)),
            "views": views,
            "words": {f"kind {kind}": Name(0.8, 3), f"other {int(random.integers(OTHERS))}": Name(0.3, 1)},
            "first_seen": 1e9 + number,
            "last_seen": 1e9 + number,
        }
        return Entry(**{**fields, **given})


def resident_mb() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def timed(ways: dict[str, Callable[[int], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Per way least and median wall time, and least processor time, in milliseconds; ways interleaved."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats):
        for name, way in ways.items():
            wall, processor = time.perf_counter(), time.process_time()
            way(turn)
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: {
            "wall_min": 1e3 * min(wall for wall, _ in times),
            "wall_median": 1e3 * statistics.median(wall for wall, _ in times),
            "processor_min": 1e3 * min(processor for _, processor in times),
        }
        for name, times in taken.items()
    }


def fill(url: str, world: World, things: int) -> None:
    with open_store(url) as store:
        for start in range(0, things, 1000):
            store.save(world.thing(number) for number in range(start, min(start + 1000, things)))


def measure(url: str, world: World, things: int, repeats: int) -> dict[str, Any]:
    # In a process of its own: what filling leaves behind would be taken for nothing by what is measured.
    start = time.perf_counter()
    filling = multiprocessing.get_context("spawn").Process(target=fill, args=(url, world, things))
    filling.start()
    filling.join()
    print(f"filled in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    before = resident_mb()
    with open_store(url) as store:
        random = np.random.default_rng(10**9)
        kinds = random.integers(KINDS, size=repeats)
        queries = [world.embedding(random, int(kind)) for kind in kinds]
        everywhere = Where(space="made up")
        start = time.perf_counter()
        store.nearest(queries[0], K, everywhere)
        first_s = time.perf_counter() - start
        after = resident_mb()
        newest = {number: store.load(Where(keys=(world.thing(number).key,)))[0] for number in range(TRACKS)}

        def update(turn: int) -> None:
            for number, one in newest.items():
                newest[number] = replace(one, last_seen=2e9 + turn, times_seen=one.times_seen + 1)
            saved = store.save(newest.values())
            assert not saved.conflicts
            assert not saved.forgotten
            for number, one in newest.items():
                newest[number] = replace(one, revision=saved.revision)

        def ask(**more: Any) -> Callable[[int], Any]:
            return lambda turn: store.nearest(queries[turn], K, replace(everywhere, **more))

        corner = {"frame_id": "map", "low": (0, 0, 0), "high": (5, 5, 2)}
        half = {"frame_id": "map", "low": (0, 0, 0), "high": (25, 50, 2)}
        ways: dict[str, Callable[[int], Any]] = {
            "the ten nearest": ask(),
            "… of those called by its kind (1 in 400)": lambda turn: store.nearest(
                queries[turn], K, replace(everywhere, words=(f"kind {kinds[turn]}",))
            ),
            "… of those called by a word (1 in 20)": ask(words=("other 3",)),
            "… in a corner of 5 x 5 m (1 in 100)": ask(**corner),
            "… in half the hall, not gone": ask(**half, gone=False),
            "all in the corner": lambda _: store.load(Where(**corner)),
            f"an update of {TRACKS} tracks": update,
            "the ten nearest, after the update": ask(),
        }
        taken = timed(ways, repeats)
        last = resident_mb()
        agree = agreement(store, queries[:20], everywhere)
        files = (
            sum(file.stat().st_size for file in Path(url).parent.glob(Path(url).name + "*")) / 2**20
            if "://" not in url
            else None
        )
    return {
        "things": things,
        "dims": world.dims,
        "views": world.views,
        "first_question_s": first_s,
        "memory_mb": {"after_first_question": after - before, "after_all": last - before},
        "files_mb": files,
        "same_ten_as_exact": agree,
        "ms": taken,
    }


def agreement(store: Any, queries: list[np.ndarray], where: Where) -> float:
    """Of the ten nearest by a loop over all vectors, how many are found."""
    best: list[list[tuple[float, str]]] = [[] for _ in queries]
    number, asked = 0, np.stack(queries)
    while True:
        some = store.load(Where(keys=tuple(f"{n:032x}" for n in range(number, number + 5000))))
        if not some:
            break
        number += 5000
        cosines = np.stack([one.embedding for one in some]) @ asked.T
        for view in range(some[0].views.shape[0]):
            cosines = np.maximum(cosines, np.stack([one.views[view] for one in some]) @ asked.T)
        for place, column in enumerate(cosines.T):
            rows = np.argsort(-column)[:K]
            best[place] = sorted(best[place] + [(-float(column[i]), some[i].key) for i in rows])[:K]
    found = [{one.key for one, _ in store.nearest(query, K, where)} for query in queries]
    right = sum(len(keys & {key for _, key in wanted}) for keys, wanted in zip(found, best, strict=True))
    return right / (K * len(queries))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--things", type=int, default=100_000)
    parser.add_argument("--dims", type=int, nargs="+", default=[512, 1576], help="1576 are those of `lite`")
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--url", help="an empty PostgreSQL database (and one of --dims); a file else")
    arguments = parser.parse_args()
    results = []
    for dims in arguments.dims:
        with tempfile.TemporaryDirectory(prefix="ovseg_memory_") as folder:
            url = arguments.url or f"{folder}/memory.sqlite"
            world = World(dims, arguments.views)
            results.append(measure(url, world, arguments.things, arguments.repeats))
        one = results[-1]
        print(f"\n{one['things']} things, D = {dims}, {arguments.views} views each\n")
        rows = [
            (name, *(f"{t[what]:.1f}" for what in ("wall_min", "wall_median", "processor_min")))
            for name, t in one["ms"].items()
        ]
        print(markdown_table(("", "wall, least ms", "wall, median ms", "processor, least ms"), rows))
        print({key: value for key, value in one.items() if key != "ms"}, flush=True)
    result = {"machine": machine(), "database": "PostgreSQL" if arguments.url else "SQLite", "runs": results}
    write_json(result, ROOT / "out" / "benchmark" / "memory.json")
    print(json.dumps(result["machine"]))


if __name__ == "__main__":
    main()
