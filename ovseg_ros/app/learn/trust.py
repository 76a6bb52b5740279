"""Calibrates a preset's rule of absence on frames with known truth, and prints what to paste into the preset.

    python -m ovseg_ros.app.learn.trust PRESET DATA [DATA ...]
    python -m ovseg_ros.app.learn.trust PRESET DATA [DATA ...] --write-reference FILE [--seen-before DATA ...]

DATA are recordings with ground truth (rosbag2 folders, as demo/make_tabletop.py makes them) or COCO instance
files (.json). The second also makes the file of masks seen before, of other frames than the calibration is
fitted to: those of --seen-before, or else every second frame of DATA. Never use what is measured on.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from tqdm import tqdm

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.files.instances import read_instances
from ovseg_ros.files.pictures import read_image
from ovseg_ros.learn.trust.fit import Answers, calibration_error, fit, least_threshold, precision_recall
from ovseg_ros.learn.trust.samples import SeenFrame, TrueFrame, look
from ovseg_ros.models.presets import load_preset
from ovseg_ros.models.trusted import read_reference, write_reference


def true_frames(data: Path, *, complete: bool = True) -> Iterator[TrueFrame]:
    """The frames of a recording or of a COCO file, with their truth.

    Args:
        data: recording or file.
        complete: leaves out pictures of which not everything is labelled.

    Raises:
        InvalidInputError: it is neither.
    """
    if data.suffix == ".json":
        yield from _of_coco(data, complete)
        return
    recorded = list(read_recording(data))
    words = tuple(dict.fromkeys(name for one in recorded for name in one.names.values()))
    for one in recorded:
        if one.instances is None:
            raise ConfigError(f"want a recording with ground truth, {data} has none")
        shown = [i for i in np.unique(one.instances).tolist() if i in one.names]
        masks = np.stack([one.mask(i) for i in shown]) if shown else np.zeros((0, *one.frame.size_hw), bool)
        names = tuple(frozenset((one.names[i], *one.synonyms.get(i, ()))) for i in shown)
        yield TrueFrame(one.frame, masks, names, words)


def _of_coco(data: Path, complete: bool) -> Iterator[TrueFrame]:
    dataset = read_instances(data)
    pictures = [picture for picture in dataset.pictures if picture.complete or not complete]
    words = tuple(dict.fromkeys(one.category for picture in pictures for one in picture.instances))
    for picture in pictures:
        shown = picture.instances
        masks = [one.mask() for one in shown]
        stacked = np.stack(masks) if masks else np.zeros((0, *picture.size_hw), bool)
        names = tuple(frozenset((one.category,)) for one in shown)
        yield TrueFrame(Frame(read_image(picture.path)), stacked, names, words)


def report(asked: Answers, p: torch.Tensor, precision: float) -> list[str]:
    """What the fit reaches on its own data, question by question, as comments of YAML."""
    threshold = least_threshold(p, asked.right, asked.weight, precision)
    ece = calibration_error(p, asked.right, asked.weight)
    lines = [f"# {len(p)} answers, calibration error {ece:.3f}"]
    lines.append(f"# least threshold for a precision of {precision}: {threshold}")
    for kind in dict.fromkeys(asked.kind):
        own = torch.tensor([one == kind for one in asked.kind])
        for at in dict.fromkeys((0.5, 0.7, threshold or 0.9)):
            found = precision_recall(p[own], asked.right[own], asked.weight[own], at)
            given = float((p[own] >= at).double().mean())
            shown = ", ".join("none" if share is None else f"{share:.3f}" for share in found)
            lines.append(f"#   {kind} at {at}: precision, recall {shown}; given {given:.3f}")
    return lines


def _embedded(
    segmenter: OpenVocabularySegmenter, data: list[Path], limit: int | None, *, complete: bool = True
) -> list[SeenFrame]:
    frames: list[SeenFrame] = []
    for path in data:
        some = itertools.islice(true_frames(path, complete=complete), limit)
        frames += look(segmenter, tqdm(some, desc=path.name, unit="frame"))
    return frames


def _rows(frames: Sequence[SeenFrame], most: int) -> torch.Tensor:
    """(M, D) at most so many masks of the frames, drawn by chance."""
    rows = torch.cat([frame.embeddings for frame in frames])
    rows = rows[rows.norm(dim=1) > 0]  # of masks that the encoder has seen
    return rows[torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:most])]


def main() -> None:
    """Command line."""
    args = _parser().parse_args()
    segmenter = load_preset(args.preset, weights_dir=args.weights_dir)
    trust = segmenter.trust
    assert trust is not None  # every preset has one
    frames = _embedded(segmenter, args.data, args.limit)
    if args.write_reference is not None:
        before, frames = frames[1::2], frames[::2]
        if args.seen_before:
            frames = [*frames, *before]
            before = _embedded(segmenter, args.seen_before, args.limit, complete=False)
        write_reference(args.write_reference, _rows(before, args.most))
        args.reference = args.write_reference
    if args.reference is not None:
        reference = read_reference(args.reference, segmenter.clip.embedding_dim)
        trust = dataclasses.replace(trust, reference=reference)
    calibration, asked = fit(segmenter, trust, frames)
    numbers = {name: round(value, 3) for name, value in dataclasses.asdict(calibration).items()}
    print("\n".join(report(asked, asked.probability(calibration), args.precision)))
    print(yaml.safe_dump({"calibration": numbers}, sort_keys=False), end="")
    if args.reference is not None:
        print(f"reference: {args.reference.name}   # {len(reference)} masks seen before")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset")
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="masks seen before, not the preset's")
    parser.add_argument("--write-reference", type=Path, metavar="FILE", help="makes that file")
    parser.add_argument("--seen-before", type=Path, nargs="+", metavar="DATA", help="what it is made of")
    parser.add_argument("--most", type=int, default=1000, help="masks in that file (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="frames of each DATA; all without")
    parser.add_argument("--precision", type=float, default=0.95, help="wanted (default: %(default)s)")
    parser.add_argument("--weights-dir", type=Path)
    return parser


if __name__ == "__main__":
    main()
