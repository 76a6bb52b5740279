"""Crops and their encoding, several ways in one run; writes out/benchmark/regions.json.

Ways of cropping: `whole` blanks the whole picture for each mask and then cuts, `box` cuts and then blanks
(both in torch, mask after mask), `one by one` is what `crop_regions` does on a CPU, `together` what it does
on a device. Then whether the labels of recordings are the same in 16 bits. Last a cold frame after its
proposals, crops and encoding: `whole` and float32 against `crop_regions` and the image tower as
`core.accelerate` runs it. Weights of --model are random: cost does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench_clock import alternate, ratios, spread
from ovseg_ros.app.bench_naive import crop as crop_boxes
from ovseg_ros.app.bench_scene import made_up_frame, made_up_masks, random_clip
from ovseg_ros.core import regions
from ovseg_ros.core.accelerate import AccelerateOptions, accelerate
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.region_views import encode_views
from ovseg_ros.core.vocabulary import Vocabulary
from ovseg_ros.evaluate.recording import read_recording
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
SIZES_HW = ((480, 640), (720, 1280))
COUNTS = (8, 64)


def blank_whole_then_cut(frame: Frame, masks: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,3,S,S) pixels and (N,1,S,S) masks, the background of the whole picture filled for each mask."""
    image = torch.from_numpy(frame.image_rgb).permute(2, 0, 1).float()
    mean, std = (255 * torch.tensor(c)[:, None, None] for c in (regions.CLIP_MEAN, regions.CLIP_STD))
    pixels, small = [], []
    for mask in masks:
        ys, xs = mask.nonzero(as_tuple=True)
        y, x = slice(int(ys.min()), int(ys.max()) + 1), slice(int(xs.min()), int(xs.max()) + 1)
        inside = mask[None].float()
        blanked = image * inside + mean * (1 - inside)
        region = (blanked[None, :, y, x] - mean) / std
        pixels.append(F.interpolate(region, (size, size), mode="bicubic", align_corners=False))
        small.append(F.interpolate(inside[None, :, y, x], (size, size), mode="nearest"))
    return torch.cat(pixels), torch.cat(small)


def ours(frame: Frame, masks: torch.Tensor, size: int, *, together: bool = False) -> regions.Regions:
    """`crop_regions`, or what it does where it is not on a CPU."""
    image = torch.from_numpy(frame.image_rgb).permute(2, 0, 1)
    if not together:
        return regions.crop_regions(image, masks, size=size)
    boxes_xyxy, keep = regions.mask_boxes(masks)
    return regions._crop_together(image, masks, boxes_xyxy, keep, size, "mean", regions.MEMORY_BUDGET)


def _no_stages(work: Callable[[], Any]) -> dict[str, float]:
    work()
    return {}


def compare(
    works: dict[str, Callable[[], Any]], slow: str, runs: int, budget_s: float | None = None, **how: int
) -> dict[str, Any]:
    """Median wall and processor time of each way in milliseconds, and how many times longer `slow` takes."""
    ways = {name: partial(_no_stages, work) for name, work in works.items()}
    timings = alternate(ways, runs=runs, device=torch.device("cpu"), budget_s=budget_s, **how)
    return {
        name: {
            "wall_ms": spread(timing.seconds, 1000.0),
            "processor_ms": spread(timing.processor_s, 1000.0),
            "ratio": ratios(timings[slow], timing),
        }
        for name, timing in timings.items()
    }


def measure_crops(size: int, runs: int) -> list[dict[str, Any]]:
    """Every way of cropping, over sizes of image and numbers of masks."""
    rows = []
    for size_hw in SIZES_HW:
        frame = made_up_frame(size_hw)
        for count in COUNTS:
            masks = made_up_masks(count, size_hw)
            works = {
                "whole": partial(blank_whole_then_cut, frame, masks, size),
                "box": partial(crop_boxes, frame, masks, size),
                "one by one": partial(ours, frame, masks, size),
                "together": partial(ours, frame, masks, size, together=True),
            }
            rows.append({"size_hw": size_hw, "masks": count, "ways": compare(works, "whole", runs)})
            show(f"{count} crops of {size_hw[1]}x{size_hw[0]}", rows[-1]["ways"])
    return rows


def measure_cold(model: str, count: int, runs: int, budget_s: float) -> dict[str, Any]:
    """A cold frame's crops and encoding: the plain way, ours in float32, and ours in 16 bits."""
    frame, masks = made_up_frame((720, 1280)), made_up_masks(count, (720, 1280))
    clip = random_clip(model)
    auto = accelerate(clip, AccelerateOptions(precision="auto", check_regions=0), torch.device("cpu"))

    def plain() -> torch.Tensor:
        with torch.no_grad():
            pixels, _ = blank_whole_then_cut(frame, masks, clip.size)
            return F.normalize(clip.clip_model.encode_image(pixels), dim=-1)

    def fast(encoder: Any) -> torch.Tensor:
        found = ours(frame, masks, clip.size)
        return encode_views(encoder, [(found.pixels, found.masks)], 64)

    precision = getattr(auto, "precision", "fp32")
    works = {
        "plain": plain,
        "ours, fp32": partial(fast, clip),
        f"ours, auto: {precision}": partial(fast, auto),
    }
    ways = compare(works, "plain", runs, budget_s, warm_ups=0)
    show(f"cold frame, {model}, {count} masks", ways)
    found = ours(frame, masks[:8], clip.size).pixels  # so few do for this
    with torch.no_grad():
        pair = [encode_views(encoder, [(found, None)], 8) for encoder in (clip, auto)]
    cosine = float((pair[0] * pair[1]).sum(dim=1).min())
    print(f"smallest cosine of a region's embeddings, fp32 and {precision}: {cosine:.5f}")
    return {"model": model, "masks": count, "precision": precision, "ways": ways, "cosine": cosine}


def measure_labels(recording: Path, precision: str) -> dict[str, Any]:
    """Labels of `mini` on a recording in 16 bits against 32, over all the names the recording has."""
    segmenter = load_preset("mini")
    options = AccelerateOptions(precision=precision, check_regions=0)  # type: ignore[arg-type]
    fast = accelerate(segmenter.clip, options, torch.device("cpu"))
    masks = same = 0
    largest, cosine = 0.0, 1.0
    for recorded in read_recording(recording):
        vocabulary, _ = Vocabulary.empty().replace(sorted(set(recorded.names.values())))
        found = segmenter.embed(recorded.frame)
        exact = segmenter.label(found, vocabulary)
        whole, segmenter.clip = segmenter.clip, fast
        short_frame = segmenter.embed(recorded.frame)
        short = segmenter.label(short_frame, vocabulary)
        segmenter.clip = whole
        masks += len(exact.masks)
        same += int((exact.label_index == short.label_index).sum())
        if len(exact.masks):
            largest = max(largest, float((exact.probs - short.probs).abs().max()))
            cosine = min(cosine, float((found.embeddings * short_frame.embeddings).sum(dim=1).min()))
    share = same / max(masks, 1)
    print(
        f"{recording.name}, mini in {precision}: {100 * share:.2f} % of {masks} labels as in fp32, "
        f"probabilities within {largest:.4f}, cosines >= {cosine:.5f}"
    )
    return {
        "recording": recording.name,
        "masks": masks,
        "same": share,
        "probability": largest,
        "cosine": cosine,
    }


def show(title: str, ways: dict[str, Any]) -> None:
    """One line per way."""
    print(f"{title}\n{'':28}{'wall ms':>10}{'processor ms':>14}{'x faster':>10}{'processor x':>13}")
    for name, way in ways.items():
        figures = [way[kind]["median"] for kind in ("wall_ms", "processor_ms", "ratio")]
        print(
            f"{name:>28}{figures[0]:10.1f}{figures[1]:14.1f}{figures[2]:10.2f}{way['ratio']['processor']:13.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="ViT-B-16", help="architecture of open_clip; '' leaves it out")
    parser.add_argument("--masks", type=int, default=64, help="of the cold frame")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for the cold frame")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "regions.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    report: dict[str, Any] = {
        "machine": {"processor": platform.processor(), "torch": torch.__version__},
        "threads": arguments.threads,
        "crops": measure_crops(224, arguments.runs),
        "labels": [measure_labels(ROOT / "demo" / name, "bf16") for name in ("tabletop", "garage")],
    }
    if arguments.model:
        report["cold"] = measure_cold(arguments.model, arguments.masks, arguments.runs, arguments.budget)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written: {arguments.out}")


if __name__ == "__main__":
    main()
