"""Follows a recording: labels, flicker, switches of numbers, time; writes out/benchmark/tracking.json."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.maps import boxed_masks, mask_iou
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.tracking import TrackOptions, VideoSegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
SHOWS = 0.5  # IoU from which a mask shows a thing


@dataclass
class Story:
    """What one way told of each thing, from frame to frame; the truth is used here alone."""

    labels: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    flicker: int = 0
    switches: int = 0
    steps: int = 0
    wrong: int = 0
    shown: int = 0

    def tell(self, recorded: RecordedFrame, result: Segmentation, numbers: list[int]) -> None:
        """Compares with the frame before; things whose masks are found in both."""
        for thing, mask in things(recorded, result).items():
            label, number = result.name_of(mask), numbers[mask]
            self.shown += 1
            self.wrong += label != recorded.names[thing]
            if thing in self.labels:
                self.steps += 1
                self.flicker += self.labels[thing] != label
                self.switches += self.numbers[thing] != number
            self.labels[thing], self.numbers[thing] = label, number

    def cut(self) -> None:
        """Another scene begins."""
        self.labels, self.numbers = {}, {}


class ByOverlap:
    """Numbers without motion or looks: the mask of the frame before that overlaps most, from IoU 0.3."""

    def __init__(self) -> None:
        self.before: tuple[Any, list[int]] | None = None
        self.count = 0

    def __call__(self, result: Segmentation) -> list[int]:
        masks, numbers = boxed_masks(result.masks), [0] * len(result)
        if self.before is not None:
            iou = mask_iou(self.before[0], masks)
            for _ in range(min(iou.shape)):
                t, n = np.unravel_index(iou.argmax(), iou.shape)
                if iou[t, n] < 0.3:
                    break
                numbers[n] = self.before[1][t]
                iou[t], iou[:, n] = 0, 0
        for n, number in enumerate(numbers):
            if not number:
                self.count += 1
                numbers[n] = self.count
        self.before = masks, numbers
        return numbers


def things(recorded: RecordedFrame, result: Segmentation) -> dict[int, int]:
    """Thing -> the mask that shows it."""
    out = {}
    for n, mask in enumerate(result.masks.numpy()):
        inside, counts = np.unique(recorded.instances[mask], return_counts=True)
        thing = int(inside[counts.argmax()])
        truth = recorded.mask(thing)
        if thing and (mask & truth).sum() >= SHOWS * (mask | truth).sum():
            out[thing] = n
    return out


def mask_after_mask(segmenter: Any, frame: Any) -> None:
    """Mask after mask through the encoder, every frame."""
    candidates = segmenter.propose(frame)
    for mask in candidates.proposals.masks:
        segmenter.encode_masks(frame, mask[None])


def processor_ms(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.process_time()
    done = work()
    return done, 1000 * (time.process_time() - start)


def measure(preset: str, recording: Path, options: TrackOptions, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    segmenter = load_preset(preset)
    segmenter.warm_up()
    recorded = list(read_recording(recording))
    words = sorted({name for one in recorded for name in one.names.values()})
    vocabulary = Vocabulary.empty().replace(words)[0]
    segmenter.segment(recorded[0].frame, vocabulary)
    video, by_overlap = VideoSegmenter(segmenter, options), ByOverlap()
    stories = {"every frame anew": Story(), "video": Story()}
    times: dict[str, list[float]] = {
        "mask after mask": [],
        "every frame anew": [],
        "video": [],
        "of that, proposals": [],
    }
    masks = equal = encoded = shown = shown_equal = 0
    for one in recorded:
        _, ms = processor_ms(lambda one=one: mask_after_mask(segmenter, one.frame))
        times["mask after mask"].append(ms)
        anew, ms = processor_ms(lambda one=one: segmenter.segment(one.frame, vocabulary))
        times["every frame anew"].append(ms)
        followed, ms = processor_ms(lambda one=one: video.segment(one.frame, vocabulary))
        times["video"].append(ms)
        times["of that, proposals"].append(processor_ms(lambda one=one: segmenter.propose(one.frame))[1])
        if video.last.reset_reason:
            for story in stories.values():
                story.cut()
        stories["every frame anew"].tell(one, anew, by_overlap(anew))
        stories["video"].tell(one, followed, followed.track_ids.tolist())
        same = anew.label_index == followed.label_index
        visible = list(things(one, anew).values())
        masks, equal, encoded = masks + len(same), equal + int(same.sum()), encoded + video.last.encoded
        shown, shown_equal = shown + len(visible), shown_equal + int(same[visible].sum())
    mean = {name: statistics.mean(values) for name, values in times.items()}
    return {
        "preset": preset,
        "recording": recording.name,
        "frames": len(recorded),
        "threads": threads,
        "processor": machine()["processor"],
        "masks": masks,
        "labels_equal": equal / masks,
        "masks_of_things": shown,
        "labels_equal_on_things": shown_equal / shown,
        "encoded": encoded / masks,
        "stories": {
            name: {k: getattr(s, k) for k in ("steps", "flicker", "switches", "wrong", "shown")}
            for name, s in stories.items()
        },
        "processor_ms_per_frame": {name: round(value, 1) for name, value in mean.items()},
        "mask_after_mask_over_video": mean["mask after mask"] / mean["video"],
        "mask_after_mask_over_video_without_proposals": (mean["mask after mask"] - mean["of that, proposals"])
        / (mean["video"] - mean["of that, proposals"]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--recording", type=Path, default=ROOT / "demo" / "tabletop")
    parser.add_argument("--half-life", type=float, default=TrackOptions().half_life_s)
    parser.add_argument("--refresh", type=int, default=TrackOptions().refresh)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "tracking.json")
    arguments = parser.parse_args()
    options = TrackOptions(half_life_s=arguments.half_life, refresh=arguments.refresh)
    result = measure(arguments.preset, arguments.recording, options, arguments.threads)
    write_json(result, arguments.out)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
