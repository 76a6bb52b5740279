"""Times both training stages on made-up pairs: pairs per second, share of time waiting for data, memory.

Writes out/benchmark/learn.json. Each stage runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOUNS = [f"thing number {i}" for i in range(60)]
LIMIT_GB, LIMIT_WAITING = 8.0, 0.10


def write_pairs(folder: Path, count: int, side: int = 256) -> None:
    """Textured blobs with ragged masks, of the size that `ovseg learn pairs` stores."""
    from ovseg_ros.learn.pair_store import Pair, PairWriter

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side] / side - 0.5
    with PairWriter(folder, {"made": "up"}) as writer:
        for i in range(count):
            height = int(rng.integers(side // 2, side + 1))
            rough = cv2.resize(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8), (side, height))
            noisy = rough.astype(np.int16) + rng.integers(-12, 13, rough.shape)
            angle = np.arctan2(y, x)[:height]
            radius = 0.36 + 0.06 * np.sin(angle * int(rng.integers(3, 9)))
            mask = np.hypot(x[:height], (y[:height] + 0.5) * side / height - 0.5) < radius
            noun = NOUNS[int(rng.integers(len(NOUNS)))]
            pair = Pair(noun, np.clip(noisy, 0, 255).astype(np.uint8), mask, {"noun": noun, "image": str(i)})
            writer.add(f"image{i:06d}", [pair])
        writer.finish({})


def write_vit_preset(folder: Path, model: str) -> Path:
    """A preset with open_clip's architecture `model` and random weights: speed does not depend on them."""
    from safetensors.torch import save_file

    from ovseg_ros.models.clip import architecture, build_network

    config, name, _ = architecture(model)
    config["quick_gelu"] = True
    state = {key: value.contiguous() for key, value in build_network(config, name).state_dict().items()}
    save_file(state, folder / "clip.safetensors", {"activation": "quick_gelu"})
    encoder = {"kind": "clip", "model": model, "weights": "clip.safetensors"}
    preset = {"description": model, "proposer": {"kind": "depth_clusters"}, "encoder": encoder}
    preset["options"] = {"templates": "single"}
    path = folder / "vit.yaml"
    path.write_text(yaml.safe_dump(preset))
    return path


def resident_gb() -> float:
    """Memory of this process and its children; what they share (PSS) counts once."""
    mine, total = os.getpid(), 0
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    for process in [mine, *(child for child, parent in parents.items() if parent == mine)]:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except OSError:
            continue
    return total / 1e6


def measure(stage: str, preset: str, pairs: Path, options: argparse.Namespace, queue: Any) -> None:
    """Trains and puts a row of figures into `queue`."""
    from ovseg_ros.learn.finetune import finetune
    from ovseg_ros.learn.recipes import load_recipe
    from ovseg_ros.learn.tune_prompts import tune_prompts

    torch.set_num_threads(options.threads)
    changes = [
        f"max_steps={options.steps}",
        "held_out=0.0",
        "log_every=1000",
        "save_every=100000",
        *options.set,
    ]
    recipe = load_recipe(options.recipe, stage, changes)
    peak, done = [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], resident_gb())

    threading.Thread(target=watch, daemon=True).start()
    records: list[Any] = []
    with tempfile.TemporaryDirectory() as out:
        train = finetune if stage == "finetune" else tune_prompts
        train(
            pairs, preset, recipe, Path(out), device=options.device, report=lambda r: records.append(dict(r))
        )
    done.set()
    speeds = [r["pairs_per_s"] for r in records if "pairs_per_s" in r]
    row = {
        "stage": stage,
        "preset": Path(preset).stem if preset.endswith(".yaml") else preset,
        "batch": recipe.batch,
        "workers": recipe.workers,
        "steps": options.steps,
        "pairs_per_s": float(np.median(speeds)),
        "waiting": float(np.mean([r["waiting"] for r in records if "waiting" in r])),
        "peak_gb": max(peak[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6),
    }
    if options.device != "cpu":
        row["peak_gpu_gb"] = torch.cuda.max_memory_allocated() / 1e9
    queue.put(row)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="torch threads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", help="open_clip architecture, random weights (default: mini)")
    parser.add_argument("--recipe", default="mini")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "learn.json")
    options = parser.parse_args()
    rows = []
    spawn = multiprocessing.get_context("spawn")
    print(f"{'stage':>9} {'preset':>8} {'batch':>6} {'pairs/s':>8} {'waiting':>8} {'peak GB':>8}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs"
        write_pairs(pairs, options.pairs)
        preset = "mini" if options.model is None else str(write_vit_preset(Path(folder), options.model))
        for stage in ("finetune", "prompts"):
            queue = spawn.SimpleQueue()
            worker = spawn.Process(target=measure, args=(stage, preset, pairs, options, queue))
            worker.start()
            while worker.is_alive() and queue.empty():
                time.sleep(0.2)
            worker.join()
            if worker.exitcode != 0:
                return 1
            row = queue.get()
            row["preset"] = options.model or "mini"
            rows.append(row)
            print(
                f"{stage:>9} {row['preset']:>8} {row['batch']:>6} {row['pairs_per_s']:>8.0f} "
                f"{row['waiting']:>8.1%} {row['peak_gb']:>8.2f}",
                flush=True,
            )
    machine = {
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    report = {"machine": machine, "threads": options.threads, "pairs": options.pairs, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    within = all(row["waiting"] < LIMIT_WAITING and row["peak_gb"] < LIMIT_GB for row in rows)
    print(
        f"waiting under {LIMIT_WAITING:.0%} and memory under {LIMIT_GB:.0f} GB: {'yes' if within else 'no'}"
    )
    return 0 if within else 1


if __name__ == "__main__":
    raise SystemExit(main())
