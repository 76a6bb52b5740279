"""`python benchmark/soak_node`: the parts one after the other, a report in JSON and a chart."""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from hypothesis.configuration import set_hypothesis_home_dir

from ovseg_ros.evaluate.recordings.demo import write_json
from ovseg_ros.evaluate.scores.provenance import made_with

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("properties", "play", "walks", "signals")
RESULTS_PER_HOUR = 10_000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python benchmark/soak_node",
        description="Random play with the real node over real DDS. Ends with 1 where anything broke.",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--minutes", type=float, default=60.0, help="of random play (default 60)")
    parser.add_argument("--steps", type=int, default=200, help="lifecycle transitions (default 200)")
    parser.add_argument("--starts", type=int, default=100, help="starts that a signal ends (default 100)")
    parser.add_argument(
        "--cases", type=int, default=100_000, help="of the property-based tests, at least (default 100,000)"
    )
    parser.add_argument("--seed", type=int, default=None, help="of all that is random (default: a new one)")
    parser.add_argument(
        "--patience",
        type=float,
        default=120.0,
        help="seconds within which a request has to be answered; more where others keep the machine busy",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "soak", help="folder (default out/soak)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Runs the parts; the exit status is 1 where one of them broke."""
    options = _parser().parse_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # the node's process ends with this one
    options.out.mkdir(parents=True, exist_ok=True)
    set_hypothesis_home_dir(
        options.out / "hypothesis"
    )  # its tables of Unicode are not left in the source tree
    seed = random.randrange(2**31) if options.seed is None else options.seed
    print(f"seed {seed}, parts {', '.join(options.parts)}, writing to {options.out}", flush=True)
    report: dict[str, Any] = {"seed": seed, "load": os.getloadavg()[0], "parts": {}}
    report["made_with"] = made_with(command=["soak_node", *sys.argv[1:]], preset="mini")
    broken: list[str] = []
    for part in options.parts:
        print(f"[{part}] begins", flush=True)
        try:
            found = globals()[f"_{part}"](options, seed)
        except Exception as error:  # the other parts still say what they can
            found = {"breaches": [f"{type(error).__name__}: {error}"]}
        report["parts"][part] = found
        broken += [f"{part}: {sentence}" for sentence in found["breaches"]]
        write_json(report, options.out / "report.json")
        said = {key: value for key, value in found.items() if key not in ("breaches", "counts", "samples")}
        print(f"[{part}] {said}", flush=True)
    for sentence in broken:
        print(f"BROKEN {sentence}", flush=True)
    print(f"{len(broken)} breaches; written: {options.out / 'report.json'}", flush=True)
    return 1 if broken else 0


def _properties(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The property-based tests with many more cases, at random."""
    begun_s = time.monotonic()
    environment = os.environ | {
        "OVSEG_PROPERTIES": "soak",
        "OVSEG_PROPERTIES_FACTOR": str(-(-options.cases // 5000)),
        "PYTEST_ADDOPTS": "",
    }
    command = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", str(ROOT / "test" / "properties")]
    log = options.out / "properties.log"
    with log.open("w") as file:
        code = subprocess.run(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=options.out
        ).returncode
    said = log.read_text(errors="replace").splitlines()
    counted = next((line.split()[1] for line in said if line.startswith("properties:")), "0")
    breaches = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    if code and not breaches:
        breaches = [f"pytest ended with {code}; see {log}"]
    if not breaches and int(counted) < options.cases:
        breaches = [f"expected {options.cases} cases, {counted} ran"]
    minutes = round((time.monotonic() - begun_s) / 60, 2)
    return {"cases": int(counted), "minutes": minutes, "breaches": breaches}


def _play(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    from soak_node.chart import draw
    from soak_node.play import Play
    from soak_node.slopes import breaches, growth

    play = Play(options.minutes, options.out, seed, patience_s=options.patience)
    found = play.run()
    longest = max(play.lives, key=len)
    found["growth"] = growth(longest)
    found["breaches"] += breaches(found["growth"], "the node that lived longest")
    if options.minutes >= 60 and found["results"] < RESULTS_PER_HOUR * options.minutes / 60:
        found["breaches"].append(f"expected {RESULTS_PER_HOUR} results an hour, got {found['results']}")
    found["samples"] = [
        [tuple(round(value, 1) for value in sample) for sample in life] for life in play.lives
    ]
    draw(options.out / "play.png", play.lives, found)
    return found


def _walks(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    from soak_node.walks import Walk

    return Walk(options.out, seed).run(options.steps)


def _signals(options: argparse.Namespace, seed: int) -> dict[str, Any]:
    from soak_node.signals import signal_starts

    return signal_starts(options.starts, options.out, seed)
