"""Ten thousand frames through one VideoSegmenter: is memory flat?

    scripts/env.sh python benchmark/soak.py

The recording's frames, small, over and over, with what makes a tracker keep things: two cameras in turn,
cuts between scenes, time that jumps back, frames without a mask, words that change. Resident memory is
sampled; what counts is the second half of the run, by when caches are full. A robust line (Theil and Sen)
through those samples says what 10,000 frames would add; more than 1 % of what is held, and more than 2 MiB,
is called a leak and ends with 1.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.app.bench.cases import vocabulary_of
from ovseg_ros.app.bench.clock import memory_bytes
from ovseg_ros.app.web.images import shrink
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.tracking import TrackOptions, VideoSegmenter
from ovseg_ros.evaluate.recordings.demo import recording_folder, write_json
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
LIMIT_SHARE, LIMIT_BYTES = 0.01, 2 << 20
SAID = {True: "flat", False: "NOT FLAT", None: "too few frames to judge"}
LEAST_FRAMES = 2000  # fewer say nothing: caches are still filling
PERIOD_NS = 33_333_333
WORDS = ("teapot", "mug", "bowl", "plate", "book", "basket", "soup can", "wine bottle", "shelf", "tray")


def endless(frames: Sequence[Frame], seed: int = 0) -> Iterator[Frame]:
    """The frames there and back for ever, as fresh copies with a camera's noise, and what upsets trackers."""
    rng, stamp = np.random.default_rng(seed), 0
    there_and_back = itertools.cycle([*frames, *reversed(frames)])
    for number, frame in enumerate(there_and_back):
        stamp += PERIOD_NS
        if number % 997 == 996:
            stamp -= 60 * PERIOD_NS  # time goes back, as where a recording starts anew
        if number % 701 == 700:
            stamp += 300 * PERIOD_NS  # and forth
        noise = rng.integers(0, 4, frame.image_rgb.shape, dtype=np.uint8)
        image = cv2.add(frame.image_rgb, noise)
        depth = None if frame.depth_m is None else frame.depth_m.copy()
        if number % 331 == 330:
            image = np.zeros_like(image)  # the lens is covered
            depth = None if depth is None else np.zeros_like(depth)
        camera = "right" if number % 50 >= 45 else "left"
        yield replace(frame, image_rgb=image, depth_m=depth, stamp_ns=max(stamp, 1), frame_id=camera)


def slope_per_frame(at: Sequence[int], values: Sequence[float]) -> float:
    """The median slope between all pairs of samples (Theil and Sen): a few high ones do not tilt it."""
    pairs = itertools.combinations(zip(at, values, strict=True), 2)
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in pairs if j != i]
    return statistics.median(slopes) if slopes else 0.0


def verdict(at: Sequence[int], resident: Sequence[int], frames: int = 10_000) -> dict[str, Any]:
    """What the second half of the samples says; see the module's text."""
    half = len(at) // 2
    growth = slope_per_frame(at[half:], resident[half:]) * frames
    held = statistics.median(resident[half:])
    flat = bool(growth <= max(LIMIT_SHARE * held, LIMIT_BYTES)) if at[-1] >= LEAST_FRAMES else None
    return {
        "growth_bytes": round(growth),
        "growth_share": growth / held,
        "resident_mib": held / 2**20,
        "highest_mib": max(resident[half:]) / 2**20,
        "flat": flat,
    }


def soak(segmenter: Any, frames: Sequence[Frame], count: int, every: int) -> dict[str, Any]:
    """Runs `count` frames and samples memory, tracks and objects."""
    video = VideoSegmenter(segmenter, TrackOptions())
    segmenter.warm_up()
    at: list[int] = []
    resident: list[int] = []
    objects: list[int] = []
    masks, started = 0, time.perf_counter()
    for number, frame in enumerate(itertools.islice(endless(frames), count), start=1):
        asked = [WORDS[(number // 25 + i) % len(WORDS)] for i in range(1 + number // 25 % 4)]
        segmentation = video.segment(frame, vocabulary_of(asked))
        segmentation.semantic()
        masks += len(segmentation)
        if number % every == 0:
            gc.collect()
            at.append(number)
            resident.append(memory_bytes("VmRSS") or 0)
            objects.append(len(gc.get_objects()))
            if sys.stderr.isatty() or number % (10 * every) == 0:
                print(
                    f"{number}/{count}: {resident[-1] / 2**20:.1f} MiB, {objects[-1]} objects",
                    file=sys.stderr,
                    flush=True,
                )
    seconds = time.perf_counter() - started
    return {
        "frames": count,
        "frames_per_s": count / seconds,
        "masks": masks,
        "at": at,
        "resident_bytes": resident,
        "objects": objects,
        "objects_per_10000_frames": slope_per_frame(at[len(at) // 2 :], objects[len(at) // 2 :]) * 10_000,
        **verdict(at, resident),
    }


def main() -> int:
    """Measures, prints and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=50, help="frames between two samples")
    parser.add_argument("--width", type=int, default=160, help="of the frames at most, pixels")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--recording", default="demo/tabletop")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch and OpenCV")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "soak.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    frames = [shrink(one.frame, options.width) for one in read_recording(recording_folder(options.recording))]
    found = soak(load_preset(options.preset, device=options.device), frames, options.frames, options.every)
    found["made_with"] = made_with(command=["soak.py", *sys.argv[1:]], preset=options.preset)
    found["width"], found["load"] = options.width, os.getloadavg()[0]
    write_json(found, options.out)
    print(
        f"{found['frames']} frames, {found['masks']} masks, {found['frames_per_s']:.1f} frames/s\n"
        f"resident {found['resident_mib']:.1f} MiB in the second half, at most {found['highest_mib']:.1f}; "
        f"{found['growth_bytes'] / 2**20:+.3f} MiB ({100 * found['growth_share']:+.3f} %) and "
        f"{found['objects_per_10000_frames']:+.0f} Python objects per 10,000 frames\n"
        f"{SAID[found['flat']]}; written: {options.out}"
    )
    return 1 if found["flat"] is False else 0


if __name__ == "__main__":
    raise SystemExit(main())
