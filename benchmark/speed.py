"""Everything about speed in one go, and the figures of docs/speed.md with it.

    scripts/env.sh --own-domain python benchmark/speed.py

Runs `ovseg bench`, benchmark/soak.py and benchmark/overhead.py (where there is rclpy), one after another, and
writes benchmark/results/NAME.json, .md and the figures NAME-cost.png and NAME-soak.png, and puts the tables
between the marks of docs/speed.md. What is named in --reuse is not run again but taken from out/benchmark/.
On a quiet machine it takes about half an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ovseg_ros.app.bench_report import report
from ovseg_ros.app.bench_targets import verdicts

ROOT = Path(os.environ.get("OVSEG_SOURCE_DIR") or Path(__file__).resolve().parents[1])
OUT = ROOT / "out" / "benchmark"
WORDS = {True: "flat", False: "not flat", None: "too few frames to judge"}
BEGIN, END = "<!-- figures: benchmark/speed.py writes from here -->", "<!-- to here -->"


def run(words: list[str]) -> bool:
    """Runs a program; False where it failed. A soak that is not flat exits with 1 and has its figures."""
    print("==", " ".join(words), flush=True)
    return subprocess.run(words, cwd=ROOT, check=False).returncode in (0, 1)


def measure(options: argparse.Namespace) -> set[str]:
    """Runs what is neither reused nor skipped; returns what there is to show."""
    python, threads = sys.executable, str(options.threads)
    extra = ["--quick"] if options.quick else []
    bench = [python, "-m", "ovseg_ros.app.cli", "bench", *extra, "--threads", threads]
    frames = ["--frames", "60", "--every", "5"] if options.quick else []
    few = ["--frames", "8", "--rounds", "2"] if options.quick else []
    programs = {
        "bench": [*bench, "--device", options.device, "--out", str(OUT / "bench")],
        "soak": [python, "benchmark/soak.py", *frames],
        "overhead": [python, "benchmark/overhead.py", *few],
    }
    there = set(options.reuse)
    for name, words in programs.items():
        if name not in (*options.reuse, *options.skip):
            if run(words):
                there.add(name)
            else:
                print(f"{name} failed: its figures are left out", flush=True)
    return there


def collect(there: set[str]) -> dict[str, Any]:
    """One result of what lies in out/benchmark/.

    Raises:
        FileNotFoundError: `ovseg bench` has never been run there.
    """
    result: dict[str, Any] = json.loads((OUT / "bench" / "result.json").read_text())
    for name in ("soak", "overhead"):
        file = OUT / f"{name}.json"
        if name in there and file.is_file():
            result["cases"][name] = json.loads(file.read_text())
    result["targets"] = verdicts(result["cases"])
    return result


def beside(cases: dict[str, Any]) -> str:
    """What the report of `ovseg bench` does not know: soak and node overhead."""
    parts = []
    if "soak" in cases:
        soak = cases["soak"]
        parts.append(
            f"### Soak\n\n{soak['frames']} frames of {soak['made_with']['width']} pixels' width, "
            f"{soak['masks']} masks, {soak['frames_per_s']:.1f} frames/s: {soak['resident_mib']:.0f} MiB "
            f"resident, {soak['growth_bytes'] / 2**20:+.2f} MiB ({100 * soak['growth_share']:+.2f} %) per "
            f"10,000 frames: {WORDS[soak['flat']]}."
        )
    if "overhead" in cases:
        rows = [
            f"| {case} | {table['wall']['median_ms']:.1f} | {table['wall']['min_ms']:.1f} | "
            f"{table['cpu']['median_ms']:.1f} | {table['arrived']['median_ms']:.1f} |"
            for case, table in cases["overhead"]["cases"].items()
        ]
        size = cases["overhead"]["size_hw"]
        parts.append(
            f"### Node overhead\n\nMessages in to messages out at {size[1]}x{size[0]}, without inference; "
            "`arrived`: held by the subscriber, in another process.\n\n"
            "| watched | ms, median | smallest | processor ms, median | arrived |\n|---|--:|--:|--:|--:|\n"
            + "\n".join(rows)
            + "\n\n"
            + "; ".join(f"{case}: {largest(table)}" for case, table in cases["overhead"]["cases"].items())
            + " (medians)."
        )
    return "\n\n".join(parts)


def largest(stages: dict[str, dict[str, float]], count: int = 8) -> str:
    """The stages that take longest, in words."""
    sums = ("wall", "cpu", "arrived", "reference")
    medians = {name: row["median_ms"] for name, row in stages.items() if name not in sums}
    longest = sorted(medians, key=lambda name: -medians[name])[:count]
    return ", ".join(f"{name} {medians[name]:.2f}" for name in longest)


def fill(page: Path, text: str) -> None:
    """Puts a text between the marks of a page.

    Raises:
        ValueError: the page has no such marks.
    """
    old = page.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    if len(pattern.findall(old)) != 1:
        raise ValueError(f"want the marks {BEGIN!r} and {END!r} once in {page}")
    page.write_text(pattern.sub(lambda _: f"{BEGIN}\n\n{text.strip()}\n\n{END}", old), encoding="utf-8")


def write(result: dict[str, Any], name: str, remark: str, page: Path | None) -> None:
    """Results, figures and the page."""
    folder = ROOT / "benchmark" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    parts = [report(result).strip(), beside(result["cases"])]
    if remark:
        parts.insert(0, f"**{remark}**")
    for source, kind in ((OUT / "bench" / "cost.png", "cost"), (OUT / "soak.png", "soak")):
        if source.is_file() and (kind == "cost" or "soak" in result["cases"]):
            shutil.copyfile(source, folder / f"{name}-{kind}.png")
            parts.append(f"![{kind}](../benchmark/results/{name}-{kind}.png)")
    text = "\n\n".join(part for part in parts if part)
    (folder / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folder / f"{name}.md").write_text(text.replace("../benchmark/results/", "") + "\n", encoding="utf-8")
    if page is not None:
        fill(page, text)
    print(f"written: {folder / name}.json and .md" + (f", {page}" if page else ""))


def main() -> None:
    """Measures, collects and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="cpu", help="of the results (default: %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of `ovseg bench`")
    parser.add_argument("--reuse", nargs="*", default=[], choices=["bench", "soak", "overhead"])
    parser.add_argument("--skip", nargs="*", default=[], choices=["soak", "overhead"])
    parser.add_argument("--remark", default="", help="printed before the figures")
    parser.add_argument(
        "--quick", action="store_true", help="only to see that it runs; leaves docs as they are"
    )
    options = parser.parse_args()
    there = measure(options)
    write(collect(there), options.name, options.remark, None if options.quick else ROOT / "docs" / "speed.md")


if __name__ == "__main__":
    main()
