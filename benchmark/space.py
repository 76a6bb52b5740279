"""Twelve things in space: how long, beside the masks from depth of that frame; and how far from the truth.

Writes out/benchmark/space.json. Times are processor times, interleaved: on a busy machine read the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.maps import box_slices, boxed_masks, mask_iou
from ovseg_ros.core.space import find_up, object_points, objects_3d
from ovseg_ros.evaluate.naming.trials import MATCH_IOU
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.measures import MIN_PIXELS
from ovseg_ros.evaluate.recordings.objects import TrueObjects, read_objects
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording
from ovseg_ros.evaluate.recordings.space import SpaceCounts, count_space
from ovseg_ros.evaluate.recordings.tables import markdown_table
from ovseg_ros.evaluate.scores.match import best_matches, instance_masks
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
SEGMENTS = 12


def times(one: RecordedFrame, propose: Callable[[], Any], repeats: int) -> dict[str, dict[str, float]]:
    """Per way the smallest and the median processor time in milliseconds."""
    depth_m, camera = one.frame.depth_m, one.frame.intrinsics
    masks = [one.mask(int(i)) for i in np.unique(one.instances) if i]
    masks = (masks * SEGMENTS)[:SEGMENTS]
    parts = box_slices([boxed.box_xyxy for boxed in boxed_masks(np.stack(masks))])
    up = find_up(depth_m, camera)
    ways: dict[str, Callable[[], Any]] = {
        "masks from depth, the same frame": propose,
        "up, from the plane": lambda: find_up(depth_m, camera),
        "12 things, up given": lambda: objects_3d(depth_m, camera, masks, parts, up=up),
        "12 things, up found": lambda: objects_3d(depth_m, camera, masks, parts),
        "12 things' points": lambda: [
            object_points(depth_m, camera, mask, part) for mask, part in zip(masks, parts, strict=True)
        ],
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            taken[name].append(1000 * (time.process_time() - start))
    return {name: {"min": min(t), "median": statistics.median(t)} for name, t in taken.items()}


def errors(frames: list[RecordedFrame], truth: TrueObjects, segmenter: Any) -> SpaceCounts:
    counts = SpaceCounts()
    for one in frames:
        ids = [int(i) for i, n in zip(*np.unique(one.instances, return_counts=True)) if i and n >= MIN_PIXELS]
        masks = segmenter.propose(one.frame).proposals.masks
        matches = best_matches(mask_iou(masks, instance_masks(one.instances, ids)))
        own = [masks[m.proposal].numpy() if m.iou >= MATCH_IOU else None for m in matches]
        count_space(one, truth, ids, own, counts)
    return counts


def rows(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    names = sorted(figures["true_masks"]["per_word"])
    table = []
    for name in ("all that is fully visible", *names):
        cells = []
        for masks in ("true_masks", "own_masks"):
            of = (
                figures[masks]["fully_visible"] if name not in names else figures[masks]["per_word"].get(name)
            )
            if of is None or not of["trials"]:
                cells += ["-", "-", "-"]
                continue
            cells += [f"{1000 * of['centroid_m']:.1f}", f"{1000 * of['centre_m']:.1f}", f"{of['iou']:.2f}"]
        trials = figures["true_masks"]["per_word"][name]["trials"] if name in names else ""
        table.append((name, str(trials or figures["true_masks"]["fully_visible"]["trials"]), *cells))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, default=ROOT / "demo" / "tabletop")
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--repeats", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    segmenter = load_preset(arguments.preset)
    frames = list(read_recording(arguments.recording))
    taken = times(frames[0], lambda: segmenter.propose(frames[0].frame), arguments.repeats)
    first = taken["masks from depth, the same frame"]
    print(
        markdown_table(
            ("processor time", "least ms", "median ms", "of the masks'"),
            [
                (name, f"{t['min']:.1f}", f"{t['median']:.1f}", f"{t['min'] / first['min']:.2f}")
                for name, t in taken.items()
            ],
        )
    )
    truth = read_objects(arguments.recording)
    figures = errors(frames, truth, segmenter).to_dict() if truth is not None else None
    if figures is not None:
        head = ("thing", "frames", *(f"{masks}: {what}" for masks in ("true masks", "own masks")
                for what in ("centroid mm", "centre mm", "IoU")))  # fmt: skip
        print("\n" + markdown_table(head, rows(figures)))
    result = {"machine": machine(), "ms": taken, "errors": figures}
    write_json(result, ROOT / "out" / "benchmark" / "space.json")
    print(json.dumps(result["machine"]))


if __name__ == "__main__":
    main()
