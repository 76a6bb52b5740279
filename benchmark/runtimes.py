"""Image towers and the colour mask network by each runtime that is here, interleaved in one run.

    scripts/env.sh python benchmark/runtimes.py
    scripts/env.sh python benchmark/runtimes.py lite colour_masks --rounds 9 --threads 2

Each network's first variant is torch in float32; the others are what is installed. The ratios are medians
over rounds, by wall clock and by processor time of all threads; on a busy machine read the second. Programs
are kept in out/benchmark/engines, figures in out/benchmark/runtimes.json. ViT-B-16 has random weights: its
cost does not depend on them, and its agreement would say nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from ovseg_ros.app.bench.clock import Stages, Variant, interleave, ratios
from ovseg_ros.app.bench.scene import made_up_frame
from ovseg_ros.core.encoders import AccelerateOptions, MaskPromptedClip, accelerate
from ovseg_ros.core.encoders.agreement import check_regions
from ovseg_ros.core.frame import Frame
from ovseg_ros.evaluate.recordings.demo import write_json
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.models.bundled.colour_masks import load_colour_masks
from ovseg_ros.models.bundled.lite import load_lite
from ovseg_ros.models.clip import architecture, build_network
from ovseg_ros.models.engines import EngineFolder, bundled_photographs
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")
RUNTIMES = ("torch", "onnxruntime", "openvino")
SIZE_HW = (480, 640)
REGIONS = {"lite": 4, "ViT-B-16": 16}
"""In a batch: what the preset says, and what was wanted."""

Made = dict[str, tuple[Variant, str]]


def towers(name: str, store: EngineFolder) -> Made:
    """An image tower by each runtime that is here, and how its labels agree with torch's."""
    if name == "lite":
        encoder = load_lite()
    else:
        config, model, _ = architecture(name)
        network = build_network(config, model).eval().requires_grad_(False)
        encoder = MaskPromptedClip(network, no_words)
    pixels, masks = check_regions(REGIONS[name], encoder.size)
    made: Made = {}
    for runtime in RUNTIMES:
        checked = 8 if name == "lite" else 0
        options = AccelerateOptions(runtime=runtime, check_regions=checked)
        one = accelerate(encoder, options, CPU, store, bundled_photographs())
        if runtime != "torch" and getattr(one, "runtime", "torch") != runtime:
            continue
        report = str(getattr(one, "report", None) or "")
        made[runtime] = (_run(lambda one=one: one.encode_regions(pixels, masks)), report)
    return made


def colour_masks(store: EngineFolder) -> Made:
    """The colour mask network by each runtime that is here, and how its masks agree with torch's."""
    frame, parts, made = made_up_frame(SIZE_HW), load_colour_masks(), {}
    for runtime in RUNTIMES:
        options = ColourMasksOptions(precision="fp32", runtime=runtime)
        one = ColourMasks(*parts, options, store=store, pictures=bundled_photographs())
        one.cells(frame.image_rgb)
        if one.runtime == runtime:
            made[runtime] = (_run(lambda one=one: one.cells(frame.image_rgb)), str(one.report or ""))
    return made


def no_words(texts: list[str]) -> torch.Tensor:
    """In the tokenizer's place: nothing is named here."""
    raise NotImplementedError


def _run(call: Callable[[], object]) -> Variant:
    def variant(frame: Frame) -> Stages:
        call()
        return {}

    return variant


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=["lite", "colour_masks", "ViT-B-16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch and of the runtimes")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "runtimes.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    store = EngineFolder(options.out.parent / "engines")
    rows = []
    print(f"{'network':<14}{'runtime':<14}{'ms, median':>11}{'torch / it':>11}{'processor':>10}")
    for name in options.networks:
        with torch.no_grad():
            made = colour_masks(store) if name == "colour_masks" else towers(name, store)
            variants = {runtime: variant for runtime, (variant, _) in made.items()}
            timings = interleave(variants, [made_up_frame(SIZE_HW)], rounds=options.rounds, device=CPU)
        for runtime, timing in timings.items():
            times = ratios(timings["torch"], timing)
            row = {"network": name, "runtime": runtime, **timing.figures(), "torch_over_it": times}
            rows.append(row | {"agreement": made[runtime][1]})
            print(
                f"{name:<14}{runtime:<14}{row['ms']['median']:>11.1f}{times['median']:>11.2f}"
                f"{times['processor']:>10.2f}  {made[runtime][1]}",
                flush=True,
            )
    write_json(
        {
            "made_with": made_with(command=["runtimes.py", *sys.argv[1:]]),
            "threads": options.threads,
            "rows": rows,
        },
        options.out,
    )


if __name__ == "__main__":
    main()
