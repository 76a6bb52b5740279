"""What the encoder of each preset costs, with random weights; writes out/benchmark/costs.json.

    scripts/env.sh python benchmark/costs.py
    scripts/env.sh python benchmark/costs.py siglip2 mobileclip2 --batch 8

Per encoder of kind `clip`: parameters of both towers; multiply-adds times two of one crop and of one
sentence, as torch counts them; the high-water mark of memory that encoding a batch of crops takes above the
network; and processor time of one thread a crop and a sentence, the least of `--runs`. None of these depends
on the weights, so none is read. Each encoder has a process of its own: a high-water mark never falls.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ovseg_ros.core.encoders.text_tower import encode_sentences
from ovseg_ros.evaluate.recordings.demo import write_json
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.models.auto import RANKING
from ovseg_ros.models.clip import architecture, build_network
from ovseg_ros.models.presets import list_presets, preset_path, read_preset

ROOT = Path(__file__).resolve().parents[1]
WORDS_LONG = 8
"""Tokens of "a photo of a teapot." with begin and end: causal towers read no more."""


def clip_presets() -> dict[str, str]:
    """Preset -> architecture, of those whose encoder is one of open_clip's; each architecture once."""
    found: dict[str, str] = {}
    for name in sorted(list_presets(), key=lambda name: name not in RANKING):  # the best known has the name
        encoder = read_preset(preset_path(name), part_options=False)["encoder"]
        if encoder["kind"] == "clip" and encoder["model"] not in found.values():
            found[name] = encoder["model"]
    return found


@torch.no_grad()
def cost_of(model: str, batch: int, runs: int) -> dict[str, float]:
    """The measures of one architecture, in this process."""
    torch.set_num_threads(1)
    config, name, _ = architecture(model)
    network = build_network(config, name).eval().requires_grad_(False)  # else torch cannot count a SigLIP
    side = int(network.visual.image_size[0])
    crops = torch.randn(batch, 3, side, side)
    ids = torch.zeros((1, network.context_length), dtype=torch.int64)
    ids[0, :WORDS_LONG] = torch.arange(1, WORDS_LONG + 1)  # the highest id is the end
    before = _peak_bytes()
    network.encode_image(crops)
    peak = _peak_bytes() - before
    image = sum(parameter.numel() for parameter in network.visual.parameters())
    return {
        "side": side,
        "image_parameters_m": image / 1e6,
        "text_parameters_m": (sum(p.numel() for p in network.parameters()) - image) / 1e6,
        "gflop_crop": _flop(lambda: network.encode_image(crops[:1])) / 1e9,
        "gflop_sentence": _flop(lambda: encode_sentences(network, ids)) / 1e9,
        "peak_mb": peak / 1e6,
        "crop_s": _least(lambda: network.encode_image(crops[:1]), runs),
        "sentence_s": _least(lambda: encode_sentences(network, ids), runs),
    }


def _flop(work: Callable[[], Any]) -> int:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # attention in one operation would count as nothing
    try:
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            work()
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    return int(counter.get_total_flops())


def _least(work: Callable[[], Any], runs: int) -> float:
    """Processor seconds, the least of several; the first run, which warms up, does not count."""
    seconds = []
    for _ in range(runs + 1):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def _peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # Linux counts it in KiB


def table(costs: dict[str, dict[str, Any]], batch: int) -> str:
    """Markdown, a line for each architecture."""
    lines = [
        "| preset | architecture | side | parameters, image + text | GFLOP a crop, a sentence | "
        f"memory for {batch} crops | CPU a crop, a sentence |",
        "|---|---|---|---|---|---|---|",
    ]
    for preset, cost in costs.items():
        lines.append(
            f"| `{preset}` | {cost['model']} | {cost['side']} | {cost['image_parameters_m']:.1f} + "
            f"{cost['text_parameters_m']:.1f} M | {cost['gflop_crop']:.1f}, {cost['gflop_sentence']:.1f} | "
            f"{cost['peak_mb']:.0f} MB | {1e3 * cost['crop_s']:.0f}, {1e3 * cost['sentence_s']:.0f} ms |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table and writes the figures."""
    models = clip_presets()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="*", help=f"any of {', '.join(models)}; all by default")
    parser.add_argument("--batch", type=int, default=16, help="crops at once for the high-water mark")
    parser.add_argument("--runs", type=int, default=3, help="of which the quickest counts")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # an architecture, in this process
    args = parser.parse_args(arguments)
    if args.one:
        print(json.dumps(cost_of(args.one, args.batch, args.runs)))
        return 0
    unknown = sorted(set(args.presets) - set(models))
    if unknown:
        parser.error(f"expected presets of {', '.join(models)}, got {', '.join(unknown)}")
    costs: dict[str, dict[str, Any]] = {}
    for preset in args.presets or models:
        command = [sys.executable, __file__, "--one", models[preset]]
        command += ["--batch", str(args.batch), "--runs", str(args.runs)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        costs[preset] = {"model": models[preset], **json.loads(done.stdout.splitlines()[-1])}
        print(table(costs, args.batch).splitlines()[-1], flush=True)
    print(table(costs, args.batch))
    result = {"costs": costs, "made_with": made_with(command=["costs.py", *sys.argv[1:]])}
    write_json(result, ROOT / "out" / "benchmark" / "costs.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
