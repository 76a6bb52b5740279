"""Runs the cases of `ovseg bench` and writes what they gave."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import torch

from ovseg_ros.app import bench_cases
from ovseg_ros.app.bench_chart import draw
from ovseg_ros.app.bench_earlier import read_earlier, with_earlier
from ovseg_ros.app.bench_plan import CASES, QUICK, Plan
from ovseg_ros.app.bench_report import report
from ovseg_ros.app.bench_scene import TINY
from ovseg_ros.app.bench_targets import verdicts
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.provenance import hardware, versions

Say = Callable[[str], None]

_ON_RIG = {
    "cold": bench_cases.cold,
    "query": bench_cases.query,
    "masks": bench_cases.sweep_masks,
    "labels": bench_cases.sweep_labels,
    "size": bench_cases.sweep_size,
}
_NO_ROS = "Convert and publish were left out: there is no rclpy here, or the interfaces are not built."


def bench(options: argparse.Namespace, say: Say) -> dict[str, Any]:
    """What the command does.

    Args:
        options: see `app.bench`.
        say: takes lines for people.

    Returns:
        What went to result.json.

    Raises:
        ConfigError: an unknown case, architecture or device, a number out of range, or nothing to add to.
    """
    chosen = tuple(options.cases) or CASES
    unknown = [name for name in chosen if name not in CASES]
    if unknown:
        raise ConfigError(f"want cases of {', '.join(CASES)}, got {', '.join(unknown)}")
    plan = plan_of(options)
    settings = {**dataclasses.asdict(plan), "recording": str(plan.recording)}
    if plan.quick:
        settings["model"] = "of 4 layers and 32 pixels"
    earlier = read_earlier(options.out, settings) if options.add else None
    torch.set_num_threads(plan.threads)
    cv2.setNumThreads(plan.threads)
    begin, typed = os.getloadavg()[0], ["ovseg", *sys.argv[1:]]
    cases, ros = _cases(plan, chosen, lambda text: print(text, file=sys.stderr, flush=True))
    result: dict[str, Any] = {
        "made_with": {
            "command": shlex.join(typed),
            "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            "commit": commit(),
            "versions": versions(),
            "hardware": hardware(),
            "load": {"begin": begin, "end": os.getloadavg()[0]},
            "ros": ros,
            "cases": list(cases),
        },
        "settings": settings,
        "cases": cases,
    }
    if earlier is not None:
        result = with_earlier(result, earlier)
    result["targets"] = verdicts(result["cases"])
    write(options.out, result, say)
    return result


def plan_of(options: argparse.Namespace) -> Plan:
    """What the options ask for.

    Raises:
        ConfigError: a device that cannot be used, or a number below 1.
    """
    changes: dict[str, Any] = {"model": options.model, **(dict(QUICK) if options.quick else {})}
    if options.quick:
        changes["model"] = TINY
    for name, value in (("masks", options.masks), ("runs", options.runs), ("budget_s", options.budget)):
        if value is not None:
            changes[name] = value
    for name in ("threads", "masks", "runs"):
        value = changes.get(name, getattr(options, name))
        if value is not None and value < 1:
            raise ConfigError(f"want {name} at least 1, got {value}")
    try:
        torch.zeros(1, device=options.device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {options.device!r} cannot be used: {str(error).splitlines()[0]}"
        ) from error
    return Plan(
        device=options.device,
        threads=options.threads,
        recording=Path(options.recording),
        preset=options.preset,
        **changes,
    )


def write(out: Path, result: dict[str, Any], say: Say) -> None:
    """result.json, result.md and cost.png."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = report(result)
    (out / "result.md").write_text(text, encoding="utf-8")
    say(text)
    settings = result["settings"]
    title = (
        f"{settings['model']}, {settings['masks']} masks, {settings['labels']} labels, {settings['device']}"
    )
    drawn = draw(out / "cost.png", result["cases"], title)
    say(f"written: {out / 'result.json'}, {out / 'result.md'}" + (f", {out / 'cost.png'}" if drawn else ""))


def commit() -> str | None:
    """The commit of the source tree this runs from, with + where files differ from it; None elsewhere."""
    folder = Path(os.environ.get("OVSEG_SOURCE_DIR") or Path(__file__).resolve().parents[2])
    if not (folder / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(folder)]
        name = subprocess.run(
            [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return name.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _cases(plan: Plan, chosen: tuple[str, ...], say: Say) -> tuple[dict[str, Any], str]:
    """The figures of the chosen cases, and a sentence on ROS."""
    cases: dict[str, Any] = {}
    ros, told = None, ""
    if "cold" in chosen:
        ros = _ros_stages()
        told = _NO_ROS if ros is None else "Convert and publish: every image output and the markers watched."
    try:
        rig = bench_cases.Rig(plan, ros) if set(chosen) & set(_ON_RIG) else None
        for name in (name for name in CASES if name in chosen):
            if rig is not None and name in _ON_RIG:
                cases[name] = _ON_RIG[name](rig, say)
            else:
                module = importlib.import_module(f"ovseg_ros.app.bench_{name}")
                cases[name] = getattr(module, name)(plan, say)
    finally:
        if ros is not None:
            ros.close()
    return cases, told


def _ros_stages() -> Any:
    """Times conversion and publication; None where there is no rclpy or the interfaces are not built."""
    try:
        from ovseg_ros.ros.stage_times import StageTimes
    except ImportError:
        return None
    return StageTimes()
