"""Times the encoders of the bundled presets on twelve masks and writes out/benchmark/encoders.json."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from ovseg_ros.core.regions import crop_regions
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
MASKS = 12


def twelve_masks() -> torch.Tensor:
    """(12, 480, 640) bool: disks of 90 pixels' width in three rows."""
    y, x = np.mgrid[:480, :640]
    centres = [(80 + 160 * row, 80 + 160 * column) for row in range(3) for column in range(4)]
    return torch.from_numpy(np.stack([np.hypot(y - cy, x - cx) < 45 for cy, cx in centres]))


def measure(preset: str, runs: int) -> dict[str, object]:
    """Median, smallest and 90th percentile of crop and encode together, in milliseconds."""
    segmenter = load_preset(preset)
    segmenter.warm_up()
    clip, options = segmenter.clip, segmenter.options
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (3, 480, 640), dtype=np.uint8)).float()
    masks = twelve_masks()
    wall: list[float] = []
    for _ in range(runs + 2):
        start = time.perf_counter()
        regions = crop_regions(image, masks, size=clip.size, fill=options.fill)
        with torch.no_grad():
            clip.encode_regions(regions.pixels, regions.masks)
        wall.append(1000 * (time.perf_counter() - start))
    ms = sorted(wall[2:])
    return {
        "preset": preset,
        "masks": MASKS,
        "runs": runs,
        "min_ms": ms[0],
        "median_ms": statistics.median(ms),
        "p90_ms": ms[int(0.9 * (len(ms) - 1))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "encoders.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"{'preset':>8} {'masks':>5}   wall ms: min median p90")
    rows = []
    for preset in ("mini", "lite"):
        row = measure(preset, arguments.runs)
        rows.append(row)
        print(
            f"{preset:>8} {MASKS:>5}   {row['min_ms']:8.1f}{row['median_ms']:8.1f}{row['p90_ms']:8.1f}",
            flush=True,
        )
    report = {
        "machine": {
            "processor": platform.processor(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "threads": arguments.threads,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
