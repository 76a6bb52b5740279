"""The paper's Table 3 on photographs: true masks, adapted and not, blanked and not, and unseen names.

    python -m ovseg_ros.learn.names.measure real/val/coco_val.json --train real/train/coco_free.json

A mask counts as right where its own name, of all the file's, has the highest score. A map is learned once per
seed, and once more without sixteen of the names, once per seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from ovseg_ros.errors import OvsegError
from ovseg_ros.files.instances import read_categories
from ovseg_ros.learn.names.examples import Examples, examples_of
from ovseg_ros.learn.names.fit import Recipe, fit_map
from ovseg_ros.learn.names.folds import Score, answers, held_out_names, is_named, score
from ovseg_ros.learn.names.train import FEATURES, untrained_lite
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.minilm import EMBEDDING_DIM
from ovseg_ros.models.bundled.names_map import NamesMap, unadapted


def table(
    encoder: AdaptedClassifier,
    train: Examples,
    measured: Examples,
    names: Sequence[str],
    seeds: Sequence[int],
    draws: Sequence[int],
) -> list[str]:
    """Rows of Markdown: what is adapted, top-1 and mean over names; then held-out names, before and after."""
    everything = torch.ones(len(measured), dtype=torch.bool)
    plain = unadapted(FEATURES, EMBEDDING_DIM)

    def measure(adapted: NamesMap, keep: torch.Tensor) -> Score:
        return score(answers(encoder, adapted, measured, names), measured, names, keep)

    maps = {"not adapted": plain}
    maps |= {f"adapted, seed {seed}": fit_map(encoder, train, Recipe(seed=seed)) for seed in seeds}
    rows = [f"| {what} | {_figures(measure(adapted, everything))} |" for what, adapted in maps.items()]
    for seed in draws:
        kept_out = held_out_names(names, seed)
        without = fit_map(encoder, train.take(~is_named(train, kept_out)))
        hidden = is_named(measured, kept_out)
        for what, keep in (("held-out names", hidden), ("the others", ~hidden)):
            rows.append(
                f"| draw {seed}, {what}: not adapted, adapted | {_figures(measure(plain, keep))} | "
                f"{_figures(measure(without, keep))} |"
            )
    return rows


def _figures(one: Score) -> str:
    return f"{100 * one.right:.1f} / {100 * one.mean:.1f} ({one.count})"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="COCO instance file to measure on")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="COCO instance files")
    parser.add_argument("--least-pixels", type=int, default=400, help="of a mask (default: %(default)s)")
    parser.add_argument(
        "--seeds", type=int, default=3, help="of the fit, and draws of held-out names (default: %(default)s)"
    )
    parser.add_argument("--cache", type=Path, help="folder where features are kept for the next run")
    parser.add_argument("--threads", type=int, help="of torch")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    try:
        encoder = untrained_lite()
        names = read_categories(asked.data)
        for blanked in (True, False):
            parts = [examples_of(encoder, path, blanked=blanked, cache=asked.cache) for path in asked.train]
            measured = examples_of(
                encoder,
                asked.data,
                blanked=blanked,
                mirrored=False,
                least_pixels=asked.least_pixels,
                cache=asked.cache,
            )
            print("blanked" if blanked else "not blanked", flush=True)
            seeds = range(asked.seeds)
            draws = seeds if blanked else ()
            rows = table(encoder, Examples.join(parts), measured, names, seeds, draws)
            print("\n".join(rows), flush=True)
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
