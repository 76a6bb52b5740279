"""`ovseg learn pairs`: images with captions in, mask-category pairs for training out; see docs/pairs.md."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.many import Crew, add_ray, crew_of, ranges
from ovseg_ros.errors import ConfigError, InvalidInputError

if TYPE_CHECKING:
    from tqdm import tqdm

    from ovseg_ros.learn.pairs.collect import Outcome, PairTally
    from ovseg_ros.learn.pairs.store import PairWriter


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    parser = commands.add_parser(
        "pairs",
        help="collect masks and their names from images with captions",
        description="Finds the nouns of each image's captions, proposes masks, matches each noun with the "
        "mask it fits best by CLIP, and writes the pairs as tar shards with a manifest. Exits 0 if every "
        "image was used, 1 if some could not be, 2 if nothing came of it, 130 if interrupted.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--images", type=Path, metavar="PATH", help="folder of images, or a recording")
    what.add_argument("--check", type=Path, metavar="DIR", help="only say whether the pairs in DIR are whole")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the pairs go")
    present = parser.add_mutually_exclusive_group()
    present.add_argument("--resume", action="store_true", help="go on where an earlier run into DIR stopped")
    present.add_argument("--overwrite", action="store_true", help="replace what an earlier run left in DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N images")
    parser.add_argument("--crop-size", type=int, default=256, metavar="PX", help="longer side (default: 256)")
    parser.add_argument(
        "--pairs-per-shard", type=int, default=1000, metavar="N", help="about how many (default: 1000)"
    )
    parser.add_argument(
        "--sheet-pairs", type=int, default=64, metavar="N", help="on the contact sheet (default: 64)"
    )
    _add_captions(parser.add_argument_group("captions"))
    _add_nouns(parser.add_argument_group("nouns"))
    _add_model(parser.add_argument_group("masks and CLIP"))
    _add_filters(parser.add_argument_group("filters, all off unless given"))
    add_ray(parser)
    parser.set_defaults(run=run)


def _add_captions(group: Any) -> None:
    group.add_argument(
        "--captions",
        type=Path,
        metavar="FILE",
        help="captions as .json, .jsonl, .csv, .tsv, .txt, or a folder of NAME.txt (default: found beside)",
    )
    group.add_argument("--captions-per-image", type=int, metavar="N", help="the first N (default: all)")
    group.add_argument("--depth", type=Path, metavar="DIR", help="depth beside images (default: ../depth)")
    group.add_argument("--depth-scale", type=float, metavar="M", help="metres per unit of depth")
    group.add_argument("--intrinsics", metavar="K", help="fx,fy,cx,cy or a file (default: ../camera.json)")
    group.add_argument("--caption-topic", metavar="TOPIC", help="of a recording (default: found by name)")
    group.add_argument("--image-topic", metavar="TOPIC", help="of a recording (default: found by type)")
    group.add_argument("--depth-topic", metavar="TOPIC", help="of a recording, or none (default: found)")
    group.add_argument("--camera-info-topic", metavar="TOPIC", help="of a recording, or none")
    group.add_argument("--every", type=int, default=1, metavar="N", help="each N-th image of a recording")


def _add_nouns(group: Any) -> None:
    group.add_argument("--keep-adjectives", action="store_true", help='"red mug" instead of "mug"')
    group.add_argument("--no-compounds", action="store_true", help='"pot" instead of "moka pot"')
    group.add_argument("--no-stop-words", action="store_true", help='keep "top", "photo", "group" …')
    group.add_argument("--stop-words", type=Path, metavar="FILE", help="more of these, one per line")
    group.add_argument("--no-synonyms", action="store_true", help="no word stands for another")
    group.add_argument(
        "--synonyms", type=Path, metavar="FILE", help="{class: [word, …]} as .yaml, .json, .csv; comes first"
    )
    group.add_argument("--phrases", type=Path, metavar="FILE", help="names of several words, one per line")


def _add_model(group: Any) -> None:
    group.add_argument("--preset", default="mini", help="name or YAML file (default: mini)")
    group.add_argument(
        "--proposals-from", metavar="PRESET", help="take the proposal generator of this preset instead"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, … (default: auto)")
    group.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder with downloaded weights")
    group.add_argument("--download", action="store_true", help="download weights that are missing")
    group.add_argument(
        "--region-view", default="masked", help="what CLIP sees: masked, context, both (default: masked)"
    )
    group.add_argument(
        "--templates", metavar="NAME", help="bare, single, vild, imagenet (default: the preset's)"
    )
    group.add_argument("--max-masks", type=int, metavar="N", help="per image (default: the preset's)")
    group.add_argument("--batch-size", type=int, metavar="N", help="masks at once (default: the preset's)")


def _add_filters(group: Any) -> None:
    group.add_argument("--min-score", type=float, metavar="COS", help="cosine of noun and mask, -1 to 1")
    group.add_argument("--min-area", type=float, metavar="PART", help="of the image, 0 to 1")
    group.add_argument(
        "--max-overlap", type=float, metavar="IOU", help="of two nouns' masks; the better-scored stays"
    )
    group.add_argument("--one-noun-per-mask", action="store_true", help="the best-scored noun keeps it")


def run(options: argparse.Namespace, load: Any = None) -> int:
    """Runs the command.

    Args:
        options: from the parser `add_parser` makes.
        load: stands in for `models.presets.load_preset`.

    Returns:
        0: every image was used. 1: some could not be. 2: no pair at all. 130: interrupted.

    Raises:
        OvsegError: options or inputs that cannot be used at all, weights that are missing, a full disk.
    """
    if options.check is not None:
        return _check(options.check)
    _check_options(options)
    from ovseg_ros.app.learn.pairs_work import PairsJob
    from ovseg_ros.models.presets import resolve_preset

    options.offline = not options.download
    chosen = resolve_preset(options.preset, options.device, options.weights_dir)
    options.preset = chosen.preset  # what the manifest says
    _say(f"loading {chosen.preset}; {chosen.reason}")
    with crew_of(options, PairsJob(options, load)) as crew:
        return _collect(options, crew)


def _collect(options: argparse.Namespace, crew: Crew) -> int:
    """The same, with workers that are ready."""
    from ovseg_ros.app.learn.pairs_work import PER_SHARD, lost
    from ovseg_ros.learn.pairs.collect import store
    from ovseg_ros.learn.pairs.store import PairWriter

    about = crew.about()
    said: list[str] = []
    _say_new(about.remarks, said)
    writer = PairWriter(
        options.out,
        about.settings,
        pairs_per_shard=options.pairs_per_shard,
        resume=options.resume,
        overwrite=options.overwrite,
    )
    shards = [(0, None)] if options.ray is None else ranges(about.count, PER_SHARD)
    tally = None
    with writer:
        with _bar(about.count) as bar, contextlib.suppress(KeyboardInterrupt):

            def show(tally: PairTally) -> None:
                bar.set_postfix({"pairs": tally.pairs, "failed": tally.failed}, refresh=False)
                bar.update()

            tally = store(_heard(crew.do(shards, writer.done, lost), said), writer, show)
        return _finish(writer, about.settings, options, tally)


def _heard(outcomes: Iterable[Outcome | tuple[str, ...]], said: list[str]) -> Iterator[Outcome]:
    """The outcomes, less remarks among them, which are said: a recording's damage shows as it is read."""
    for outcome in outcomes:
        if isinstance(outcome, tuple):
            _say_new(outcome, said)
        else:
            yield outcome


def _say_new(remarks: Iterable[str], said: list[str]) -> None:
    for remark in remarks:
        if remark not in said:
            said.append(remark)
            _say(remark)


def _check(folder: Path) -> int:
    from ovseg_ros.learn.pairs.store import read_manifest, verify

    problems = verify(folder)
    for problem in problems:
        print(problem)
    if problems:
        return 2
    counts = read_manifest(folder)["counts"]
    print(f"whole: {counts['pairs']} pairs of {counts['nouns']} nouns from {counts['images']} images")
    return 0


def _check_options(options: argparse.Namespace) -> None:
    if options.out is None:
        raise ConfigError("expected --out DIR, where the pairs go")
    for name in ("limit", "every", "captions_per_image", "pairs_per_shard", "sheet_pairs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"expected --{name.replace('_', '-')} at least 1, got {value}")
    if options.depth_scale is not None:
        from ovseg_ros.core.camera import check_depth_scale

        check_depth_scale(options.depth_scale)
    if not options.images.exists():
        raise InvalidInputError(
            f"expected --images as a folder or a recording, {options.images} is not there"
        )


def _finish(
    writer: PairWriter, settings: dict[str, Any], options: argparse.Namespace, tally: PairTally | None
) -> int:
    """Writes manifest and contact sheet, says what came of it (no tally: interrupted) and how it ends."""
    from ovseg_ros.app.segment.inputs import readable
    from ovseg_ros.evaluate.scores.provenance import versions
    from ovseg_ros.learn.pairs.contact_sheet import write_contact_sheet
    from ovseg_ros.learn.pairs.store import FAILED, SHEET

    model = settings["model"]
    about = {
        "crop_size": options.crop_size,
        "source": settings["source"],
        "clip": {
            "name": model["preset"],
            "preset_sha256": model["preset_sha256"],
            "weights": model["weights"],
        },
        "proposals": model["proposals_from"] or model["preset"],
        "options": settings["options"],
        "noun_options": settings["nouns"],
        "command": readable(shlex.join(["ovseg", *sys.argv[1:]])),
        "versions": versions(),
    }
    counts = writer.finish(about, complete=tally is not None)["counts"]
    for reason, count in counts["skipped"].items():
        _say(f"left out: {count} x {reason}")
    found = f"{counts['pairs']} pairs of {counts['nouns']} nouns from {counts['images']} images"
    if tally is None:
        _say(f"interrupted: {found} are in whole shards; --resume goes on from there; see {options.out}")
        return 130
    _say(f"complete: {found}; see {options.out}")
    if not counts["pairs"]:
        first = "".join(f", first {name}: {reason}" for name, reason in tally.failures[:1])
        _say(f"no pair came of it: everything was left out{first}")
        return 2
    write_contact_sheet(options.out, options.out / SHEET, pairs=options.sheet_pairs)
    for name, reason in tally.failures:
        _say(f"could not be used: {name}: {reason}")
    if tally.failed > len(tally.failures):
        _say(f"and {tally.failed - len(tally.failures)} more")
    return 1 if FAILED in counts["skipped"] else 0


def _bar(total: int) -> tqdm:
    """A bar over the images."""
    from tqdm import tqdm

    every_s = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(total=total, unit="image", desc="pairs", mininterval=every_s, file=sys.stderr)


def _say(text: str) -> None:
    print(f"ovseg: {text}", file=sys.stderr, flush=True)
