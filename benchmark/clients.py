"""Several clients at once on one node for minutes: does any of them, or the node, hold more and more?

`python benchmark/clients.py` starts the node with `mini`, a camera that plays demo/tabletop, and clients in
processes of their own that find, cancel, segment, follow, and come and go. Exits 1 where memory, open files
or threads grow.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmark")]

from soak_node.process import Running, Sample  # noqa: E402

from ovseg_ros.ros.client import NoAnswer, NodeClient, NodeGone  # noqa: E402

WORDS = ("teapot", "red mug", "frying pan", "moka pot", "book", "giraffe", "wine bottle", "motorcycle")
REMAPS = {
    "image": "/camera/color/image_raw",
    "depth": "/camera/depth/image_raw",
    "camera_info": "/camera/color/camera_info",
}
SAMPLE_S, START_S = 5.0, 300.0
WARM = 0.3  # part of the time in which caches fill
MAY_GROW = {"resident_mib": 16.0, "files": 2.0, "threads": 2.0}
"""From the median of the first third after that to the median of the last."""


def main() -> int:
    """Runs all of it, or one client."""
    parser = argparse.ArgumentParser(prog="python benchmark/clients.py", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default 10)")
    parser.add_argument("--clients", type=int, default=4, help="how many at once (default 4)")
    parser.add_argument("--preset", default="mini", help="of the node (default mini)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark", help="folder for the report")
    parser.add_argument("--as-client", type=int, metavar="SEED", help=argparse.SUPPRESS)
    options = parser.parse_args()
    return ask_on(options.as_client) if options.as_client is not None else measure(options)


# One client


def ask_on(seed: int) -> int:
    """Asks in turn until it is killed; a line for each answer."""
    rng = random.Random(seed)
    with NodeClient() as ovseg:
        ovseg.wait_for_node(START_S)
        while True:
            way = rng.choice((_find, _cancel, _segment, _follow, _come_and_go))
            try:
                print(way.__name__.strip("_"), way(ovseg, rng), flush=True)
            except NodeGone as error:
                print("gone", error, flush=True)
                return 1
            except NoAnswer as error:
                print("no_answer", error, flush=True)


def _find(ovseg: NodeClient, rng: random.Random) -> str:
    return ovseg.find(rng.choice(WORDS), timeout_s=1.0, with_masks=rng.random() < 0.5).code_name


def _cancel(ovseg: NodeClient, rng: random.Random) -> str:
    search = ovseg.begin_find("giraffe", timeout_s=60.0)
    time.sleep(rng.uniform(0, 0.5))
    search.cancel()
    return search.result().code_name


def _segment(ovseg: NodeClient, rng: random.Random) -> str:
    return ovseg.segment(words=rng.sample(WORDS, 3), with_points=rng.random() < 0.5).code_name


def _follow(ovseg: NodeClient, rng: random.Random) -> str:
    with ovseg.follow(rng.choice(WORDS[:5]), lost_after_s=1.0) as following:
        end_s = time.monotonic() + 2.0
        for _ in following:
            if time.monotonic() > end_s:
                break
    return following.reply(20.0).code_name


def _come_and_go(ovseg: NodeClient, rng: random.Random) -> str:
    with NodeClient() as other:
        other.wait_for_node(60.0)
        return other.find(rng.choice(WORDS), timeout_s=0.0).code_name


# All of them


def measure(options: argparse.Namespace) -> int:
    """Starts everything, samples it, and says what grew."""
    options.out.mkdir(parents=True, exist_ok=True)
    logs = options.out / "clients"
    logs.mkdir(exist_ok=True)
    for log in logs.glob("*.log"):
        log.unlink()
    remaps = [part for name, topic in REMAPS.items() for part in ("-r", f"{name}:={topic}")]
    camera = Running(logs / "camera.log", "player", str(ROOT / "demo" / "tabletop"))
    node = Running(logs / "node.log", "ovseg_node", "--ros-args", "-p", f"preset:={options.preset}", *remaps)
    running = {"node": node}
    try:
        with NodeClient() as waiting:
            waiting.wait_for_node(START_S)
            while not waiting.is_active():
                time.sleep(0.5)
        for seed in range(options.clients):
            arguments = (str(Path(__file__).resolve()), "--as-client", str(seed))
            running[f"client {seed}"] = Running(logs / f"client_{seed}.log", "python", *arguments)
        samples = _sampled(running, options.minutes * 60)
    finally:
        for process in (*running.values(), camera):
            process.kill()
    answers = Counter(
        " ".join(line.split()[:2])
        for log in sorted(logs.glob("client_*.log"))
        for line in log.read_text().splitlines()
    )
    report = {
        "minutes": options.minutes,
        "answers": dict(sorted(answers.items())),
        "held": {name: held(one) for name, one in samples.items()},
    }
    (options.out / "clients.json").write_text(json.dumps(report, indent=2) + "\n")
    return _tell(report, samples)


def _sampled(running: dict[str, Running], length_s: float) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {name: [] for name in running}
    end_s = time.monotonic() + length_s
    while time.monotonic() < end_s:
        time.sleep(min(SAMPLE_S, max(end_s - time.monotonic(), 0.0)))
        for name, process in running.items():
            sample = process.sample()
            if sample is None or process.code is not None:
                raise SystemExit(f"{name} has ended:\n{process.said[-2000:]}")
            samples[name].append(sample)
    return samples


def held(samples: Sequence[Sample]) -> dict[str, Any]:
    """First and last sample, and the growth of the medians of the thirds after warming up."""
    warm = samples[int(len(samples) * WARM) :]
    third = max(len(warm) // 3, 1)
    found: dict[str, Any] = {}
    for name in MAY_GROW:
        values = [getattr(one, name) for one in samples]
        early = statistics.median(getattr(one, name) for one in warm[:third])
        late = statistics.median(getattr(one, name) for one in warm[-third:])
        found[name] = {
            "first": round(values[0], 1),
            "last": round(values[-1], 1),
            "growth": round(late - early, 1),
        }
    return found


def grown(found: dict[str, Any]) -> list[str]:
    """What of one process grew by more than it may."""
    return [name for name, most in MAY_GROW.items() if found[name]["growth"] > most]


def _tell(report: dict[str, Any], samples: dict[str, list[Sample]]) -> int:
    print(json.dumps(report["answers"]))
    print(f"{'':<10} {'MiB':>24} {'files':>18} {'threads':>18}   first -> last (growth of medians)")
    leaks = []
    for name, found in report["held"].items():
        cells = [f"{one['first']:g} -> {one['last']:g} ({one['growth']:+g})" for one in found.values()]
        print(f"{name:<10} {cells[0]:>24} {cells[1]:>18} {cells[2]:>18}")
        leaks += [f"{name}: {thing}" for thing in grown(found)]
    print(f"grows: {', '.join(leaks)}" if leaks else "nothing grows")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
