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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

from rgbd_names import frames_of  # noqa: E402
from taught_fit import Evidence, as_code, fit_weights  # noqa: E402
from taught_scenes import VIEWS, render_scenes  # noqa: E402

from ovseg_ros.core.frame import Frame  # noqa: E402
from ovseg_ros.core.maps import mask_iou  # noqa: E402
from ovseg_ros.core.space import Rigid  # noqa: E402
from ovseg_ros.evaluate.naming.trials import MATCH_IOU  # noqa: E402
from ovseg_ros.evaluate.recordings.demo import write_json  # noqa: E402
from ovseg_ros.evaluate.recordings.recording import read_recording  # noqa: E402
from ovseg_ros.learn.tabletop.household import BY_KEY  # noqa: E402
from ovseg_ros.memory import Example, Looks, features, find_taught, looks_of, weights_of  # noqa: E402

TABLETOP = ROOT / "demo" / "tabletop"
MIN_PIXELS = 400  # of a thing that is asked for in recordings, as elsewhere
EXAMPLES = (1, 2, 4)
ANGLES = (0.0, 15.0, 40.0, 180.0)
PARTLY = 0.2  # of IoU, from which a mask that is not decent is neither right nor another thing in the fit


@dataclass(frozen=True)
class Seen:
    """A frame whose regions are embedded, and its truth.

    Attributes:
        source: recording, or source of real frames.
        scene: frames that have table and things in common.
        looks: N regions.
        things: G identities, the same for the same thing in another frame.
        names: G.
        iou: (N, G) of regions and things.
        camera: where it stood, where that is known.
    """

    source: str
    scene: str
    looks: Looks
    things: tuple[str, ...]
    names: tuple[str, ...]
    iou: np.ndarray
    camera: Rigid | None = None

    def decent(self, thing: str) -> int:
        """The region that fits a thing, -1 where none does or it is not there."""
        if thing not in self.things or not len(self.looks):
            return -1
        column = self.iou[:, self.things.index(thing)]
        return int(column.argmax()) if column.max() >= MATCH_IOU else -1


@dataclass(frozen=True)
class Trial:
    """Examples, the frame that is asked, and "present", "alike" or "other"."""

    thing: str
    examples: tuple[Example, ...]
    frame: Seen
    kind: str
    degrees: float = np.nan

    def iou(self) -> np.ndarray:
        """(N,) of the regions with the thing, zeros where it is not there."""
        if self.kind != "present":
            return np.zeros(len(self.frame.looks))
        return self.frame.iou[:, self.frame.things.index(self.thing)]


def kind_of(name: str) -> str:
    """The last word: of "red mug" mug; of a model of the renders that of its first name."""
    return (BY_KEY[name].names[0] if name in BY_KEY else name).split()[-1]


def see(segmenter: Any, frame: Frame, masks: np.ndarray) -> tuple[Looks, np.ndarray]:
    """Looks of a frame's regions and their IoU with (G, H, W) true masks."""
    embedded = segmenter.embed(frame)
    iou = np.asarray(mask_iou(embedded.masks, masks), float).reshape(len(embedded), len(masks))
    return looks_of(embedded, segmenter.name), iou


def of_recording(segmenter: Any, folder: Path, scene_of: Callable[[int, Any], str]) -> Iterator[Seen]:
    """Frames of a recording; instances keep their numbers throughout."""
    from ovseg_ros.evaluate.recordings.objects import read_objects

    truth = read_objects(folder)
    cameras = {} if truth is None else {stamp: view.to_camera for stamp, view in truth.views.items()}
    for number, one in enumerate(read_recording(folder)):
        shown = [i for i in one.names if one.mask(i).sum() >= MIN_PIXELS]
        masks = np.stack([one.mask(i) for i in shown]) if shown else np.zeros((0, *one.frame.size_hw), bool)
        looks, iou = see(segmenter, one.frame, masks)
        names = tuple(one.names[i] for i in shown)
        things = tuple(f"{folder.name}/{i}" for i in shown)
        camera = cameras.get(one.frame.stamp_ns)
        yield Seen(folder.name, scene_of(number, one), looks, things, names, iou, camera)
        print(f"\r{folder.name} {number + 1}", end="", file=sys.stderr, flush=True)


def of_rgbd(segmenter: Any, folder: Path, truth: Sequence[Path]) -> Iterator[Seen]:
    """Real frames; a name that stands twice in a frame means two things that are never the same."""
    for number, one in enumerate(frames_of(folder, truth)):
        looks, iou = see(segmenter, one.frame, one.masks)
        things = tuple(
            f"{one.source}/{name}" if one.names.count(name) == 1 else f"{one.source}/{one.name}/{name}/{g}"
            for g, name in enumerate(one.names)
        )
        yield Seen(one.source, one.name, looks, things, tuple(one.names), iou)
        print(f"\rreal {number + 1}", end="", file=sys.stderr, flush=True)


def trials(
    frames: Sequence[Seen], rng: np.random.Generator, examples: int, present: int, absent: int
) -> Iterator[Trial]:
    """For each frame `present` trials of each thing with a decent mask, and `absent` of things not there."""
    shown: dict[str, list[tuple[Seen, int]]] = {}
    names = {}
    for frame in frames:
        for thing, name in zip(frame.things, frame.names):
            if (region := frame.decent(thing)) >= 0:
                shown.setdefault(thing, []).append((frame, region))
                names[thing] = name
    for frame in frames:
        others = {
            thing: [one for one in where if _may_teach(one[0], frame)] for thing, where in shown.items()
        }
        for thing in frame.things:
            where = others.get(thing, [])
            if frame.decent(thing) < 0 or len(where) < examples:
                continue
            order = rng.permutation(len(where))
            for k in range(min(present, len(where) // examples)):
                chosen = [where[i] for i in order[k * examples : (k + 1) * examples]]
                yield Trial(thing, _taught(names[thing], chosen), frame, "present", _degrees(chosen, frame))
        gone = [t for t, where in others.items() if t not in frame.things and len(where) >= examples
                and not (frame.source != TABLETOP.name and names[t] in frame.names)]  # fmt: skip
        for thing in rng.permutation(gone)[:absent].tolist() if gone else []:
            where = others[thing]
            chosen = [where[i] for i in rng.permutation(len(where))[:examples]]
            kind = "alike" if kind_of(names[thing]) in map(kind_of, frame.names) else "other"
            yield Trial(thing, _taught(names[thing], chosen), frame, kind)


def _may_teach(one: Seen, frame: Seen) -> bool:
    """Whether examples may come from another frame: of the renders to fit on, of another scene alone."""
    return one is not frame and (one.scene != frame.scene or frame.camera is not None)


def _taught(name: str, chosen: Iterable[tuple[Seen, int]]) -> tuple[Example, ...]:
    return tuple(frame.looks.example(region, name, 0.0) for frame, region in chosen)


def _degrees(chosen: Sequence[tuple[Seen, int]], frame: Seen) -> float:
    """How far the camera was turned since the nearest example, NaN where that is not known."""
    if frame.camera is None:
        return np.nan
    turns = [frame.camera.rotation @ one.camera.rotation.T for one, _ in chosen if one.camera is not None]
    return min((float(np.degrees(np.arccos(np.clip((np.trace(t) - 1) / 2, -1, 1)))) for t in turns),
               default=np.nan)  # fmt: skip


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


def ask(asked: Iterable[Trial], preset: str) -> list[dict[str, Any]]:
    """What each trial found."""
    rows = []
    for one in asked:
        found = find_taught(one.examples, one.frame.looks, weights_of(preset, sized=one.frame.looks.sized))
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
        parser.error(f"want FOLDER with {args.what}")
    if args.what == "render":
        render_scenes(args.folder, args.scenes)
    else:
        {"fit": fit, "measure": measure}[args.what](args)


if __name__ == "__main__":
    main()
