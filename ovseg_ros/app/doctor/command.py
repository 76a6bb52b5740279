"""`ovseg doctor`: looks at all that is between a bare machine and its first answer; docs/install_gpu.md."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.doctor.check import ERROR, WARN, Check, worst
from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    from ovseg_ros.models.auto import Choice
    from ovseg_ros.models.nvidia import TorchBuild

TOPICS = {
    "image": "/camera/color/image_raw",
    "depth": "/camera/depth/image_raw",
    "camera_info": "/camera/color/camera_info",
}
PAGE = "docs/install_gpu.md"


def add_parser(commands: Any) -> None:
    """Adds the subcommand to `argparse`'s subparsers."""
    parser = commands.add_parser(
        "doctor",
        help="what stands between this machine and the first answer",
        description="Looks at Python, torch, the GPU and its driver, memory, ROS, Fast DDS, the preset's "
        "weights and, with --camera, a camera's topics. Says of each OK, WARN or ERROR, what was found, and "
        "what helps. Needs no ROS, no GPU and no network. Exits 0 where there is no ERROR, else 1.",
    )
    parser.add_argument(
        "--preset", default="auto", metavar="PRESET", help="a name or a .yaml file (default: auto)"
    )
    parser.add_argument("--device", default="auto", help="where the networks shall run (default: auto)")
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    parser.add_argument("--camera", action="store_true", help="also listen to a camera's topics")
    for name, topic in TOPICS.items():
        option = f"--{name.replace('_', '-')}-topic"
        parser.add_argument(option, metavar="TOPIC", help=f"implies --camera; '' for none (default: {topic})")
    parser.add_argument(
        "--seconds", type=float, default=3.0, metavar="S", help="how long to listen (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON, and nothing else")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand.

    Returns:
        0: nothing is an ERROR; 1: something is.

    Raises:
        ConfigError: a preset that is not known.
    """
    checks: list[Check] = []
    part = ""
    for check in examine(options):
        checks.append(check)
        if not options.json:
            if check.part != part:
                print(check.part)
                part = check.part
            print(_lines(check, shutil.get_terminal_size().columns), flush=True)
    if options.json:
        rows = [dataclasses.asdict(check) for check in checks]
        print(json.dumps({"ok": worst(checks) != ERROR, "level": worst(checks), "checks": rows}, indent=2))
    else:
        print(_summary(checks))
    return 1 if worst(checks) == ERROR else 0


def examine(options: argparse.Namespace) -> Iterator[Check]:
    """Each check in its turn; what takes long is announced on stderr."""
    from ovseg_ros.app.doctor import look, software
    from ovseg_ros.models.preset_parts import needs_depth
    from ovseg_ros.models.presets import preset_path, read_preset

    if options.preset != "auto":
        preset_path(options.preset)  # a slip of the pen is said before anything is looked at
    topics = _topics(options)
    yield software.check_python(sys.version_info[:3], sys.executable)
    torch, problem = look.look_for_torch()
    yield software.check_torch(torch, problem)
    wants_depth = False
    if torch is not None:
        yield from _gpu(options.device, torch)
        chosen = _chosen(options, can_use_gpu=_sees(options.device, torch))
        preset = read_preset(preset_path(chosen.preset), part_options=False)
        wants_depth = needs_depth(preset["proposer"])
        yield from _preset(options, chosen, preset, torch)
    ros, listen = look.look_at_ros()
    yield from software.check_ros(ros, is_wanted=topics is not None)
    yield software.check_cv_bridge(look.look_at_cv_bridge())
    if ros.has_rclpy:
        from ovseg_ros.app.doctor.dds import check_dds

        yield from check_dds(os.environ, look.profile_texts(os.environ), look.shared_memory())
    if topics is not None and listen is not None:
        from ovseg_ros.app.doctor.camera import check_camera

        _say(f"listening to {', '.join(filter(None, topics.values()))} for {options.seconds:g} s")
        yield from check_camera(look.listen_to(listen, topics, options.seconds), needs_depth=wants_depth)


def _gpu(device: str, torch: TorchBuild) -> Iterator[Check]:
    from ovseg_ros.app.doctor import look
    from ovseg_ros.app.doctor.gpu import check_gpu, check_trial
    from ovseg_ros.models.nvidia import look_at_nvidia

    checks = check_gpu(look_at_nvidia(), torch, device)
    yield from checks
    if _sees(device, torch) and worst(checks) != ERROR:
        yield check_trial(look.try_gpu(_cuda(device)))


def _chosen(options: argparse.Namespace, *, can_use_gpu: bool) -> Choice:
    """The preset that the name stands for; for the CPU where the device cannot be used, as is said before."""
    from ovseg_ros.models.presets import resolve_preset

    device = options.device if can_use_gpu or not options.device.startswith("cuda") else "cpu"
    return resolve_preset(options.preset, device, options.weights_dir)


def _preset(
    options: argparse.Namespace, chosen: Choice, preset: Mapping[str, Any], torch: TorchBuild
) -> Iterator[Check]:
    from ovseg_ros.app.doctor import look
    from ovseg_ros.app.doctor.gpu import check_memory
    from ovseg_ros.app.doctor.preset import check_preset, check_weights
    from ovseg_ros.models.nvidia import look_at_nvidia
    from ovseg_ros.models.presets import best_device, preset_path, slow_on_cpu

    path, needs_gb = preset_path(chosen.preset), preset.get("gpu_memory_gb")
    is_on_cpu = options.device == "cpu" or (options.device == "auto" and best_device() == "cpu")
    slow = slow_on_cpu(path.stem, preset["proposer"], needs_gb) if is_on_cpu else ""
    yield check_preset(path.stem, chosen.reason, slow)
    _say("reading and verifying weights")
    files = look.look_at_weights(chosen.preset, options.weights_dir)
    yield from check_weights(files, look.try_bundled(path, preset, options.weights_dir))
    gpu = look.gpu_memory(_cuda(options.device)) if _sees(options.device, torch) else None
    is_shared = look_at_nvidia().jetson is not None
    yield from check_memory(look.machine_memory(), gpu, needs_gb, preset=path.stem, is_shared=is_shared)


def _sees(device: str, torch: TorchBuild) -> bool:
    """Whether the networks would run on a GPU of NVIDIA's."""
    return bool(torch.sees) and (device == "auto" or device.startswith("cuda"))


def _cuda(device: str) -> str:
    return "cuda" if device == "auto" else device


def _topics(options: argparse.Namespace) -> dict[str, str] | None:
    """The camera's topics; None where it is not asked for."""
    given = {name: getattr(options, f"{name}_topic") for name in TOPICS}
    if not options.camera and all(topic is None for topic in given.values()):
        return None
    topics = {name: TOPICS[name] if topic is None else topic for name, topic in given.items()}
    if not topics["image"]:
        raise ConfigError("expected a topic of images, got --image-topic ''; leave it out for the default")
    return topics


def _lines(check: Check, width: int) -> str:
    """A check for people, wrapped; the cure stands below what was found."""
    indent = 9
    text = textwrap.TextWrapper(
        width=max(width, 60),
        initial_indent=f"  {check.level:<5}  ",
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = text.fill(f"{check.name}: {check.found}")
    if check.cure:
        text.initial_indent, text.subsequent_indent = " " * indent + "-> ", " " * (indent + 3)
        lines += "\n" + text.fill(check.cure)
    return lines


def _summary(checks: list[Check]) -> str:
    errors = sum(check.level == ERROR for check in checks)
    warnings = sum(check.level == WARN for check in checks)
    both = ((errors, "error"), (warnings, "warning"))
    counts = [f"{n} {word}{'' if n == 1 else 's'}" for n, word in both if n]
    if not counts:
        return "\nEverything is well."
    return f"\n{' and '.join(counts)}; {PAGE} goes from a bare machine to the first answer."


def _say(text: str) -> None:
    print(f"  ({text})", file=sys.stderr, flush=True)
