"""`classifier: pooled` against crops, in cost and in accuracy; writes out/benchmark/pooled.json.

Cost, in turn on the same masks of a frame of 640x480: a ConvNeXt with random weights (cost does not depend
on them) and `lite`. Times are processor time of one thread, the smallest of the runs. Accuracy: `lite` on the
two recordings, the same masks and the same words both ways, by the measures of `ovseg evaluate demo`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.pooled_clip import MaskPooling, PooledClip, dense_size
from ovseg_ros.core.region_views import encode_views, region_views
from ovseg_ros.core.segmentation import EmbeddedFrame, Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.vocabulary import Vocabulary
from ovseg_ros.evaluate.demo import summarise
from ovseg_ros.evaluate.measures import measure
from ovseg_ros.evaluate.recording import RecordedFrame, read_recording
from ovseg_ros.models.clip import architecture, build_network
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
COUNTS = (1, 8, 16, 32, 64)
RECORDINGS = ("tabletop", "garage")
THRESHOLDS = (0.3, 0.5, 0.65, 0.8)


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
def cost(clip: Any, options: SegmenterOptions, count: int, runs: int) -> dict[str, float]:
    """Both ways over the same masks, one after the other."""
    frame, masks = Frame(_image()), some_masks(count)
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


def costs(name: str, clip: Any, options: SegmenterOptions, runs: int) -> dict[str, Any]:
    """`cost` at every number of masks, printed as it comes."""
    seen = dense_size((480, 640), clip.pooled_side, clip.stride)
    print(f"{name}: crops {clip.size} x {clip.size}, one pass at {seen[1]} x {seen[0]}")
    rows = []
    for count in COUNTS:
        rows.append(row := cost(clip, options, count, runs))
        print(
            f"{count:>4} masks: pooled {row['pooled_s']:7.3f} s, crops {row['crops_s']:7.3f} s, "
            f"ratio {row['crops_over_pooled']:.2f}",
            flush=True,
        )
    return {"model": name, "crop_side": clip.size, "pass_hw": seen, "rows": rows}


class Held:
    """A segmenter that embeds each frame once, for as many thresholds as one likes."""

    def __init__(self, segmenter: OpenVocabularySegmenter, options: SegmenterOptions) -> None:
        self.segmenter = segmenter
        self.options = options
        self.encode_s: list[float] = []
        self._held: dict[int, EmbeddedFrame] = {}

    def embed(self, frame: Frame) -> EmbeddedFrame:
        """By the options, once; the processor time of crop and encode goes to `encode_s`."""
        if id(frame) not in self._held:
            candidates = self.segmenter.propose(frame, self.options)
            start = time.process_time()
            rows = self.segmenter.encode_masks(frame, candidates.proposals.masks, self.options)
            self.encode_s.append(time.process_time() - start)
            self._held[id(frame)] = candidates.embedded(frame, rows, {"encode": self.encode_s[-1]})
        return self._held[id(frame)]

    def label(self, embedded: EmbeddedFrame, vocabulary: Vocabulary) -> Segmentation:
        """By the options as they are now."""
        return self.segmenter.label(embedded, vocabulary, self.options)


def accuracy(
    segmenter: OpenVocabularySegmenter, frames: Sequence[RecordedFrame], classifier: str
) -> dict[str, Any]:
    """Top-1 of a recording, which no threshold moves, and found and not found at several thresholds."""
    options = dataclasses.replace(segmenter.options, classifier=classifier)  # type: ignore[arg-type]
    held, at = Held(segmenter, options), {}
    for threshold in THRESHOLDS:
        held.options = dataclasses.replace(options, threshold=threshold)
        summary = summarise(measure(held, frames))
        at[str(threshold)] = {
            "asked_right": summary["asked"]["right"],
            "absent_not_found": summary["absent"]["not_found"],
        }
    return {
        "classifier": classifier,
        "scene": summary["scene"],
        "unseen": summary["unseen"],
        "asked_trials": summary["asked"]["trials"],
        "absent_trials": summary["absent"]["trials"],
        "masks_per_frame": summary["proposals"]["masks_per_frame"],
        "thresholds": at,
        "encode_ms": 1000 * float(np.median(held.encode_s)),
    }


def accuracies(segmenter: OpenVocabularySegmenter, sides: Sequence[int]) -> list[dict[str, Any]]:
    """Crops, and pooled at each side, on each recording; sides other than the first on the tabletop alone."""
    rows, clip = [], segmenter.clip
    assert isinstance(clip, MaskPooling)
    for recording in RECORDINGS:
        frames = list(read_recording(ROOT / "demo" / recording))
        for side in (None, *(sides if recording == "tabletop" else sides[:1])):
            if side is not None:
                clip.pooled_side = side
            row = accuracy(segmenter, frames, "clip" if side is None else "pooled")
            rows.append({"recording": recording, "pooled_side": side, **row})
            print(
                f"{recording:>9}, {'crops' if side is None else f'pooled {side}':>11}: "
                f"top-1 {_percent(row['scene']['top1'])} of {row['scene']['trials']}, "
                f"unseen words {_percent(row['unseen']['top1'])} of {row['unseen']['trials']}; "
                f"asked alone / absent at "
                + ", ".join(
                    f"{threshold}: {_percent(t['asked_right'])} / {_percent(t['absent_not_found'])}"
                    for threshold, t in row["thresholds"].items()
                )
                + f"; {row['encode_ms']:.0f} ms for {row['masks_per_frame']:.0f} masks",
                flush=True,
            )
    return rows


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def no_words(texts: list[str]) -> torch.Tensor:
    """In the tokenizer's place: nothing is named here."""
    raise NotImplementedError


def _image() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 255, (480, 640, 3), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=("convnext", "lite", "accuracy"), help="one part")
    parser.add_argument("--model", default="convnext_tiny", help="open_clip's name")
    parser.add_argument("--side", type=int, default=640, help="the ConvNeXt's pooled_side in pixels")
    parser.add_argument("--lite-sides", type=int, nargs="+", help="lite's, its own when left out")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "pooled.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "machine": {"processor": platform.processor(), "torch": torch.__version__},
        "cost": [],
    }
    if arguments.only in (None, "convnext"):
        config, name, _ = architecture(arguments.model)
        network = build_network(config, name).eval().requires_grad_(False)
        clip = PooledClip(network, no_words, pooled_side=arguments.side)
        report["cost"].append(costs(name, clip, SegmenterOptions(), arguments.runs))
    if arguments.only != "convnext":
        segmenter = load_preset("lite")
        sides = arguments.lite_sides or [segmenter.clip.pooled_side]  # type: ignore[attr-defined]
        if arguments.only in (None, "lite"):
            report["cost"].append(costs("lite", segmenter.clip, segmenter.options, arguments.runs))
        if arguments.only in (None, "accuracy"):
            report["accuracy"] = accuracies(segmenter, sides)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
