"""`ovseg evaluate photos`: whether names are right on photographs with true instances."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ovseg_ros.app.evaluate_commands import add_settings, say, show_progress, tell_failed
from ovseg_ros.app.evaluate_presets import add_presets, by_name, refuse_failing


def add_parser(subjects: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `photos` to `ovseg evaluate`; imports nothing heavy."""
    photos = subjects.add_parser(
        "photos",
        help="a preset's names on photographs: precision, recall, calibration",
        description="Names the masks of the pictures of a COCO instance file by its categories, and asks for "
        "words alone, those that are there one to one with words that are not. Prints precision, recall, F1, "
        "top-1, absent words FOUND and calibration errors. Exits 1 where pictures could not be scored.",
    )
    photos.add_argument("photos_json", type=Path, metavar="JSON", help="a COCO instance file with categories")
    photos.add_argument(
        "--images", type=Path, metavar="DIR", help="where its pictures are (default: beside it)"
    )
    photos.add_argument(
        "--masks", default="own", help="true: the labelled ones; own: what the preset proposes (default: own)"
    )
    photos.add_argument(
        "--words",
        default="all",
        help="masks are named by all categories, or by those present in the picture (default: all)",
    )
    photos.add_argument(
        "--min-pixels", type=int, default=400, metavar="N", help="smaller objects do not count (default: 400)"
    )
    photos.add_argument("--seed", type=int, default=0, help="of the absent words (default: 0)")
    photos.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    add_presets(photos, "lite")
    photos.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    photos.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    add_settings(photos)
    photos.add_argument("--charts", type=Path, metavar="DIR", help="draw the curve and the diagram there")
    photos.add_argument("--json", type=Path, metavar="FILE", help="also write figures and every trial here")
    photos.add_argument("--per-word", action="store_true", help="also print a row per word")
    photos.set_defaults(run=_photos)


def _photos(options: argparse.Namespace) -> int:
    from ovseg_ros.app.segment.setup import changed_options
    from ovseg_ros.evaluate.photos import PhotoOptions, refuse_depth, score_photos
    from ovseg_ros.evaluate.photos.reports import comparison, report, write_charts
    from ovseg_ros.evaluate.recordings.demo import write_json
    from ovseg_ros.files.instances import read_instances

    measured = PhotoOptions(options.masks, options.words, options.min_pixels, options.seed)
    changes = changed_options(options)
    dataset = read_instances(options.photos_json, options.images)
    if options.limit is not None:
        dataset = dataset.take(options.limit)
    presets = by_name(options.preset or ["lite"])
    if len(presets) > 1 and options.masks == "own":
        refuse_failing(list(presets.values()), options.device, options.weights_dir, refuse_depth)
    measured_of, content, failed = {}, {}, []
    for called, preset in presets.items():
        one = argparse.Namespace(**{**vars(options), "preset": preset})
        segmenter, chosen = _loaded(one, changes)
        scores = score_photos(segmenter, dataset, measured, progress=show_progress("picture"))
        print(report(scores, one.preset, details=options.per_word), end="\n\n" if len(presets) > 1 else "\n")
        made = _made_with(one, segmenter, chosen, dataset.sha256, len(dataset))
        measured_of[called], content[called] = scores, {**scores.to_dict(), "made_with": made}
        del segmenter  # before the next one is loaded
        failed += [entry for entry in scores.failed if entry not in failed]
        if options.charts is not None:
            write_charts(options.charts / called if len(presets) > 1 else options.charts, scores, one.preset)
    if len(presets) > 1:
        print(comparison(measured_of))
    if options.json is not None:
        write_json({"presets": content} if len(presets) > 1 else next(iter(content.values())), options.json)
        print(f"written to {options.json}")
    if options.charts is not None:
        print(f"drawn in {options.charts}")
    return tell_failed(failed)


def _loaded(options: argparse.Namespace, changes: dict[str, Any]) -> tuple[Any, Any]:
    """The preset's segmenter, its options changed as asked, and those options."""
    import dataclasses

    from ovseg_ros.evaluate.no_proposer import NoProposer
    from ovseg_ros.models.presets import (
        build_options,
        load_preset,
        preset_path,
        read_preset,
        resolve_preset,
    )

    choice = resolve_preset(options.preset, options.device, options.weights_dir)
    options.preset = choice.preset  # what the results say they were made with
    say(f"loading {options.preset}; {choice.reason}")
    path = preset_path(options.preset)
    given = build_options(path, read_preset(path).get("options") or {})
    uses_generator = dataclasses.replace(given, **changes).uses_generator  # which `score_photos` refuses
    own: dict[str, Any] = {"proposer": NoProposer()} if options.masks == "true" and not uses_generator else {}
    segmenter = load_preset(options.preset, device=options.device, weights_dir=options.weights_dir, **own)
    chosen = dataclasses.replace(segmenter.options, **changes)
    segmenter.check(chosen)
    segmenter.options = chosen
    return segmenter, chosen


def _made_with(
    options: argparse.Namespace, segmenter: Any, chosen: Any, sha256: str, pictures: int
) -> dict[str, Any]:
    from ovseg_ros.evaluate.scores.provenance import made_with

    made = made_with(
        preset=options.preset, weights_dir=options.weights_dir, segmenter=segmenter, options=chosen
    )
    return made | {"data": {"name": options.photos_json.name, "pictures": pictures, "sha256": sha256}}
