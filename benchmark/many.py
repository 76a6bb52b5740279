"""One worker against two on this machine, and what a pair costs: the figures of docs/many_machines.md.

    python benchmark/many.py IMAGES --rounds 3
    python benchmark/many.py IMAGES --pairs

IMAGES is a folder of pictures. The first segments them on a Ray cluster of two processors with one worker and
with two, in turns, so that what else the machine does falls on both; the loading of networks is left out. The
second collects pairs of them in this process, each with one caption that names `--nouns`: processor time and
bytes per image and per pair.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

from ovseg_ros.app.cli import _parser
from ovseg_ros.app.many import Here, crew_of
from ovseg_ros.app.segment import setup
from ovseg_ros.app.segment.work import SegmentJob, lost, shards_of

NOUNS = "A person, a dog, a chair and a table."
"""Nouns that hardly meet in a picture: each gets the mask it fits best all the same."""


def throughput(images: Path, preset: str, rounds: int) -> None:
    """Prints pictures per second with one worker and with two, and the median of their ratios."""
    with tempfile.TemporaryDirectory() as out:
        typed = [
            "segment",
            str(images),
            "-l",
            "person, dog, chair",
            "--preset",
            preset,
            "--out",
            f"{out}/none",
        ]
        options = _parser().parse_args([*typed, "--ray", "auto"])
        plan = setup.checked(options)
    shards = list(shards_of(plan.sources, whole=True))
    ratios = []
    for turn in range(rounds):
        rates = {}
        for workers in (1, 2) if turn % 2 == 0 else (2, 1):
            options.ray_workers = workers
            with crew_of(options, SegmentJob(options, plan)) as crew:
                while crew.starting:  # each has loaded its networks
                    list(crew.do(shards[:1], {}, lost))
                list(crew.do(shards[: 2 * workers], {}, lost))
                start = time.perf_counter()
                done = sum(1 for _ in crew.do(shards, {}, lost)) / 2  # each with the end of its source
                rates[workers] = done / (time.perf_counter() - start)
        ratios.append(rates[2] / rates[1])
        print(
            f"1 worker {rates[1]:.2f}, 2 workers {rates[2]:.2f} pictures/s, ratio {ratios[-1]:.2f}",
            flush=True,
        )
    print(f"median ratio {statistics.median(ratios):.2f} over {rounds} rounds, load {os.getloadavg()[0]:.1f}")


def pairs(images: Path, preset: str, nouns: str) -> None:
    """Prints processor time and bytes per image and per pair."""
    from ovseg_ros.app.learn.pairs_work import PairsJob

    with tempfile.TemporaryDirectory() as folder:
        captions = Path(folder, "captions.csv")
        names = [
            source.name for source in sorted(images.iterdir()) if source.suffix.lower() in (".jpg", ".png")
        ]
        captions.write_text("image,caption\n" + "".join(f'{name},"{nouns}"\n' for name in names))
        typed = ["learn", "pairs", "--images", str(images), "--captions", str(captions), "--preset", preset]
        options = _parser().parse_args([*typed, "--out", f"{folder}/out", "--device", "cpu"])
        options.offline = True
        crew = Here(PairsJob(options))
        found = list(crew.do([(0, 2)], (), lost))  # what is done once
        start = time.process_time()
        found = list(crew.do([(0, None)], (), lost))
        seconds = time.process_time() - start
    done = [one for one in found if not isinstance(one, tuple) and not one.failed]
    sizes = [len(members) for _, members in itertools.chain.from_iterable(one.pairs for one in done)]
    print(
        f"{len(done)} images, {len(sizes)} pairs: {seconds / len(done):.2f} s of processor time an image, "
        f"{statistics.mean(sizes) / 1024:.1f} KiB a pair (median {statistics.median(sizes) / 1024:.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--nouns", default=NOUNS)
    options = parser.parse_args()
    if options.pairs:
        pairs(options.images, options.preset, options.nouns)
    else:
        throughput(options.images, options.preset, options.rounds)


if __name__ == "__main__":
    main()
