"""The `ovseg` command. Works without ROS; heavy modules are imported by the subcommand that needs them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros import __version__
from ovseg_ros.app import evaluate_commands, evaluate_masks, evaluate_photos
from ovseg_ros.app.ask import command as ask
from ovseg_ros.app.bench import command as bench
from ovseg_ros.app.demo.presets import add_preset_options
from ovseg_ros.app.doctor import command as doctor
from ovseg_ros.app.evaluate_presets import add_presets, by_name, refuse_failing
from ovseg_ros.app.learn import commands as learn_commands
from ovseg_ros.app.learn import tabletop_road
from ovseg_ros.app.memory import command as memory
from ovseg_ros.app.segment import command as segment
from ovseg_ros.app.teach import command as teach
from ovseg_ros.app.web import command as web
from ovseg_ros.app.weights import convert_checkpoint, download, export
from ovseg_ros.errors import OvsegError, missing_module

if TYPE_CHECKING:
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.evaluate.recordings.demo import Suite


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0: done, and what was measured reaches its targets. 1: it does not. 2: an error, said on stderr.
    """
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except OvsegError as error:
        print(f"ovseg: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(f"ovseg: {missing_module(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ovseg: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ovseg",
        description="Finds things by name in pictures, videos and recordings: masks, words and scores, for "
        "any words you like, without training. Needs no ROS; `ros2 launch ovseg_ros ovseg.launch.py` starts "
        "the ROS 2 node.",
        epilog="`ovseg COMMAND --help` tells what a command takes. To begin with: ovseg demo",
    )
    parser.add_argument("--version", action="version", version=f"ovseg_ros {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    # In the order of the help: what is used first stands first.
    _add_demo(commands)
    ask.add_parser(commands)
    segment.add_parser(commands)
    memory.add_parser(commands)
    teach.add_parser(commands)
    web.add_parser(commands)
    doctor.add_parser(commands)
    _add_presets(commands)
    download.add_parser(commands)
    convert_checkpoint.add_parser(commands)
    export.add_parser(commands)
    _add_evaluate(commands)
    learn_commands.add_parser(commands)
    bench.add_parser(commands)
    return parser


def _add_presets(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    presets = commands.add_parser(
        "presets", help="list the presets and whether their weights are here", description=_presets.__doc__
    )
    presets.add_argument("preset", nargs="*", help="only these (names, or paths of preset files)")
    presets.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    presets.add_argument("--json", action="store_true", help="print the list as JSON")
    presets.set_defaults(run=_presets)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="measure on data with ground truth",
        description="Measures how often the right words get the right masks, where the truth is known.",
    )
    subjects = evaluate.add_subparsers(title="what", required=True, metavar="WHAT")
    demo = subjects.add_parser(
        "demo",
        help="the bundled recordings",
        description="Measures mini on demo/tabletop and lite on demo/garage, or what the options say, and "
        "prints the figures beside those that must be reached. Exits 1 where one is missed.",
    )
    add_presets(demo, "mini on tabletop, lite on garage")
    demo.add_argument(
        "--recording",
        metavar="DIR",
        help="measure on this recording alone (a rosbag2 folder or photographs, with ground truth)",
    )
    demo.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    demo.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    demo.add_argument(
        "--charts", type=Path, metavar="DIR", help="draw precision against recall and reliability there"
    )
    demo.add_argument("--summary", action="store_true", help="leave out the lines per word")
    demo.add_argument("--report-only", action="store_true", help="exit 0 whatever was reached")
    demo.set_defaults(run=_evaluate_demo)
    evaluate_masks.add_parser(subjects)
    evaluate_photos.add_parser(subjects)
    evaluate_commands.add_parsers(subjects)
    tabletop_road.add_parser(subjects)


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="ask the bundled recordings for things by name",
        description="Asks a rendered tabletop (preset mini), the photograph of a garage and its depth (lite) "
        "and photographs without depth (lite) for things by name, holds each answer against the truth and "
        "draws it. Exits 1 where an answer that is judged is wrong, or too few things of the photographs "
        "have a mask. `make demo` does the same over ROS.",
    )
    parser.add_argument(
        "queries", nargs="?", default="", help='other words, asked in every scene: "find moka pot, giraffe"'
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/demo"),
        metavar="DIR",
        help="where pictures and figures go (default: out/demo)",
    )
    add_preset_options(parser)
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, … (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print result.json's content, and nothing else")
    parser.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    from ovseg_ros.app.demo.without_ros import run

    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        status = run(options)
    if options.json:
        print((options.out / "result.json").read_text(encoding="utf-8"), end="")
    return status


def _presets(options: argparse.Namespace) -> int:
    """Lists presets: where their masks come from, who names them, and which weights are missing."""
    from ovseg_ros.models.downloads.files import find_file
    from ovseg_ros.models.preset_parts import needs_depth
    from ovseg_ros.models.presets import (
        list_presets,
        preset_path,
        preset_weights,
        read_preset,
        resolve_preset,
    )

    rows = []
    if not options.preset and not options.json:
        chosen = resolve_preset("auto", weights_dir=options.weights_dir)
        print(f"auto, the default: here {chosen.preset}; {chosen.reason.removeprefix('auto: ')}\n")
    for name in options.preset or list_presets():
        path = preset_path(name)
        preset = read_preset(path, part_options=False)
        row = {
            "name": path.stem,
            "description": preset.get("description", ""),
            "proposals": preset["proposer"]["kind"],
            "encoder": preset["encoder"]["kind"],
            "classifier": (preset.get("options") or {}).get("classifier", "clip"),
            "needs_depth": needs_depth(preset["proposer"]),
            "missing_weights": [
                file for file in preset_weights(name) if not find_file(file, options.weights_dir, path.parent)
            ],
        }
        rows.append(row)
        if options.json:
            continue
        print(f"{row['name']}: {row['description']}")
        print("    " + "    ".join(f"{key}: {row[key]}" for key in ("proposals", "encoder", "classifier")))
        missing = ", ".join(row["missing_weights"])
        print(
            f"    weights: not here, see `ovseg download {name}`: {missing}"
            if missing
            else "    weights: ready"
        )
    if options.json:
        print(json.dumps(rows, indent=2))
    return 0


def _evaluate_demo(options: argparse.Namespace) -> int:
    from ovseg_ros.evaluate.recordings.demo import evaluate_suites, write_json
    from ovseg_ros.evaluate.recordings.tables import report

    def load(preset: str) -> OpenVocabularySegmenter:
        from ovseg_ros.models.presets import load_preset

        _say(f"loading {preset}")
        segmenter = load_preset(preset, device=options.device)
        segmenter.warm_up()
        return segmenter

    if options.preset and len(options.preset) > 1:
        refuse_failing(options.preset, options.device, None)
    suites = _suites(options.recording, options.preset or ())
    result = evaluate_suites(suites, load, _show_progress)
    if options.json:
        write_json(result, options.json)
    if options.charts:
        from ovseg_ros.evaluate.recordings.charts import write_charts

        write_charts(options.charts, result)
    print(report(result, details=not options.summary))
    missed = [
        t["text"] if len(suites) == 1 else f"{name}: {t['text']}"
        for name, suite in result["suites"].items()
        for t in suite["targets"]
        if not t["met"]
    ]
    print()
    print("every target is met" if not missed else f"missed: {'; '.join(missed)}")
    return 0 if result["ok"] or options.report_only else 1


def _suites(recording: str | None, presets: Sequence[str]) -> dict[str, Suite]:
    """Both bundled recordings, or the one named, with the targets of its bundled namesake; by each preset."""
    from dataclasses import replace

    from ovseg_ros.evaluate.recordings.demo import SUITES, Suite

    if recording is None:
        chosen = dict(SUITES)
    else:
        name = Path(recording).name
        known = SUITES.get(name, Suite(recording, "mini"))
        chosen = {name: replace(known, recording=recording)}
    if not presets:
        return chosen
    return {
        name if len(presets) == 1 else f"{name}_{called}": replace(suite, preset=preset)
        for name, suite in chosen.items()
        for called, preset in by_name(presets).items()
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _show_progress(name: str, done: int, total: int) -> None:
    """One line on stderr that grows on a terminal, and a line every tenth frame elsewhere."""
    if sys.stderr.isatty():
        print(
            f"\r{name}: frame {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True
        )
    elif done % 10 == 0 or done == total:
        _say(f"{name}: frame {done}/{total}")


if __name__ == "__main__":
    sys.exit(main())
