"""Times depth_clusters, whole and step by step, on made-up table scenes of four sizes and the two recordings.

Writes out/benchmark/proposals.json.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test" / "fixtures")]

from proposals_scenes import Box, Cylinder, Sphere, as_sensed, best_ious, view  # noqa: E402

from ovseg_ros.core.frame import Frame, Proposals  # noqa: E402
from ovseg_ros.core.space import Plane  # noqa: E402
from ovseg_ros.evaluate.recordings.demo import machine, write_json  # noqa: E402
from ovseg_ros.evaluate.recordings.recording import read_recording  # noqa: E402
from ovseg_ros.proposals.depth import clusters, depth_clusters, refine  # noqa: E402
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters  # noqa: E402

SIZES_HW = ((120, 160), (240, 320), (480, 640), (720, 1280))
THINGS = (
    Box((-0.25, 0.05, 0.05), (0.08, 0.06, 0.10)),
    Cylinder((0.0, 0.0, 0.0), 0.04, 0.12),
    Sphere((0.2, 0.1, 0.04), 0.04),
    Cylinder((-0.1, 0.2, 0.0), 0.09, 0.012, (230, 230, 225)),
    Box((0.12, -0.12, 0.01), (0.14, 0.10, 0.02), (40, 60, 90)),
    Box((0.25, 0.3, 0.1), (0.06, 0.06, 0.20), (220, 190, 40)),
    Cylinder((-0.3, -0.12, 0.0), 0.045, 0.09, (240, 240, 240)),
    Sphere((-0.02, -0.2, 0.03), 0.03, (220, 120, 30)),
)
STEPS = {  # in the order in which a frame passes them
    "check the depth": (DepthClusters, "_checked"),
    "measure the noise": (clusters, "pixel_noise"),
    "find the plane": (DepthClusters, "_support"),
    "sharpen ramps": (depth_clusters, "sharpen"),
    "close gaps": (clusters, "close_gaps"),
    "heights": (Plane, "heights"),
    "limits": (Plane, "scatter_at"),
    "cut at jumps": (DepthClusters, "_cut"),
    "over the table": (DepthClusters, "_over_table"),
    "join fragments": (depth_clusters, "_whole_things"),
    "new labels": (clusters, "relabel"),
    "split panels": (depth_clusters, "split_panels"),
    "fill holes": (refine, "fill_holes"),
    "refine edges": (refine, "refine_edges"),
    "masks": (DepthClusters, "_proposals"),
}
Scene = tuple[Frame, np.ndarray]  # instances: 0 none, 1..n


def scenes() -> dict[str, list[Scene]]:
    """Made-up tables by size, and the recordings."""
    found = {}
    for size_hw in SIZES_HW:
        frame, instances = view(THINGS, size_hw=size_hw)
        found[f"{size_hw[1]}x{size_hw[0]}"] = [(as_sensed(frame), instances)]
    for name in ("tabletop", "garage"):
        frames = list(read_recording(ROOT / "demo" / name))
        ids = [np.unique(np.append(0, f.instances), return_inverse=True)[1][1:] for f in frames]
        found[name] = [(f.frame, i.reshape(f.frame.size_hw)) for f, i in zip(frames, ids)]
    return found


def timed(run: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall and of processor time, of all threads."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def summary(times: list[tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Minimum, median and 90th percentile in milliseconds."""
    out = {}
    for kind, seconds in zip(("wall", "processor"), zip(*times)):
        ms = sorted(1000 * s for s in seconds)
        p90 = ms[int(0.9 * (len(ms) - 1))]
        out[kind] = {"min_ms": ms[0], "median_ms": statistics.median(ms), "p90_ms": p90}
    return out


def quality(proposals: list[Proposals], some: list[Scene]) -> float:
    """Mean over things of the best IoU with any mask."""
    ious = [best_ious(p.masks.numpy(), instances) for p, (_, instances) in zip(proposals, some)]
    return float(np.mean(np.concatenate(ious)))


def measure(name: str, some: list[Scene], runs: int) -> dict[str, Any]:
    """Time and quality on some frames, `runs` in all."""
    proposer = DepthClusters()
    results = [proposer.propose(frame) for frame, _ in some]
    times = []
    for k in range(max(runs, len(some))):
        frame = some[k % len(some)][0]
        times.append(timed(lambda frame=frame: proposer.propose(frame)))
    return {
        "scene": name,
        "masks": len(results[0]),
        "runs": len(times),
        "mean_iou": quality(results, some),
        **summary(times),
    }


def measure_steps(some: list[Scene], runs: int) -> dict[str, dict[str, dict[str, float]]]:
    """Time of each step that ran."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in STEPS}

    def watched(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            result: list[Any] = []
            times[name].append(timed(lambda: result.append(step(*args, **kwargs))))
            return result[0]

        return run

    with contextlib.ExitStack() as patches:
        for name, (owner, attribute) in STEPS.items():
            step = watched(name, getattr(owner, attribute))
            patches.enter_context(mock.patch.object(owner, attribute, step))
        for k in range(max(runs, len(some))):
            DepthClusters().propose(some[k % len(some)][0])
    return {name: summary(taken) for name, taken in times.items() if taken}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=90, help="per scene, at least one per frame")
    parser.add_argument("--threads", type=int, default=2, help="OpenCV threads")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "proposals.json")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    head = f"{'scene':>9} masks    IoU   wall ms: min median p90    cpu ms: min median p90"
    print(head)
    found, rows = scenes(), []
    for name, some in found.items():
        rows.append(row := measure(name, some, arguments.runs))
        figures = "".join(f"{value:7.1f}" for kind in ("wall", "processor") for value in row[kind].values())
        print(f"{name:>9} {row['masks']:>5} {row['mean_iou']:6.3f}  {figures}", flush=True)
    steps = measure_steps(found["tabletop"], arguments.runs)
    print(f"\n{'step, on tabletop':>27}  wall ms: min median p90   cpu ms: min median p90")
    for name, times in steps.items():
        figures = "".join(f"{v:8.2f}" for kind in ("wall", "processor") for v in times[kind].values())
        print(f"{name:>27}  {figures}")
    report = {
        "machine": machine(),
        "opencv": cv2.__version__,
        "threads": arguments.threads,
        "rows": rows,
        "steps": steps,
    }
    write_json(report, arguments.out)
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
