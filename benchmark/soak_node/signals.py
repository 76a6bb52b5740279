"""Signals at random moments of start-up and work: the node ends with 0, soon, and without a traceback."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from soak_node.process import Running, start_node

END_S = 5.0
FIRST_S = 400.0  # for the first start, which tells how long one takes
WORK_SHARE = 1.3  # signals come up to so many times the time of a start after it begins


def signal_starts(starts: int, out: Path, seed: int, *, end_s: float = END_S) -> dict[str, Any]:
    """Starts the node so many times and ends each at a random moment.

    A signal before the node's first line has set a handler is the interpreter's own to answer; such moments
    are counted by themselves, and the start is done again.
    """
    rng, log = random.Random(seed), out / "signals.log"
    counts: Counter[str] = Counter()
    breaches: list[str] = []
    took_s: list[float] = []
    begun_s = time.monotonic()
    camera = Running(out / "camera.log", "player", "--rate", "5")
    try:
        start_s = _time_of_start(log)
        number = 0
        while number < starts:
            node = start_node(log, vocabulary="teapot")
            time.sleep(rng.uniform(0.0, WORK_SHARE * start_s))
            if not node.catches(signal.SIGTERM):
                counts["before the first line"] += 1
                node.kill()
                continue
            number += 1
            sent = rng.choice([signal.SIGINT, signal.SIGTERM])
            sent_s = time.monotonic()
            was_ready = "is ready" in node.said
            node.send(sent)
            if rng.random() < 0.3:  # under ros2 launch Ctrl-C comes twice
                time.sleep(rng.uniform(0, 0.3))
                node.send(sent)
            code = node.wait(end_s)
            took_s.append(time.monotonic() - sent_s)
            counts["while working" if was_ready else "while starting"] += 1
            when, before = f"{sent.name} {sent_s - node.started_s:.2f} s after the start", len(breaches)
            if code is None:
                breaches.append(f"{when}: still running after {end_s:g} s")
                node.kill()
            elif code != 0:
                breaches.append(f"{when}: exit status {code}: {node.said[-800:]}")
            if "Traceback" in node.said or "terminate called" in node.said:
                breaches.append(f"{when}: a traceback: {node.said[-1500:]}")
            for breach in breaches[before:]:
                print(f"BROKEN {breach}", flush=True)
            if number % 10 == 0:
                print(f"[signals] {number} of {starts}: {dict(counts)}, {len(breaches)} breaches", flush=True)
    finally:
        camera.kill()
    return {
        "starts": starts,
        "minutes": round((time.monotonic() - begun_s) / 60, 2),
        "a_start_takes_s": round(start_s, 2),
        "counts": dict(counts),
        "longest_end_s": round(max(took_s, default=0.0), 2),
        "median_end_s": round(sorted(took_s)[len(took_s) // 2], 2) if took_s else None,
        "breaches": breaches,
    }


def _time_of_start(log: Path) -> float:
    """Seconds from the start to the model being ready."""
    node = start_node(log, vocabulary="teapot")
    try:
        while "is ready" not in node.said:
            if node.code is not None or time.monotonic() - node.started_s > FIRST_S:
                raise RuntimeError(f"the node did not start; it said:\n{node.said[-2000:]}")
            time.sleep(0.1)
        return time.monotonic() - node.started_s
    finally:
        node.kill()
