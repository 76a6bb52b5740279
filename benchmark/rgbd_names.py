"""Names of what stands in real RGB-D frames: those of a preset's own masks, and words that are not there.

    python benchmark/rgbd_names.py FOLDER --truth LABELS.json …

Frames lie in FOLDER/SOURCE: rgb/NAME.jpg, depth/NAME.png (16 bit, millimetres, registered) and intrinsics.txt
(fx,fy,cx,cy), or in the layout `folder` of docs/datasets.md, which has its own truth. That of the others is a
COCO file whose file names are SOURCE/rgb/NAME.jpg, drawn by any labelling tool; benchmark/rgbd_truth.json is
one. A thing has a decent mask where one of the preset's fits it at IoU 0.5: the names have no say in that.
Writes out/benchmark/rgbd_names.json (or --out), and with --pictures the truth over each frame.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

from ovseg_ros.core.frame import Frame  # noqa: E402
from ovseg_ros.core.maps import mask_iou  # noqa: E402
from ovseg_ros.core.segmenter import OpenVocabularySegmenter  # noqa: E402
from ovseg_ros.evaluate.naming import Answer, TrueObject, answer_figures, ask_alone, near_words  # noqa: E402
from ovseg_ros.evaluate.naming.reports import percent  # noqa: E402
from ovseg_ros.evaluate.naming.trials import MATCH_IOU, Kind, vocabulary_of  # noqa: E402
from ovseg_ros.evaluate.recordings.demo import write_json  # noqa: E402
from ovseg_ros.evaluate.recordings.measures import ABSENT_WORDS  # noqa: E402
from ovseg_ros.evaluate.recordings.photographs import is_photographs, read_photographs  # noqa: E402
from ovseg_ros.files.cameras import read_camera  # noqa: E402
from ovseg_ros.files.frames import read_frame  # noqa: E402
from ovseg_ros.files.instances import read_instances  # noqa: E402

SAME = (
    ("mug", "cup"), ("box", "carton"), ("book", "children's book", "joke book"), ("cushion", "pillow"),
    ("pipe cleaners", "straws"),
)  # fmt: skip
"""Words of the truth that mean the same here; a word and its head noun do too ("soup can", "can")."""

UNKNOWN = "thing"
"""What a person could not name; where there is such a thing no word is absent."""


@dataclass(frozen=True)
class NamedFrame:
    """A frame, its true things (G, H, W) bool and their names."""

    source: str
    name: str
    frame: Frame
    masks: np.ndarray
    names: tuple[str, ...]


def same_meaning(one: str, other: str) -> bool:
    """Whether two words of the truth are both right for one thing."""
    if one == other or any({one, other} <= set(group) for group in SAME):
        return True
    return one.endswith(f" {other}") or other.endswith(f" {one}")


def open_frame(folder: Path, name: str) -> Frame:
    """SOURCE/NAME with depth and camera."""
    source, stem = folder / name.split("/")[0], name.split("/")[-1]
    camera = read_camera((source / "intrinsics.txt").read_text(encoding="utf-8").strip())
    return read_frame(source / "rgb" / f"{stem}.jpg", source / "depth" / f"{stem}.png", camera)


def frames_of(folder: Path, truth: Sequence[Path]) -> Iterator[NamedFrame]:
    """The labelled frames, and those of every source in the layout `folder`."""
    for labels in truth:
        for picture in read_instances(labels, folder).pictures:
            masks, _ = picture.masks()
            names = tuple(one.category for one in picture.instances if not one.is_crowd)
            name = f"{picture.path.parents[1].name}/{picture.path.stem}"
            yield NamedFrame(name.split("/")[0], name, open_frame(folder, name), masks, names)
    for source in sorted(path for path in folder.iterdir() if is_photographs(path)):
        for one in read_photographs(source):
            things = [int(i) for i in np.unique(one.instances) if i]
            masks = (
                np.stack([one.mask(i) for i in things]) if things else np.zeros((0, *one.frame.size_hw), bool)
            )
            yield NamedFrame(source.name, one.title, one.frame, masks, tuple(one.names[i] for i in things))


def measure(args: argparse.Namespace) -> None:
    """Top-1 of the things that have a decent mask, and absent words that were FOUND."""
    from ovseg_ros.models.presets import load_preset

    frames = list(frames_of(args.folder, args.truth))
    words = tuple(dict.fromkeys(word for one in frames for word in one.names if word != UNKNOWN))
    segmenter = load_preset(args.preset)
    things: list[dict[str, Any]] = []
    answers: list[Answer] = []
    if args.pictures is not None:
        save_pictures(args.pictures, frames)
    for number, one in enumerate(frames, 1):
        print(f"frame {number}/{len(frames)}", file=sys.stderr, flush=True)
        things += named_things(segmenter, one, words, answers)
    rows = [row_of(source, [t for t in things if source in ("all", t["source"])])
            for source in [*dict.fromkeys(one.source for one in frames), "all"]]  # fmt: skip
    absent = answer_figures(answers)
    for kind in ("near", "far"):
        print(f"{kind} absent words FOUND: {percent(absent.false_found[kind])} of {absent.trials[kind]}")
    print(f"most often: {list(absent.false_words.items())[:8]}")
    report = {
        "preset": args.preset,
        "words": words,
        "rows": rows,
        "absent": absent.to_dict(),
        "things": things,
    }
    write_json(report, args.out)
    print(f"written: {args.out}")


def named_things(
    segmenter: OpenVocabularySegmenter, one: NamedFrame, words: Sequence[str], answers: list[Answer]
) -> list[dict[str, Any]]:
    """What the true things of a frame are called; its absent words are added to `answers`."""
    embedded = segmenter.embed(one.frame)
    iou = np.asarray(mask_iou(embedded.masks, one.masks), float).reshape(len(embedded), len(one.names))
    labelled = segmenter.label(embedded, vocabulary_of(*words))
    found = []
    for g, name in enumerate(one.names):
        best = int(iou[:, g].argmax()) if len(embedded) else -1
        decent = best >= 0 and iou[best, g] >= MATCH_IOU
        said = words[int(labelled.probs[best].argmax())] if decent else ""
        row = {"source": one.source, "frame": one.name, "name": name, "decent": bool(decent), "said": said}
        label = labelled.name_of(best) if decent else ""
        found.append({**row, "label": label, "iou": float(iou[best, g]) if best >= 0 else 0.0})
    if UNKNOWN not in one.names:
        objects = [TrueObject((name,)) for name in one.names]
        answers += ask_alone(segmenter, embedded, absent_words(one.names), iou, objects)
    return [row for row in found if row["name"] != UNKNOWN]


def absent_words(names: Sequence[str]) -> dict[str, Kind]:
    """What the things in view are taken for, and what is far from them all."""

    def is_there(word: str) -> bool:
        return any(same_meaning(word, name) for name in names)

    near = dict.fromkeys((w for name in names for w in near_words(name) if not is_there(w)), "near")
    far = dict.fromkeys((w for w in ABSENT_WORDS if not is_there(w) and w not in near), "far")
    return {**near, **far}  # type: ignore[dict-item]  # of the two kinds


def row_of(source: str, things: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of some things, printed."""
    decent = [thing for thing in things if thing["decent"]]
    exact = sum(thing["said"] == thing["name"] for thing in decent)
    same = sum(same_meaning(thing["said"], thing["name"]) for thing in decent)
    named = sum(bool(thing["label"]) and same_meaning(thing["label"], thing["name"]) for thing in decent)
    total = max(len(decent), 1)
    print(
        f"{source:>16}: {len(things):3} things, {len(decent):3} with a decent mask; top-1 exact "
        f"{exact / total:6.1%}, same meaning {same / total:6.1%}; labelled so {named / total:6.1%}",
        flush=True,
    )
    counts = {"things": len(things), "decent": len(decent), "exact": exact, "same_meaning": same}
    return {"source": source, **counts, "labelled": named}


def save_pictures(folder: Path, frames: Sequence[NamedFrame]) -> None:
    """The truth over each frame, to be looked at."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in frames:
        image = cv2.cvtColor(one.frame.image_rgb, cv2.COLOR_RGB2BGR)
        for mask, name in zip(one.masks, one.names):
            outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outline, -1, (0, 255, 255), 1)
            y, x = (int(values.mean()) for values in np.nonzero(mask))
            cv2.putText(image, name, (x - 20, y), 0, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{one.source}-{Path(one.name).name}.png"), image)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--truth", type=Path, nargs="*", default=[], help="COCO labels")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--pictures", type=Path, help="folder for the truth, drawn")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "rgbd_names.json")
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
