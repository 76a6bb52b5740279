"""`ovseg segment`: pictures, videos and recordings in, masks and a summary out; see docs/segment.md."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros import __version__
from ovseg_ros.app.many import Crew, add_ray, crew_of

if TYPE_CHECKING:
    from ovseg_ros.app.segment.outputs import OutputFolder
    from ovseg_ros.app.segment.run import Run
    from ovseg_ros.app.segment.setup import Checked, Load

MAX_MEGAPIXELS = 120.0
DEPTH_TOLERANCE_S = 0.02


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    parser = commands.add_parser(
        "segment",
        help="find things in pictures, videos and recordings",
        description="Finds things by name in pictures, folders of pictures, videos and rosbag2 recordings, "
        "and writes overlays, label images, instance images, COCO masks and a summary. Exits 0 if every "
        "frame was done, 1 if some failed, 2 if all did or something cannot be used, 130 if interrupted.",
    )
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="picture, folder of pictures, video or recording"
    )
    parser.add_argument(
        "--labels", "-l", required=True, metavar="WORDS", help='what to look for: "teapot, red mug"'
    )
    parser.add_argument(
        "--memory",
        metavar="FILE_OR_URL",
        help="also know the names that were taught there, as with `ovseg teach` (default: no taught names)",
    )
    parser.add_argument(
        "--out",
        "-o",
        type=Path,
        metavar="DIR",
        help="where the results go (default: out/segment, or the first free of out/segment-2, …)",
    )
    present = parser.add_mutually_exclusive_group()
    present.add_argument("--resume", action="store_true", help="go on where the last run into DIR stopped")
    present.add_argument("--overwrite", action="store_true", help="replace what the last run left in DIR")
    parser.add_argument("--json", action="store_true", help="print the summary, as JSON, and nothing else")
    _add_model(parser.add_argument_group("model"))
    _add_camera(parser.add_argument_group("depth and camera"))
    _add_pictures(parser.add_argument_group("pictures"))
    _add_moving(parser.add_argument_group("videos and recordings"))
    add_ray(parser)
    parser.set_defaults(run=run)


def _add_model(group: Any) -> None:
    group.add_argument(
        "--preset",
        default="auto",
        help="name or YAML file (default: auto, the best that is here and that the device can carry)",
    )
    group.add_argument(
        "--proposals-from", metavar="PRESET", help="take the proposal generator of this preset instead"
    )
    group.add_argument(
        "--threshold", type=float, metavar="P", help="probability a mask needs (default: preset's)"
    )
    group.add_argument(
        "--granularity", type=float, metavar="G", help="0 coarse to 1 precise label image (default: preset's)"
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="any other option of the segmenter, as in a preset's options; may be repeated",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, … (default: auto)")
    group.add_argument("--weights-dir", type=Path, metavar="DIR", help="folder with downloaded weights")
    network = group.add_mutually_exclusive_group()
    network.add_argument("--offline", action="store_true", help="never use the network (default)")
    network.add_argument("--download", action="store_true", help="download weights that are missing")


def _add_camera(group: Any) -> None:
    group.add_argument(
        "--depth", type=Path, metavar="PATH", help="depth beside pictures: a file, or a folder"
    )
    group.add_argument(
        "--depth-scale",
        type=float,
        metavar="M",
        help="metres per unit of depth, 0.0002 for files of TUM's (default: integers mm, floats m)",
    )
    group.add_argument(
        "--intrinsics",
        metavar="K",
        help="fx,fy,cx,cy in pixels, or a camera_info YAML file, of pictures, and of recordings in place of "
        "their own",
    )


def _add_pictures(group: Any) -> None:
    group.add_argument("--recursive", action="store_true", help="look in folders' folders too")
    group.add_argument(
        "--max-pixels",
        type=float,
        default=MAX_MEGAPIXELS,
        metavar="MP",
        help=f"refuse larger pictures, in million pixels (default: {MAX_MEGAPIXELS:g})",
    )


def _add_moving(group: Any) -> None:
    group.add_argument("--every", type=int, default=1, metavar="N", help="take each N-th frame (default: 1)")
    group.add_argument("--max-frames", type=int, metavar="N", help="at most N frames of each (default: all)")
    group.add_argument("--image-topic", metavar="TOPIC", help="colour (default: found by type and name)")
    group.add_argument("--depth-topic", metavar="TOPIC", help="registered depth, or none (default: found)")
    group.add_argument("--camera-info-topic", metavar="TOPIC", help="intrinsics, or none (default: found)")
    group.add_argument(
        "--depth-tolerance",
        type=float,
        default=DEPTH_TOLERANCE_S,
        metavar="S",
        help=f"seconds between an image and its depth (default: {DEPTH_TOLERANCE_S:g})",
    )


def run(options: argparse.Namespace, load: Load | None = None) -> int:
    """Runs the command.

    Args:
        options: from the parser `add_parser` makes.
        load: stands in for `models.presets.load_preset`.

    Returns:
        0: every frame done. 1: some failed. 2: all failed. 130: interrupted; what was done stays good.

    Raises:
        OvsegError: options or inputs that cannot be used at all, weights that are missing, a full disk.
    """
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        status, summary, found = _segment(options, load)
    if options.json:
        print(json.dumps(summary, indent=2))
    print(found, file=sys.stderr if options.json else sys.stdout, flush=True)
    return status


def _segment(options: argparse.Namespace, load: Load | None) -> tuple[int, dict[str, Any], str]:
    """Everything but what goes to stdout: the exit status, the summary, and what was found in one line."""
    from ovseg_ros.app.segment import setup
    from ovseg_ros.app.segment.inputs import readable

    started = time.time()
    plan = setup.checked(options)
    from ovseg_ros.app.segment.work import SegmentJob  # torch comes with it

    _say(f"loading {plan.chosen.preset}; {plan.chosen.reason}")
    job = SegmentJob(options, dataclasses.replace(plan, sources=[]), load)
    with crew_of(options, job) as crew:
        about = crew.about()
        plan = dataclasses.replace(plan, vocabulary=about.vocabulary, rejected=about.rejected)
        for word in plan.rejected:
            _say(f"word not taken: {word.name!r}: {word.reason}")
        command = readable(shlex.join(["ovseg", *sys.argv[1:]]))
        return _with(crew, options, plan, {**about.made_with, "command": command}, started)


def _with(
    crew: Crew, options: argparse.Namespace, plan: Checked, about: Mapping[str, Any], started: float
) -> tuple[int, dict[str, Any], str]:
    """The same, with workers that are ready."""
    from ovseg_ros.app.segment.inputs import Picture
    from ovseg_ros.app.segment.outputs import OutputFolder
    from ovseg_ros.app.segment.run import Progress, Run
    from ovseg_ros.app.segment.summary import found_text

    settings = {**plan.settings, "weights": about["weights"], "options": about["options"]}
    folder = OutputFolder(plan.out, settings, overwrite=options.overwrite, resume=options.resume)
    progress = Progress(sum(source.count for source in plan.sources))
    job = Run(plan.sources, folder, progress)
    status = "failed"
    try:
        status = _work(job, plan, crew, folder, whole=options.ray is None)
    finally:
        progress.close()
        summary = _finish(folder, job, plan, about, status, started)
    noun = "picture" if all(isinstance(source, Picture) for source in plan.sources) else "frame"
    return _verdict(job, status, noun), summary, found_text(summary, noun)


def _work(job: Run, plan: Checked, crew: Crew, folder: OutputFolder, *, whole: bool) -> str:
    """Does everything, or what comes before Ctrl-C; which of both is the summary's status."""
    from ovseg_ros.app.segment.work import lost, shards_of

    try:
        for source, reason in plan.unusable:
            job.fail(source, reason)
        job.take(crew.do(shards_of(plan.sources, whole=whole), folder.done, lost))
        job.films()
    except KeyboardInterrupt:
        return "interrupted"
    return "complete"


def _finish(
    folder: OutputFolder, job: Run, plan: Checked, about: Mapping[str, Any], status: str, started: float
) -> dict[str, Any]:
    """Makes masks.json and the summaries from the journal; without a frame in it nothing stays.

    Returns:
        summary.json's content, and "out": where everything is, None where nothing stayed.
    """
    from ovseg_ros.app.segment.summary import count, summary_text
    from ovseg_ros.evaluate.scores.provenance import versions

    counted = count(folder.entries(), plan.vocabulary)
    start = datetime.datetime.fromtimestamp(started).astimezone()
    tally = job.tally
    summary = {
        "status": status,
        "started": start.isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 3),
        "frames": {"segmented": counted["frames"], "kept": tally.kept, "failed": tally.failed},
        "labels": counted["labels"],
        "median_ms": counted["median_ms"],
        "mask_remarks": counted["mask_remarks"],
        "rejected_labels": [dataclasses.asdict(word) for word in plan.rejected],
        "failures": [{"source": source, "reason": reason} for source, reason in tally.failures],
        "remarks": tally.remarks,
        **about,
        "versions": versions(),
    }
    if counted["frames"]:
        info = {"description": "ovseg segment", "version": __version__, "date_created": start.isoformat()}
        folder.write_masks([{"id": label.id, "name": label.name} for label in plan.vocabulary], info)
        folder.write_summary(summary, summary_text(summary))
    folder.close()
    return {**summary, "out": folder.paths() if counted["frames"] else None}


def _verdict(job: Run, status: str, noun: str) -> int:
    """The exit status; what is out of the ordinary is said."""
    from ovseg_ros.app.segment.summary import counted

    tally = job.tally
    done = tally.segmented + tally.kept
    if status != "complete" or tally.kept or tally.failed:
        kept = f" ({tally.kept} of them from an earlier run)" if tally.kept else ""
        _say(f"{status}: {counted(done, noun)}{kept}, {tally.failed} failed")
    if status == "interrupted":
        return 130
    return 2 if not done else 1 if tally.failed else 0


def _say(text: str) -> None:
    print(f"ovseg: {text}", file=sys.stderr, flush=True)
