"""What proposal networks cost with random weights: parameters, GFLOP, memory and processor time.

`python benchmark/proposal_costs.py [NAME ...] [--boxes 16] [--rounds 3] [--image-size 512]`, one thread, each
network in a process of its own. The time is processor time, the least of the rounds: what other programs take
is not in it, what they take of caches and of the memory's speed is. GFLOP are multiply-adds times two, as
torch.utils.flop_counter counts. Memory is what the process grew by, weights in float32 included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from ovseg_ros.models.sam import build_sam
from ovseg_ros.models.sam2 import MODELS, build_sam2
from ovseg_ros.proposals.sam.image_size import at_image_size
from ovseg_ros.proposals.sam.prompts import Prompts
from ovseg_ros.proposals.sam2.network import Sam2Network

OUT = Path("out/benchmark/proposal_costs.json")
NAMES = (*MODELS, "vit_b")  # the last is segment-anything's, to compare
SIZE_HW = (480, 640)


def asked(name: str, count: int, image_size: int | None) -> tuple[torch.nn.Module, Callable[[], Any], Any]:
    """A network, what encodes an image with it, and what asks it for `count` boxes then."""
    image = np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)
    steps = np.linspace(0, 0.7, count)
    boxes = np.stack([steps, steps, steps + 0.3, steps + 0.3], axis=1) * np.tile(SIZE_HW[::-1], 2)
    if name in MODELS:
        network = Sam2Network(build_sam2(name, image_size))
        prompts = Prompts(boxes, None, None)
        return (
            network.model,
            lambda: network.embed(image),
            lambda features: network.decode(features, prompts, SIZE_HW, multimask=False),
        )
    from segment_anything import SamPredictor

    predictor = SamPredictor(at_image_size(build_sam(name), image_size))
    scaled = predictor.transform.apply_boxes_torch(torch.from_numpy(boxes).float(), SIZE_HW)
    return (
        predictor.model,
        lambda: predictor.set_image(image),
        lambda _: predictor.predict_torch(None, None, boxes=scaled, multimask_output=False),
    )


def flops(name: str, count: int, image_size: int | None) -> dict[str, float]:
    """GFLOP of an image and of `count` boxes, counted without computing anything."""
    counted = {}
    with torch.device("meta"), torch.no_grad():
        if name in MODELS:
            model: Any = build_sam2(name, image_size)
            side = model.config.prompt_encoder_config.image_size
            boxes = torch.zeros(1, count, 4)
        else:
            model = at_image_size(build_sam(name), image_size)
            side, boxes = model.image_encoder.img_size, torch.zeros(count, 4)
        model.requires_grad_(False)
        with FlopCounterMode(display=False) as counter:
            pixels = torch.zeros(1, 3, side, side)
            given = model.get_image_embeddings(pixels) if name in MODELS else model.image_encoder(pixels)
        counted["image_gflop"] = counter.get_total_flops() / 1e9
        with FlopCounterMode(display=False) as counter:
            if name in MODELS:
                model(image_embeddings=given, input_boxes=boxes, multimask_output=False)
            else:
                prompts = model.prompt_encoder(points=None, boxes=boxes, masks=None)
                model.mask_decoder(given, model.prompt_encoder.get_dense_pe(), *prompts, False)
        counted["boxes_gflop"] = counter.get_total_flops() / 1e9
    return counted


def measured(name: str, count: int, rounds: int, image_size: int | None) -> dict[str, Any]:
    """One row."""
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network, encode, decode = asked(name, count, image_size)
    row: dict[str, Any] = {"name": name, "parameters_m": sum(p.numel() for p in network.parameters()) / 1e6}
    row |= flops(name, count, image_size)
    with torch.no_grad():
        seconds: dict[str, list[float]] = {"image": [], "boxes": []}
        for _ in range(rounds):
            start = time.process_time()
            given = encode()
            between = time.process_time()
            decode(given)
            seconds["image"].append(between - start)
            seconds["boxes"].append(time.process_time() - between)
    row |= {f"{key}_s": min(values) for key, values in seconds.items()}
    return row | {"memory_gb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 1e9}


def main() -> None:
    """Prints a table and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--boxes", type=int, default=16, help="prompts asked of one image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--image-size", type=int, help="side of the network's input, 1024 unless said")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.names[0], options.boxes, options.rounds, options.image_size)))
        return
    rows = []
    shared = ["--one", "--boxes", str(options.boxes), "--rounds", str(options.rounds)]
    if options.image_size:
        shared += ["--image-size", str(options.image_size)]
    print("| network | parameters, M | GFLOP image | GFLOP boxes | s image | s boxes | memory, GB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in options.names:
        command = [sys.executable, __file__, name, *shared]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        numbers = "{parameters_m:.1f} | {image_gflop:.0f} | {boxes_gflop:.1f} | {image_s:.1f} | {boxes_s:.2f}"
        print(f"| {name} | {numbers.format(**rows[-1])} | {rows[-1]['memory_gb']:.1f} |", flush=True)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
