"""Times depth_clusters on made-up table scenes and writes out/benchmark/proposals.json."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from proposals_scenes import Box, Cylinder, Sphere, as_sensed, best_ious, view  # noqa: E402

from ovseg_ros.proposals.depth_clusters import DepthClusters  # noqa: E402

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


def spread(seconds: list[float]) -> dict[str, float]:
    """Minimum, median and 90th percentile in milliseconds."""
    ms = sorted(1000 * s for s in seconds)
    return {"min_ms": ms[0], "median_ms": statistics.median(ms), "p90_ms": ms[int(0.9 * (len(ms) - 1))]}


def measure(size_hw: tuple[int, int], runs: int) -> dict[str, object]:
    """Wall and processor time of `runs` proposals on one frame, and how good they were."""
    frame, instances = view(THINGS, size_hw=size_hw)
    frame = as_sensed(frame)
    proposer = DepthClusters()
    masks = proposer.propose(frame).masks.numpy()
    wall, cpu = [], []
    for _ in range(runs):
        start, start_cpu = time.perf_counter(), time.process_time()
        proposer.propose(frame)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    return {
        "size": f"{size_hw[1]}x{size_hw[0]}",
        "masks": len(masks),
        "mean_iou": float(np.mean(best_ious(masks, instances))),
        "runs": runs,
        "wall": spread(wall),
        "processor": spread(cpu),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2, help="OpenCV threads")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "proposals.json")
    arguments = parser.parse_args()
    cv2.setNumThreads(arguments.threads)
    print(f"{'size':>9} {'masks':>5} {'IoU':>5}   {'wall ms: min median p90':>24}   cpu ms: min median p90")
    rows = []
    for size_hw in SIZES_HW:
        row = measure(size_hw, arguments.runs)
        rows.append(row)
        times = ["".join(f"{value:8.1f}" for value in row[kind].values()) for kind in ("wall", "processor")]
        print(
            f"{row['size']:>9} {row['masks']:>5} {row['mean_iou']:5.2f}   {times[0]:>24}   {times[1]:>28}",
            flush=True,
        )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "opencv": cv2.__version__,
        "threads": arguments.threads,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
