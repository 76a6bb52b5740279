"""Times `classifier: pooled` against crops on one ConvNeXt, in turn, and writes out/benchmark/pooled.json.

Random weights: the cost does not depend on them. Times are processor time of one thread, the smallest of the
runs, on a frame of 640x480.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.pooled_clip import PooledClip, dense_size
from ovseg_ros.core.region_views import encode_views, region_views
from ovseg_ros.models.clip import architecture, build_network

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1, 8, 32, 64)


def some_masks(count: int) -> torch.Tensor:
    """(count, 480, 640) bool: disks of 20 to 120 pixels' radius."""
    rng = np.random.default_rng(count)
    y, x = np.mgrid[:480, :640]
    discs = [
        np.hypot(y - rng.integers(480), x - rng.integers(640)) < rng.integers(20, 120) for _ in range(count)
    ]
    return torch.from_numpy(np.stack(discs))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def measure(clip: PooledClip, count: int, runs: int) -> dict[str, float]:
    """Both ways over the same masks, one after the other."""
    frame, masks, options = Frame(_image()), some_masks(count), SegmenterOptions()
    clip.encode_regions(torch.zeros(1, 3, clip.size, clip.size))  # the first call is slower
    pooled, crops = [], []
    for _ in range(runs):
        pooled.append(seconds(lambda: clip.encode_pooled(frame.image_rgb, masks)))
        crops.append(
            seconds(
                lambda: encode_views(clip, region_views(frame, masks, clip.size, options), options.batch_size)
            )
        )
    return {
        "masks": count,
        "pooled_s": min(pooled),
        "crops_s": min(crops),
        "crops_over_pooled": min(crops) / min(pooled),
    }


def no_words(texts: list[str]) -> torch.Tensor:
    """In the tokenizer's place: nothing is named here."""
    raise NotImplementedError


def _image() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="convnext_tiny", help="open_clip's name")
    parser.add_argument("--side", type=int, default=640, help="pooled_side in pixels")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "pooled.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config, name, _ = architecture(arguments.model)
    network = build_network(config, name).eval().requires_grad_(False)
    clip = PooledClip(network, no_words, pooled_side=arguments.side)
    seen = dense_size((480, 640), arguments.side, clip.stride)
    print(f"{name}: crops {clip.size} x {clip.size}, one pass at {seen[1]} x {seen[0]}")
    rows = []
    for count in COUNTS:
        rows.append(row := measure(clip, count, arguments.runs))
        print(
            f"{count:>4} masks: pooled {row['pooled_s']:7.2f} s, crops {row['crops_s']:7.2f} s, "
            f"ratio {row['crops_over_pooled']:.2f}",
            flush=True,
        )
    report = {
        "machine": {"processor": platform.processor(), "torch": torch.__version__},
        "model": name,
        "crop_side": clip.size,
        "pass_hw": seen,
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
