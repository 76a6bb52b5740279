"""What `ovseg bench` found, as tables for a terminal and a Markdown file; and beside it what was wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ovseg_ros.app.bench_paths import STAGES
from ovseg_ros.app.bench_targets import Result, digits
from ovseg_ros.evaluate.tables import markdown_table

_TITLES = {
    "cold": "Cold frame",
    "query": "A query on a held frame",
    "video": "Video",
    "masks": "Number of masks",
    "labels": "Number of labels",
    "size": "Size of the image",
    "cuda": "Graphics card",
    "overhead": "Node overhead",
    "soak": "Soak",
}


def report(result: Result) -> str:
    """Everything in Markdown."""
    parts = [_provenance(result)]
    if result["settings"]["quick"]:
        parts.append("**A quick run on tiny networks: everything runs; the figures mean nothing.**")
    parts += ["### Targets", target_table(result["targets"])]
    for name, case in result["cases"].items():
        body = _SECTIONS[name](case) if name in _SECTIONS else ""
        if body:
            parts += [f"### {_TITLES[name]}", body]
    return "\n\n".join(parts) + "\n"


def target_table(found: Sequence[Mapping[str, Any]]) -> str:
    """What was wanted and what was measured; a target that was not measured says so."""
    words = {True: "reached", False: "MISSED", None: "not measured"}
    rows = [(one["text"], one["wanted"], one["measured"] or "-", words[one["met"]]) for one in found]
    return markdown_table(("target", "wanted", "measured", ""), rows)


def way_table(ways: Mapping[str, Any]) -> str:
    """A line per way: a frame with its spread, each stage, and memory above what was held before."""
    stages = [
        name for name in (*STAGES[:1], "track", *STAGES[1:]) if any(_stage(w, name) for w in ways.values())
    ]
    card = any(way.get("peak_extra_gpu_mib") is not None for way in ways.values())
    memories = ("peak MiB", "card MiB") if card else ("peak MiB",)
    head = ("ms, median", "frame", "quartiles", "processor", *stages, *memories)
    rows = []
    for name, way in ways.items():
        ms = way["ms"]
        memory = [way["peak_extra_mib"], *([way["peak_extra_gpu_mib"]] if card else [])]
        spent = [_stage(way, stage) or "-" for stage in stages]
        quartiles, processor = f"{_ms(ms['low'])} to {_ms(ms['high'])}", _ms(way["processor_ms"]["median"])
        rows.append((name, _ms(ms["median"]), quartiles, processor, *spent, *map(_mib, memory)))
    return markdown_table(head, rows)


def _cold(case: Result) -> str:
    alike = [f"`{name}` {one['mean']:.5f}, {one['min']:.5f}" for name, one in case["cosine"].items()]
    return "\n\n".join(
        [
            way_table(case["ways"]),
            _times(case["times_ours"], "ours"),
            "The same masks as the plain way embeds them, cosine in the mean and at worst: "
            + "; ".join(alike)
            + ".",
        ]
    )


def _query(case: Result) -> str:
    shares = [
        f"{name}: {100 * one['median']:.2f} % of a cold frame "
        f"({100 * one['low']:.2f} to {100 * one['high']:.2f}; by processor time {100 * one['processor']:.2f})"
        for name, one in case["share_of_cold"].items()
    ]
    return way_table(case["ways"]) + "\n\n" + "; ".join(shares) + "."


def _video(case: Result) -> str:
    alike = ", ".join(f"{name} {100 * one:.2f} %" for name, one in case["labels_equal_to_cold"].items())
    encoded = ", ".join(f"{name} {100 * one:.0f} %" for name, one in case["share_encoded"].items())
    return "\n\n".join(
        [
            f"`{case['recording']}`, preset `{case['preset']}`: {case['frames']} frames, "
            f"{case['rounds']} rounds, {case['labels']} labels.",
            way_table(case["ways"]),
            _times(case["times_ours"], "ours"),
            f"Labels equal to those of every frame anew, of {case['masks']} masks: {alike}. Masks encoded: "
            f"{encoded}.",
        ]
    )


def _sweep(case: Result) -> str:
    rows = []
    for point in case["points"]:
        row = [str(point.get("size", point["at"]))]
        for name in ("naive", "ours"):
            way = point["ways"][name]
            row += [_ms(way["ms"]["median"]), _ms(point["without_encode_ms"][name])]
        times = point["times_ours"]["naive"]
        peaks = [point["ways"][name]["peak_extra_mib"] for name in ("naive", "ours")]
        row += [f"{times['median']:.2f}", f"{times['low']:.2f} to {times['high']:.2f}"]
        row.append(f"{times['processor']:.2f}")
        half = point["times_16_bits"]
        row.append("-" if half is None else f"{half['median']:.2f}")
        rows.append((*row, *map(_mib, peaks)))
    head = (
        "at",
        "naive ms",
        "less encode",
        "ours ms",
        "less encode",
        "times ours",
        "quartiles",
        "by processor",
        "times 16 bits",
    )
    return markdown_table((*head, "naive peak MiB", "ours peak MiB"), rows)


def _labels(case: Result) -> str:
    one = case["many_over_one"]
    return (
        f"{_sweep(case)}\n\n{one['labels']} labels in turn with one: {one['ratio']['median']:.3f} times the "
        f"frame ({one['ratio']['low']:.3f} to {one['ratio']['high']:.3f}; by processor time "
        f"{one['ratio']['processor']:.3f})."
    )


def _cuda(case: Result) -> str:
    return str(case["none"]) if "none" in case else markdown_table(("measured", ""), _flat(case))


_SECTIONS = {
    "cold": _cold,
    "query": _query,
    "video": _video,
    "masks": _sweep,
    "labels": _labels,
    "size": _sweep,
    "cuda": _cuda,
}


def _provenance(result: Result) -> str:
    made, settings = result["made_with"], result["settings"]
    hardware, load = made["hardware"], made["load"]
    lines = [
        f"`{made['command']}`, {made['date']}, commit {made['commit'] or 'not known'}.",
        f"{hardware['processor']}, {hardware['cores']} cores, {settings['threads']} threads, device "
        f"{settings['device']}; torch {made['versions']['torch']}, Python {made['versions']['python']}.",
        f"Encoder {settings['model']} with random weights, {settings['masks']} masks, {settings['labels']} "
        f"labels at {settings['size_hw'][1]}x{settings['size_hw'][0]} where that is not what varies; at most "
        f"{settings['runs']} rounds a point. {made['ros']}",
        f"Waiting for a core when it began and when it ended: {load['begin']:.1f} and {load['end']:.1f} "
        "(load average over a minute; more than the cores means that others were at work, and milliseconds "
        "are too long: read the ratios).",
    ]
    for run in made.get("earlier", ()):
        lines.append(
            f"{', '.join(run['cases'])}: `{run['command']}`, {run['date']}, commit "
            f"{run['commit'] or 'not known'}, load average {run['load']['begin']:.1f} and "
            f"{run['load']['end']:.1f}."
        )
    return "\n".join(line.rstrip() for line in lines)


def _times(times: Mapping[str, Any], ours: str) -> str:
    found = [
        f"{name}: {one['median']:.2f} ({one['low']:.2f} to {one['high']:.2f}, n = {one['count']}; "
        f"{one['processor']:.2f})"
        for name, one in times.items()
    ]
    return f"Times as long as `{ours}`, median (quartiles; by processor time): " + ", ".join(found) + "."


def _flat(case: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in case.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}: ")
        else:
            rows.append((f"{prefix}{name}", f"{value:.4g}" if isinstance(value, float) else str(value)))
    return rows


def _stage(way: Mapping[str, Any], stage: str) -> str:
    one = way["stages_ms"].get(stage)
    return "" if one is None else _ms(one["median"])


def _ms(value: float) -> str:
    return f"{value:.{digits(value)}f}"


def _mib(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
