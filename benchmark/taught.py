"""Names taught by example: the right thing found again, and false FOUND where it is not there.

    python benchmark/taught.py render FOLDER                # scenes to fit on; needs requirements/render.txt
    python benchmark/taught.py fit FOLDER --preset lite     # weights and threshold, printed as they are kept
    python benchmark/taught.py measure --rgbd FOLDER --truth LABELS.json …   # the table

A trial shows 1, 2 or 4 examples from other frames and asks one frame. Present: the thing has a decent mask
there (IoU 0.5), as in its examples; right is FOUND with such a mask, a part of it one of
IoU 0.2 or more. Absent: the thing is not there; "alike"
where another of its kind is (the last word of the name: another mug), "other" where none is. demo/tabletop
and real frames (as in rgbd_names.py, see there) are measured; nothing was fitted on them. In real frames a
thing is the same as all of its source that have its name. Writes out/benchmark/taught.json (or --out).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

from taught_fit import Evidence, as_code, fit_weights  # noqa: E402
from taught_scenes import VIEWS, render_scenes  # noqa: E402
from taught_trials import TABLETOP, Seen, Trial, of_recording, of_rgbd, trials  # noqa: E402

from ovseg_ros.evaluate.naming.trials import MATCH_IOU  # noqa: E402
from ovseg_ros.evaluate.recordings.demo import write_json  # noqa: E402
from ovseg_ros.memory.teaching import Rivals, features, find_taught, weights_of  # noqa: E402

EXAMPLES = (1, 2, 4)
ANGLES = (0.0, 15.0, 40.0, 180.0)
PARTLY = 0.2  # of IoU, from which a mask that is not decent is neither right nor another thing in the fit


def without_sizes(frame: Seen) -> Seen:
    """As a camera without depth would see it, with the same masks."""
    return dataclasses.replace(
        frame, looks=dataclasses.replace(frame.looks, sizes_m=np.full(len(frame.looks), np.nan))
    )


def evidence_of(one: Trial) -> Evidence:
    """A trial for the fit."""
    iou = one.iou()
    right = iou >= MATCH_IOU
    unsure = ~right & (iou >= PARTLY)
    found = features(one.examples, one.frame.looks)
    return Evidence(found, right, unsure, one.frame.looks, len(one.examples), one.kind == "other")


def fit(args: argparse.Namespace) -> None:
    """Prints weights with and without sizes."""
    segmenter = load(args.preset)
    frames = list(of_recording(segmenter, args.folder, lambda number, _: str(number // VIEWS)))
    for sized in (True, False):
        seen = frames if sized else [without_sizes(frame) for frame in frames]
        seen = [frame for frame in seen if len(frame.looks)]
        rngs = {count: np.random.default_rng(count) for count in EXAMPLES}
        asked = [one for n, rng in rngs.items() for one in trials(seen, rng, n, present=2, absent=8)]
        chosen = fit_weights([evidence_of(one) for one in asked], sized)
        print(f"\n{'with' if sized else 'without'} sizes: {as_code(chosen)}", flush=True)


def memory_of(frames: Iterable[Seen]) -> dict[str, np.ndarray]:
    """Each thing's mean embedding (D,), as the object memory would have it."""
    rows: dict[str, list[np.ndarray]] = {}
    for frame in frames:
        for thing in frame.things:
            if (region := frame.decent(thing)) >= 0:
                rows.setdefault(thing, []).append(frame.looks.embeddings[region])
    means = {thing: np.mean(several, axis=0) for thing, several in rows.items()}
    return {thing: mean / np.linalg.norm(mean) for thing, mean in means.items()}


def ask(
    asked: Iterable[Trial], preset: str, memory: Mapping[str, np.ndarray] | None = None
) -> list[dict[str, Any]]:
    """What each trial found; of the memory all things count that have another name."""
    rows = []
    for one in asked:
        others = [row for thing, row in (memory or {}).items()
                  if thing != one.thing and thing.split("/")[-1] != one.thing.split("/")[-1]]  # fmt: skip
        rivals = [Rivals(np.stack(others))] if others else []
        weights = weights_of(preset, sized=one.frame.looks.sized)
        found = find_taught(one.examples, one.frame.looks, weights, rivals)
        iou = float(one.iou()[found.region]) if found.region >= 0 else 0.0
        row = {"source": one.frame.source, "kind": one.kind, "thing": one.thing, "degrees": one.degrees}
        rows.append({**row, "found": found.found, "score": round(found.score, 4),
                     "right": iou >= MATCH_IOU, "part": PARTLY <= iou < MATCH_IOU})  # fmt: skip
    return rows


def summary(title: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of some trials, printed."""
    by = {kind: [row for row in rows if row["kind"] == kind] for kind in ("present", "alike", "other")}
    counts = {"trials": title, "present": len(by["present"]), "alike": len(by["alike"]),
              "other": len(by["other"]),
              "best_right": sum(row["right"] for row in by["present"]),
              "found_right": sum(row["right"] and row["found"] for row in by["present"]),
              "found_part": sum(row["part"] and row["found"] for row in by["present"]),
              "found_wrong": sum(row["found"] and not (row["right"] or row["part"]) for row in by["present"]),
              "alike_found": sum(row["found"] for row in by["alike"]),
              "other_found": sum(row["found"] for row in by["other"])}  # fmt: skip

    def share(part: str, whole: str) -> str:
        return f"{counts[part] / counts[whole]:6.1%} of {counts[whole]:4}" if counts[whole] else f"{'-':>14}"

    cells = [share(part, "present") for part in ("best_right", "found_right", "found_part", "found_wrong")]
    cells += [share("other_found", "other"), share("alike_found", "alike")]
    print(f"{title:>34} {' '.join(cells)}", flush=True)
    return counts


def measure(args: argparse.Namespace) -> None:
    """Prints the table: sources by number of examples, then angles, then without sizes."""
    segmenter = load(args.preset)
    sets = {TABLETOP.name: list(of_recording(segmenter, TABLETOP, lambda _, one: str(min(one.names))))}
    if args.rgbd is not None:
        sets["real"] = list(of_rgbd(segmenter, args.rgbd, args.truth))
    heads = ("right is best", "FOUND, right", "a part of it", "FOUND, wrong", "absent FOUND", "alike FOUND")
    print(f"\n{'':>34} {' '.join(f'{head:>14}' for head in heads)}")
    memory = memory_of(frame for frames in sets.values() for frame in frames)
    report, every = [], []
    for name, frames in sets.items():
        for count in EXAMPLES:
            rng = np.random.default_rng(count)
            rows = ask(trials(frames, rng, count, args.present, args.absent), args.preset)
            sources = [*dict.fromkeys(frame.source for frame in frames)] + ["real"] * (name == "real")
            for source in sources:
                some = [row for row in rows if source in ("real", row["source"])]
                report.append(summary(f"{source}, {count} example{'s' * (count > 1)}", some))
            if count == 1:
                every += rows
        one_each = trials(frames, np.random.default_rng(1), 1, args.present, args.absent)
        rows = ask(one_each, args.preset, memory)
        report.append(summary(f"{name}, {len(memory)} things in memory", rows))
        rows = ask(trials([without_sizes(f) for f in frames], np.random.default_rng(1), 1, args.present,
                          args.absent), args.preset)  # fmt: skip
        report.append(summary(f"{name}, 1 example, without sizes", rows))
    for low, high in itertools.pairwise(ANGLES):
        some = [row for row in every if low <= row["degrees"] < high]
        report.append(summary(f"camera turned {low:.0f} to {high:.0f} degrees", some))
    report += reliability(every)
    write_json({"preset": args.preset, "rows": report, "trials": every}, args.out)
    print(f"written: {args.out}")


def reliability(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the best regions by their score: how many are right, to hold against the score."""
    bins = []
    for low in np.arange(0, 1, 0.2):
        some = [row for row in rows if low <= row["score"] < low + 0.2 + (low > 0.7)]
        if some:
            mean, right = (float(np.mean([row[key] for row in some])) for key in ("score", "right"))
            print(f"score {low:.1f} to {low + 0.2:.1f}: mean {mean:.2f}, right {right:.2f} of {len(some)}")
            bins.append({"score": mean, "right": right, "trials": len(some)})
    return bins


def load(preset: str) -> Any:
    from ovseg_ros.models.presets import load_preset

    return load_preset(preset)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("render", "fit", "measure"))
    parser.add_argument("folder", type=Path, nargs="?", help="of rendered scenes")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--scenes", type=int, default=40, help="to render")
    parser.add_argument("--rgbd", type=Path, help="folder of real frames")
    parser.add_argument("--truth", type=Path, nargs="*", default=[], help="COCO labels of real frames")
    parser.add_argument("--present", type=int, default=2, help="trials of each thing in each frame")
    parser.add_argument("--absent", type=int, default=8, help="trials of things not in it, per frame")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "taught.json")
    args = parser.parse_args()
    if args.what != "measure" and args.folder is None:
        parser.error(f"expected FOLDER with {args.what}")
    if args.what == "render":
        render_scenes(args.folder, args.scenes)
    else:
        {"fit": fit, "measure": measure}[args.what](args)


if __name__ == "__main__":
    main()
