"""Image towers and the colour mask network by each runtime that is here, interleaved in one run.

    scripts/env.sh python benchmark/runtimes.py
    scripts/env.sh python benchmark/runtimes.py lite colour_masks --rounds 9 --threads 2
    scripts/env.sh python benchmark/runtimes.py lite mini --int8 CALIBRATE --pictures PICTURES
    scripts/env.sh python benchmark/runtimes.py ViT-B-16 --int8 CALIBRATE
    scripts/env.sh python benchmark/runtimes.py sam512 sam2 edgetam maskformer

`sam512` is the image encoder of Segment Anything's ViT-B at 512 pixels, `sam2` and `edgetam` those of SAM 2.1
tiny and EdgeTAM, `maskformer` the paper's whole network with Swin-B on an image of 640x480.

Each network's first variant is torch in float32; the others are what is installed, in bf16 too where the
processor computes in it, whether they agree or not. The ratios are medians over rounds, by wall clock and by
processor time of all threads; on a busy machine read the second. Agreement is what the check at the start
finds on its own regions and the bundled photographs, or on those of --pictures. Programs are kept in
out/benchmark/engines, figures in out/benchmark/runtimes.json. All but lite, mini and colour_masks have random
weights: what they cost does not depend on them, and agreement would say nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.app.bench.clock import Stages, Variant, interleave, ratios
from ovseg_ros.app.bench.scene import made_up_frame
from ovseg_ros.core.device import Network, under_autocast
from ovseg_ros.core.encoders import AccelerateOptions, AgreementReport, MaskPromptedClip, accelerate
from ovseg_ros.core.encoders.agreement import check_agreement, check_regions, picture_regions
from ovseg_ros.core.engines import Job, choose_runtime, run_elsewhere
from ovseg_ros.core.frame import Frame
from ovseg_ros.evaluate.recordings.demo import write_json
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.files.pictures import read_image
from ovseg_ros.models.bundled.colour_masks import load_colour_masks
from ovseg_ros.models.bundled.lite import load_lite
from ovseg_ros.models.bundled.mini import load_mini
from ovseg_ros.models.clip import architecture, build_network
from ovseg_ros.models.engines import EngineFolder, bundled_photographs
from ovseg_ros.models.maskformer.config import CONFIGS
from ovseg_ros.models.maskformer.network import build_ovseg_maskformer
from ovseg_ros.models.sam import build_sam
from ovseg_ros.models.sam2 import build_sam2
from ovseg_ros.proposals.agreement import Ask, check_masks
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions
from ovseg_ros.proposals.colour.agreement import check_image, of_cells
from ovseg_ros.proposals.colour.network import Cells, WithBackbone, said_cells
from ovseg_ros.proposals.colour.proposer import network_input
from ovseg_ros.proposals.maskformer_runtime import InParts
from ovseg_ros.proposals.sam.image_size import at_image_size
from ovseg_ros.proposals.sam2.network import Sam2Network
from ovseg_ros.proposals.sam2.runtime import ImageEncoder

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "benchmark")]
from int8 import Rows, by_nncf, by_onnxruntime  # noqa: E402

CPU = torch.device("cpu")
VARIANTS = (
    ("torch", "fp32"), ("torch", "bf16"), ("onnxruntime", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")
)  # fmt: skip
SIZE_HW = (480, 640)
REGIONS = {"lite": 4}
"""In a batch: what the preset says; 16 of the others."""
EACH, CALIBRATED = 2, 100
"""Squares of a picture; rows that 8 bits are calibrated on."""

Pictures = Sequence[npt.NDArray[np.uint8]]
Made = dict[str, tuple[Variant, AgreementReport | None]]


def towers(name: str, store: EngineFolder, pictures: Pictures, calibrate: Pictures) -> Made:
    """An image tower by each runtime that is here, and how its labels agree with torch's."""
    if name in ("lite", "mini"):
        encoder: Any = load_lite() if name == "lite" else load_mini().eval().requires_grad_(False)
    else:
        config, model, _ = architecture(name)
        network = build_network(config, model).eval().requires_grad_(False)
        encoder = MaskPromptedClip(network, no_words)
    batch = check_regions(REGIONS.get(name, 16), encoder.size)
    checked = [check_regions(8, encoder.size), *picture_regions(pictures, encoder.size, EACH)]
    networks: dict[str, Network] = {}
    for runtime, precision in VARIANTS:
        options = AccelerateOptions(precision=precision, runtime=runtime, check_regions=0)
        one = accelerate(encoder, options, CPU, store)
        if getattr(one, "runtime", "torch") == runtime:
            networks[f"{runtime} {precision}"] = one.encode_regions
    if calibrate:
        rows = [row for part in picture_regions(calibrate, encoder.size, EACH) for row in zip(*part)]
        job = Job(encoder, tuple(part[:1] for part in batch), "fp32", CPU, torch.get_num_threads())
        shuffled = np.random.default_rng(0).permutation(len(rows))[:CALIBRATED]
        networks |= in_8_bits(job, [tuple(part[None] for part in rows[n]) for n in shuffled], name != "lite")
    exact = networks["torch fp32"]
    return {
        what: (
            _run(lambda network=network: network(*batch)),
            None
            if network is exact or name not in ("lite", "mini")
            else check_agreement(encoder, exact, network, precision=what, regions=checked, least=0.995),
        )
        for what, network in networks.items()
    }


def colour_masks(store: EngineFolder, pictures: Pictures, calibrate: Pictures) -> Made:
    """The colour mask network by each runtime that is here, and how its masks agree with torch's."""
    frame, parts, made = made_up_frame(SIZE_HW), load_colour_masks(), Made()
    networks: dict[str, Callable[[Any], Cells]] = {}
    for runtime, precision in VARIANTS:
        options = ColourMasksOptions(precision=precision, runtime=runtime, min_agreement=0)
        one = ColourMasks(*parts, options, store=store)
        one.prepare(SIZE_HW)
        if one.programs.runtime == runtime:
            networks[f"{runtime} {precision}"] = one.cells
    if calibrate:
        rows = [(network_input(picture, SIZE_HW[0]),) for picture in _of_one_size(calibrate[:CALIBRATED])]
        job = Job(WithBackbone(*parts), rows[0], "fp32", CPU, torch.get_num_threads(), rows=False)
        for what, network in in_8_bits(job, rows, False).items():
            networks[what] = lambda image, network=network: said_cells(
                network(network_input(image, SIZE_HW[0]))
            )
    exact = networks["torch fp32"]
    seen = [torch.from_numpy(picture) for picture in (check_image(SIZE_HW), *_of_one_size(pictures))]
    for what, look in networks.items():
        report = None
        if look is not exact:
            report = check_masks(_asks(exact, look), seen, what=what, least=0.995)
        made[what] = (_run(lambda look=look: look(frame.image_rgb)), report)
    return made


def _asks(exact: Callable[[Any], Cells], look: Callable[[Any], Cells]) -> Ask:
    """`of_cells` of pictures in the place of pixels; they are not scaled, so the numbers are the same."""
    ask = of_cells(lambda one: exact(one.numpy()), lambda one: look(one.numpy()))
    return ask


def mask_network(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A proposal network with random weights, or the part of it that runs elsewhere, and its input."""
    size_hw: tuple[int, int]
    if name == "maskformer":
        network: nn.Module = InParts(build_ovseg_maskformer(CONFIGS["swin_base"]))
        size_hw = (640, 864)  # what 640x480 is scaled and padded to
    elif name in ("sam2", "edgetam"):
        model = build_sam2("tiny" if name == "sam2" else name)
        inside = Sam2Network(model)
        network, size_hw = ImageEncoder(inside, model), (inside.side, inside.side)
    else:
        side = int(name.removeprefix("sam"))
        network, size_hw = at_image_size(build_sam("vit_b"), side).image_encoder, (side, side)
    pixels = torch.randn(1, 3, *size_hw, generator=torch.Generator().manual_seed(0))
    return network.requires_grad_(False), pixels


def masks_of(name: str, store: EngineFolder) -> Made:
    """A proposal network by each runtime that is here."""
    network, pixels = mask_network(name)
    made = Made()
    for runtime, precision in VARIANTS:
        job = Job(network, (pixels,), precision, CPU, torch.get_num_threads(), rows=False)
        program: Network | None = under_autocast(network, precision, CPU)
        if runtime != "torch":
            program = None
            if choose_runtime(runtime, CPU, name) == runtime:
                program = run_elsewhere(runtime, job, store, name)
        if program is not None:
            made[f"{runtime} {precision}"] = (_run(lambda program=program: program(pixels)), None)
    return made


def _of_one_size(pictures: Pictures) -> list[npt.NDArray[np.uint8]]:
    return [cv2.resize(picture, SIZE_HW[::-1]) for picture in pictures]


def in_8_bits(job: Job, rows: Rows, transformer: bool) -> dict[str, Network]:
    """The network in 8 bits by both tools."""
    return {
        "openvino int8": by_nncf(job, rows, transformer=transformer),
        "onnxruntime int8": by_onnxruntime(job, rows),
    }


def read_pictures(folder: Path) -> Pictures:
    """Those of a folder, by name."""
    return [read_image(file) for file in sorted(folder.glob("*.jpg"))]


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
    parser.add_argument("--int8", type=Path, metavar="DIR", help="8 bits too, calibrated on its pictures")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="to measure agreement on (bundled ones)")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "runtimes.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    store = EngineFolder(options.out.parent / "engines")
    pictures = bundled_photographs() if options.pictures is None else read_pictures(options.pictures)
    calibrate = [] if options.int8 is None else read_pictures(options.int8)
    rows = []
    head = f"{'network':<14}{'runtime':<18}{'ms, median':>11}{'torch / it':>11}{'processor':>10}"
    print(f"{head}  labels that agree (are the same), cosine")
    for name in options.networks:
        with torch.no_grad():
            if name == "colour_masks":
                made = colour_masks(store, pictures, calibrate)
            elif name in ("edgetam", "maskformer") or name.startswith("sam"):
                made = masks_of(name, store)
            else:
                made = towers(name, store, pictures, calibrate)
            variants = {runtime: variant for runtime, (variant, _) in made.items()}
            timings = interleave(variants, [made_up_frame(SIZE_HW)], rounds=options.rounds, device=CPU)
        for runtime, timing in timings.items():
            times, report = ratios(timings["torch fp32"], timing), made[runtime][1]
            row = {"network": name, "runtime": runtime, **timing.figures(), "torch_over_it": times}
            rows.append(row | {"agreement": "" if report is None else str(report)})
            agreed = (
                "" if report is None else f"{report.agreement:.4f} ({report.same:.4f}), {report.cosine:.4f}"
            )
            print(
                f"{name:<14}{runtime:<18}{row['ms']['median']:>11.1f}{times['median']:>11.2f}"
                f"{times['processor']:>10.2f}  {agreed}",
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
