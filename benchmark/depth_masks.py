"""Masks from depth against true masks: rendered frames as four depth cameras see them, and real ones.

    python benchmark/depth_masks.py render FOLDER                   # once; needs requirements/render.txt
    python benchmark/depth_masks.py rendered FOLDER                 # a row per camera and kind of view
    python benchmark/depth_masks.py real FOLDER --truth LABELS.json # a row per source

Real frames lie in FOLDER/SOURCE: rgb/NAME.jpg, depth/NAME.png (16 bit, millimetres, registered) and
intrinsics.txt (fx,fy,cx,cy). Their truth is a COCO file whose file names are SOURCE/rgb/NAME.jpg; any
labelling tool that exports COCO polygons draws it. Writes out/benchmark/depth_masks.json (or --out), and with
--pictures overlays of the masks beside the truth.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

from depth_scenes import LEAST_PIXELS, TrueFrame, read_frames, render_frames  # noqa: E402

from ovseg_ros.core.frame import Proposer  # noqa: E402
from ovseg_ros.evaluate.recordings.demo import write_json  # noqa: E402
from ovseg_ros.evaluate.scores.class_agnostic import MaskCounts, count_masks, together  # noqa: E402
from ovseg_ros.files.cameras import read_camera  # noqa: E402
from ovseg_ros.files.frames import read_frame  # noqa: E402
from ovseg_ros.files.instances import read_instances  # noqa: E402
from ovseg_ros.learn.tabletop.sensors import SENSORS  # noqa: E402
from ovseg_ros.proposals.depth.depth_clusters import DepthClusters  # noqa: E402

Counted = tuple[str, str, MaskCounts]  # kind or source, frame, what was counted
HEAD = f"{'':>32} frames things  mean IoU  IoU >= 0.7  merged  split  extra  masks"


def real_frames(folder: Path, labels: Path) -> Iterator[TrueFrame]:
    """The labelled frames of a COCO file."""
    for picture in read_instances(labels, folder).pictures:
        image = picture.path
        source = image.parents[1]
        camera = read_camera((source / "intrinsics.txt").read_text(encoding="utf-8").strip())
        frame = read_frame(image, source / "depth" / f"{image.stem}.png", camera)
        yield TrueFrame(frame, *picture.masks(), source.name, f"{source.name}-{image.stem}")


def count(frames: Iterable[TrueFrame], proposer: Proposer, pictures: Path | None) -> list[Counted]:
    """Proposes on every frame and counts; the proposer sees the frame alone."""
    counted = []
    for one in frames:
        masks = proposer.propose(one.frame).masks.cpu().numpy()
        counted.append((one.kind, one.name, count_masks(masks, one.things, one.ignored)))
        if pictures is not None:
            save_picture(pictures / f"{one.name}.png", one, masks)
    return counted


def save_picture(file: Path, one: TrueFrame, masks: np.ndarray) -> None:
    """Truth, proposed masks and depth side by side; black depth is unknown."""
    image = cv2.cvtColor(one.frame.image_rgb, cv2.COLOR_RGB2BGR)
    depth = one.frame.depth_m
    known = depth[depth > 0] if (depth > 0).any() else np.ones(1)
    low, high = np.percentile(known, [1, 90])
    scaled = np.clip((depth - low) / max(high - low, 1e-6), 0, 1) * 255
    coloured = cv2.applyColorMap(scaled.astype(np.uint8), cv2.COLORMAP_TURBO)
    coloured[depth <= 0] = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.hstack([_painted(image, one.things), _painted(image, masks), coloured]))


def _painted(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The image with every mask tinted and outlined."""
    painted = image.copy()
    for k, mask in enumerate(masks):
        hue = np.uint8([[[(k * 47) % 180, 220, 255]]])
        colour = cv2.cvtColor(hue, cv2.COLOR_HSV2BGR)[0, 0]
        painted[mask] = 0.55 * painted[mask] + 0.45 * colour
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(painted, outline, -1, colour.tolist(), 1)
    return painted


def report(title: str, counted: list[Counted]) -> list[dict[str, Any]]:
    """Prints a row per kind and one of all, and gives them for JSON."""
    of_kind: dict[str, list[MaskCounts]] = defaultdict(list)
    for kind, _, counts in counted:
        of_kind[kind].append(counts)
        of_kind["all"].append(counts)
    rows = []
    for kind in [*(k for k in of_kind if k != "all"), "all"]:
        sum_of = together(of_kind[kind])
        things = len(sum_of.best_iou)
        rows.append({"set": title, "kind": kind, "frames": len(of_kind[kind]), "things": things,
                     "mean_iou": sum_of.mean_iou, "decent": sum_of.decent, "merged": sum_of.merged,
                     "split": sum_of.split, "extra": sum_of.extra, "masks": sum_of.masks})  # fmt: skip
        share = sum_of.decent / max(things, 1)
        print(f"{title:>18} {kind:>13} {len(of_kind[kind]):6} {things:6} {sum_of.mean_iou:9.3f} "
              f"{sum_of.decent:5} {share:5.1%} {sum_of.merged:7} {sum_of.split:6} {sum_of.extra:6} "
              f"{sum_of.masks:6}", flush=True)  # fmt: skip
    return rows


def proposer_of(preset: str | None) -> Proposer:
    """A preset's generator; without one `depth_clusters` as it comes."""
    if preset is None:
        return DepthClusters()
    from ovseg_ros.models.presets import load_proposer

    return load_proposer(preset)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("render", "rendered", "real"))
    parser.add_argument("folder", type=Path, help="of rendered frames, or of real ones")
    parser.add_argument("--frames", type=int, help="how many to render (200) or to measure (all)")
    parser.add_argument("--sensors", nargs="+", choices=SENSORS, default=list(SENSORS))
    parser.add_argument("--truth", type=Path, nargs="+", help="COCO labels of real frames")
    parser.add_argument("--preset", help="whose proposals are measured; depth_clusters without")
    parser.add_argument("--pictures", type=Path, help="folder for overlays")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "depth_masks.json")
    args = parser.parse_args()
    if args.what == "render":
        render_frames(args.folder, args.frames or 200)
        return
    if args.what == "real" and not args.truth:
        parser.error("expected --truth LABELS.json beside real frames")
    proposer, rows, single = proposer_of(args.preset), [], {}
    print(f"things of {LEAST_PIXELS} pixels and more\n{HEAD}" if args.what == "rendered" else HEAD)
    sets = {s: read_frames(args.folder, s, args.frames) for s in args.sensors}
    if args.what == "real":
        sets = {labels.stem: real_frames(args.folder, labels) for labels in args.truth}
    for title, frames in sets.items():
        pictures = args.pictures and args.pictures / title
        counted = count(frames, proposer, pictures)
        rows += report(title, counted)
        single[title] = {name: counts.best_iou.round(3).tolist() for _, name, counts in counted}
    write_json({"proposals": args.preset or "depth_clusters", "rows": rows, "best_iou": single}, args.out)
    print(f"written: {args.out}")


if __name__ == "__main__":
    main()
