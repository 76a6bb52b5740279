r"""Calibrates a preset's rule of absence on frames with known truth; prints what to paste into the preset.

    python -m ovseg_ros.app.learn.trust PRESET DATA [DATA ...]
    python -m ovseg_ros.app.learn.trust PRESET DATA [DATA ...] --write-reference FILE [--seen-before DATA ...]

DATA are recordings with ground truth (rosbag2 folders, as demo/make_tabletop.py makes them) or COCO instance
files (.json). The second also makes the file of masks seen before, of other frames than the calibration is
fitted to: those of --seen-before, or else every second frame of DATA. Never use what is measured on.

An encoder is too sure of pictures it was learned on. Where `lite`'s map of names was learned on DATA, --maps
takes maps that were learned without a fold of them, and each picture is answered by the one that has not seen
it (two folds: `python -m ovseg_ros.learn.names.train DATA --leave-out 0/2 -o FILE`, and 1/2):

    python -m ovseg_ros.app.learn.trust lite DATA.json --maps FILE FILE \
        --write-reference FILE --seen-before OTHERS.json
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml
from tqdm import tqdm

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.files.instances import read_instances
from ovseg_ros.learn.names.folds import fold_of
from ovseg_ros.learn.trust.fit import (
    Answers,
    Asked,
    calibration_error,
    fit,
    least_threshold,
    precision_recall,
)
from ovseg_ros.learn.trust.samples import SeenFrame, TrueFrame, look
from ovseg_ros.models.presets import load_preset, preset_path
from ovseg_ros.models.trusted import read_reference, write_reference
from ovseg_ros.models.yaml_files import read_yaml


def true_frames(data: Path, *, complete: bool = True, fold: tuple[int, int] = (0, 1)) -> Iterator[TrueFrame]:
    """The frames of a recording or of a COCO file, with their truth.

    Args:
        data: recording or file.
        complete: leaves out pictures of which not everything is labelled.
        fold: k and n; of a COCO file the pictures of fold k of n, as the map of names was learned by folds.

    Raises:
        InvalidInputError: it is neither, has no ground truth, or its pictures are of another size.
    """
    if data.suffix == ".json":
        yield from _of_coco(data, complete, fold)
        return
    recorded = list(read_recording(data))
    words = tuple(dict.fromkeys(name for one in recorded for name in one.names.values()))
    for one in recorded:
        if one.instances is None:
            raise InvalidInputError(f"expected a recording with ground truth, {data} has none")
        shown = [i for i in np.unique(one.instances).tolist() if i in one.names]
        masks = np.stack([one.mask(i) for i in shown]) if shown else np.zeros((0, *one.frame.size_hw), bool)
        names = tuple(frozenset((one.names[i], *one.synonyms.get(i, ()))) for i in shown)
        yield TrueFrame(one.frame, masks, names, words)


def _of_coco(data: Path, complete: bool, fold: tuple[int, int]) -> Iterator[TrueFrame]:
    dataset = read_instances(data)
    pictures = [picture for picture in dataset.pictures if picture.complete or not complete]
    words = tuple(dict.fromkeys(one.category for picture in pictures for one in picture.instances))
    for picture in pictures:
        if fold_of(f"{dataset.name}/{picture.name}", fold[1]) != fold[0]:
            continue
        shown = picture.instances
        masks = [one.mask() for one in shown]
        stacked = np.stack(masks) if masks else np.zeros((0, *picture.size_hw), bool)
        names = tuple(frozenset((one.category,)) for one in shown)
        yield TrueFrame(Frame(picture.read()), stacked, names, words)


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
    segmenter: OpenVocabularySegmenter,
    data: list[Path],
    limit: int | None,
    *,
    complete: bool = True,
    fold: tuple[int, int] = (0, 1),
) -> list[SeenFrame]:
    """The frames of DATA, or of pictures those of fold k of n, as one encoder sees them."""
    frames: list[SeenFrame] = []
    for path in data:
        some = itertools.islice(true_frames(path, complete=complete, fold=fold), limit)
        frames += look(segmenter, tqdm(some, desc=path.name, unit="frame"))
    return frames


def _rows(frames: Sequence[SeenFrame], most: int) -> torch.Tensor:
    """(M, D) at most so many masks of the frames, drawn by chance.

    Raises:
        InvalidInputError: fewer than two, of which no deviation can be told.
    """
    rows = torch.cat([frame.embeddings for frame in frames]) if frames else torch.zeros(0, 1)
    rows = rows[rows.norm(dim=1) > 0]  # of masks that the encoder has seen
    if len(rows) < 2:
        raise InvalidInputError(
            f"expected at least two masks seen before, got {len(rows)}: give more DATA, or --seen-before"
        )
    return rows[torch.from_numpy(np.random.default_rng(0).permutation(len(rows))[:most])]


def _with_map(preset: str, names: Path, weights_dir: Path | None) -> OpenVocabularySegmenter:
    """The preset with another map of names."""
    content = read_yaml(preset_path(preset))
    content["encoder"] = {**content["encoder"], "names": str(names.resolve())}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{preset_path(preset).stem}.yaml"
        file.write_text(yaml.safe_dump(content))
        return load_preset(file, weights_dir=weights_dir)


def _part(
    segmenter: OpenVocabularySegmenter,
    args: argparse.Namespace,
    reference: Path | None,
    fold: tuple[int, int],
) -> Asked:
    """What one encoder answers about its fold; where `reference` is given, that file is made on the way."""
    trust = segmenter.trust
    assert trust is not None  # every preset has one
    frames = _embedded(segmenter, args.data, args.limit, fold=fold)
    rows = None if args.reference is None else read_reference(args.reference, segmenter.clip.embedding_dim)
    if args.write_reference is not None:
        if args.seen_before:
            before = _embedded(segmenter, args.seen_before, args.limit_before, complete=False)
        else:
            before, frames = frames[1::2], frames[::2]
        rows = _rows(before, args.most)
        if reference is not None:
            write_reference(reference, rows)
    return Asked(segmenter, dataclasses.replace(trust, reference=rows), frames)


def main() -> None:
    """Command line."""
    parser = _parser()
    args = parser.parse_args()
    if args.seen_before and args.write_reference is None:
        parser.error("--seen-before needs --write-reference")
    if args.maps and args.write_reference is not None and not args.seen_before:
        parser.error(
            "--maps with --write-reference needs --seen-before: other pictures, for the preset's own map"
        )
    try:
        _calibrate(args)
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None


def _calibrate(args: argparse.Namespace) -> None:
    """Fits, prints, and writes the file of masks seen before where that is asked for."""
    if args.maps:
        folds = len(args.maps)
        parts = [
            _part(_with_map(args.preset, file, args.weights_dir), args, None, (fold, folds))
            for fold, file in enumerate(args.maps)
        ]
        if args.write_reference is not None:
            segmenter = load_preset(args.preset, weights_dir=args.weights_dir)
            before = _embedded(segmenter, args.seen_before, args.limit_before, complete=False)
            write_reference(args.write_reference, _rows(before, args.most))
    else:
        segmenter = load_preset(args.preset, weights_dir=args.weights_dir)
        parts = [_part(segmenter, args, args.write_reference, (0, 1))]
    calibration, asked = fit(parts)
    numbers = {name: round(value, 3) for name, value in dataclasses.asdict(calibration).items()}
    print("\n".join(report(asked, asked.probability(calibration), args.precision)))
    print(yaml.safe_dump({"calibration": numbers}, sort_keys=False), end="")
    file = args.write_reference or args.reference
    if file is not None:
        print(f"reference: {file.name}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("preset")
    parser.add_argument("data", type=Path, nargs="+")
    before = parser.add_mutually_exclusive_group()
    before.add_argument("--reference", type=Path, metavar="FILE", help="masks seen before, not the preset's")
    before.add_argument("--write-reference", type=Path, metavar="FILE", help="makes that file")
    parser.add_argument("--seen-before", type=Path, nargs="+", metavar="DATA", help="what it is made of")
    parser.add_argument("--most", type=int, default=1000, help="masks in that file (default: %(default)s)")
    parser.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="maps of names learned without fold 0, 1, … of the pictures of DATA",
    )
    parser.add_argument("--limit-before", type=int, help="frames of each DATA of --seen-before")
    parser.add_argument("--limit", type=int, help="frames of each DATA; all without")
    parser.add_argument("--precision", type=float, default=0.95, help="wanted (default: %(default)s)")
    parser.add_argument("--weights-dir", type=Path)
    return parser


if __name__ == "__main__":
    main()
