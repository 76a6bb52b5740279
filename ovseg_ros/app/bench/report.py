"""What `ovseg bench` found, as Markdown for a terminal and a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ovseg_ros.evaluate.recordings.tables import markdown_table

_STAGES = ("propose", "track", "crop", "encode", "text", "classify", "compose")
_TITLES = {
    "cold": "Cold frame",
    "query": "A query on a held frame",
    "video": "Video",
    "colour": "A colour frame",
    "colour_video": "Colour video",
}


def report(result: Mapping[str, Any]) -> str:
    """Everything in Markdown."""
    parts = [_provenance(result)]
    if result["settings"]["quick"]:
        parts.append("**A quick run on tiny networks: everything runs; the figures mean nothing.**")
    for name, case in result["cases"].items():
        parts += [f"### {_TITLES[name]}", _table(case), *_remarks(case)]
    return "\n\n".join(parts) + "\n"


def _table(case: Mapping[str, Any]) -> str:
    """A line per variant: a frame, how many times as long as the reference, each stage, and memory."""
    variants = case["variants"]
    stages = [name for name in _STAGES if any(name in one["stages_ms"] for one in variants.values())]
    head = ("ms, median", "frame", "processor", f"times {case['reference']}", "quartiles", "by processor")
    rows = []
    for name, one in variants.items():
        times, spent, peak = case["times_reference"][name], one["stages_ms"], one["peak_mib"]
        row = [name, _number(one["ms"]["median"]), _number(one["processor_ms"]["median"])]
        row += [_number(times["median"]), f"{_number(times['low'])} to {_number(times['high'])}"]
        row += [_number(times["processor"])]
        row += [_number(spent[stage]["median"]) if stage in spent else "-" for stage in stages]
        rows.append((*row, "-" if peak is None else f"{peak:.0f}"))
    return markdown_table((*head, *stages, "peak MiB"), rows)


def _number(value: float) -> str:
    """Three significant figures or so, without an exponent."""
    places = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 4
    return f"{value:.{places}f}"


def _remarks(case: Mapping[str, Any]) -> list[str]:
    remarks = []
    if "least_cosine" in case:
        alike = ", ".join(f"{name} {cosine:.5f}" for name, cosine in case["least_cosine"].items())
        remarks.append(f"Least cosine with the baseline's embedding of the same mask: {alike}.")
    if "cosine_with_reference" in case:
        alike = ", ".join(f"{name} {cosine:.5f}" for name, cosine in case["cosine_with_reference"].items())
        remarks.append(
            f"{case['masks']} masks. Least cosine with the same mask's embedding by {case['reference']}: "
            f"{alike or '-'}."
        )
    if "labels_equal" in case:
        rates = ", ".join(f"{name} {one['frames_per_s']:.1f}" for name, one in case["variants"].items())
        remarks.append(f"Frames a second, the first of a round included: {rates}.")
        equal = ", ".join(f"{name} {100 * share:.2f} %" for name, share in case["labels_equal"].items())
        encoded = ", ".join(f"{name} {100 * share:.0f} %" for name, share in case["share_encoded"].items())
        remarks.append(
            f"{case['frames']} frames, {case['masks']} masks. Labels equal to those of every frame anew in "
            f"float32: {equal}. Masks encoded: {encoded}."
        )
    return remarks


def _provenance(result: Mapping[str, Any]) -> str:
    made, settings, load = result["made_with"], result["settings"], result["load"]
    hardware, versions = made["hardware"], made["versions"]
    height, width = settings["size_hw"]
    lines = (
        f"`{made['command']}`, {made['date']}.",
        f"{hardware['processor']}, {hardware['cores']} cores, {settings['threads']} threads, device "
        f"{settings['device']}; torch {versions['torch']}, Python {versions['python']}.",
        f"cold and query: {settings['model']} with random weights, {settings['masks']} masks, "
        f"{settings['labels']} labels at {width}x{height}; video: `{settings['recording']}`, preset "
        f"`{settings['preset']}`; colour and colour_video: preset `{settings['colour_preset']}`, "
        f"{width}x{height}. Rounds: {settings['rounds']}.",
        f"Load average when it began and when it ended: {load[0]:.1f} and {load[1]:.1f} (more than the "
        "cores means that others were at work, and milliseconds are too long: read the ratios).",
    )
    return "\n".join(lines)
