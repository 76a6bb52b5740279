"""Crops and encoders on the same masks, interleaved in one run; writes out/benchmark/encoders.json.

    scripts/env.sh python benchmark/encoders.py
    scripts/env.sh python benchmark/encoders.py lite convnext_tiny --masks 8 32 --threads 1

Per number of masks on a made-up frame of 640x480: `crop_regions` as it is on a CPU, mask after mask, and as
it is on a graphics card, all masks together; then crop and encode by each encoder, and `classifier: pooled`
where it is a convolutional network. An encoder is a preset, or a ConvNeXt of open_clip with random weights
(what it costs does not depend on them).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch

from ovseg_ros.app.bench.clock import Stages, Variant, interleave, ratios
from ovseg_ros.app.bench.scene import GivenMasks, made_up_frame, made_up_masks
from ovseg_ros.core.encoders import PooledClip, can_pool
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import crop as regions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.evaluate.recordings.demo import write_json
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.models.clip import architecture, build_network
from ovseg_ros.models.presets import list_presets, load_preset

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
SIZE_HW = (480, 640)


def crop_variants(masks: torch.Tensor, side: int = 224) -> dict[str, Variant]:
    """Both ways to crop; the first is what a CPU is given."""

    def together(frame: Frame) -> Stages:
        image = torch.from_numpy(frame.image_rgb).permute(2, 0, 1)
        boxes_xyxy, keep = regions.mask_boxes(masks)
        regions._crop_together(image, masks, boxes_xyxy, keep, side, "mean", regions.MEMORY_BUDGET)
        return {}

    def one_by_one(frame: Frame) -> Stages:
        regions.crop_regions(torch.from_numpy(frame.image_rgb).permute(2, 0, 1), masks, size=side)
        return {}

    return {"crops one by one": one_by_one, "crops together": together}


def encoder(name: str) -> tuple[Any, SegmenterOptions]:
    """A preset's encoder and options, or a ConvNeXt of open_clip with random weights."""
    if name in list_presets():
        segmenter = load_preset(name)
        segmenter.warm_up()
        return segmenter.clip, segmenter.options
    config, model, _ = architecture(name)
    network = build_network(config, model).eval().requires_grad_(False)
    if not can_pool(network):
        raise SystemExit(
            f"expected a preset or a convolutional network of open_clip, got {name}; see ovseg bench"
        )
    return PooledClip(network, no_words, pooled_side=640), SegmenterOptions()


def no_words(texts: list[str]) -> torch.Tensor:
    """In the tokenizer's place: nothing is named here."""
    raise NotImplementedError


def encoder_variants(
    name: str, clip: Any, options: SegmenterOptions, masks: torch.Tensor
) -> dict[str, Variant]:
    """Crop and encode, and one pass over the whole picture where the encoder can."""
    every_mask = dataclasses.replace(options, max_masks=10_000, min_mask_pixels=1)
    segmenter = OpenVocabularySegmenter(GivenMasks(masks), clip, every_mask)

    def variant(classifier: str) -> Variant:
        chosen = dataclasses.replace(every_mask, classifier=classifier)  # type: ignore[arg-type]
        return lambda frame: segmenter.embed(frame, chosen).timings

    found = {name: variant("clip")}
    if hasattr(clip, "encode_pooled"):
        found[f"{name}, pooled"] = variant("pooled")
    return found


def measure(
    make: Callable[[torch.Tensor], dict[str, Variant]], counts: Sequence[int], rounds: int
) -> list[Any]:
    """One row per number of masks and variant, printed as it comes; ratios are to the first variant."""
    rows, frame = [], made_up_frame(SIZE_HW)
    for count in counts:
        variants = make(made_up_masks(count, SIZE_HW))
        with torch.no_grad():
            timings = interleave(variants, [frame], rounds=rounds, device=CPU)
        first = timings[next(iter(variants))]
        for name, timing in timings.items():
            row = {"masks": count, "variant": name, **timing.figures(), "times_first": ratios(timing, first)}
            print(
                f"{count:>6} {name:<28}{row['ms']['median']:>10.1f}{row['processor_ms']['median']:>14.1f}"
                f"{row['times_first']['processor']:>8.2f}",
                flush=True,
            )
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoders", nargs="*", default=["mini", "lite"])
    parser.add_argument("--masks", type=int, nargs="+", default=[12, 64])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch and OpenCV")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "encoders.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    print(f"{'masks':>6} {'':<28}{'ms, median':>10}{'processor ms':>14}{'times':>8}")
    rows = measure(crop_variants, options.masks, options.rounds)
    for name in options.encoders:
        clip, chosen = encoder(name)
        rows += measure(
            lambda masks, name=name, clip=clip, chosen=chosen: encoder_variants(name, clip, chosen, masks),
            options.masks,
            options.rounds,
        )
    report = {
        "made_with": made_with(command=["encoders.py", *sys.argv[1:]]),
        "threads": options.threads,
        "rows": rows,
    }
    write_json(report, options.out)


if __name__ == "__main__":
    main()
