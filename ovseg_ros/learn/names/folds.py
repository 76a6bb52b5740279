"""Which pictures and names are kept back, and how the map does on them.

    python -m ovseg_ros.learn.names.folds SETS…            the table a recipe is chosen by

Pictures go into folds by a hash of their names, so that a picture is in the same fold everywhere.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ovseg_ros.errors import ConfigError, OvsegError
from ovseg_ros.files.instances import read_categories
from ovseg_ros.learn.names.examples import Examples
from ovseg_ros.learn.names.fit import Recipe, fit_map
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.names_map import NamesMap

HELD_OUT = 16
"""Names that are kept out of training in the experiment with unseen names."""

COMMONEST = "person"
"""Never among the names kept out: a quarter of all masks, they would be most of what is measured."""


@dataclass(frozen=True)
class Score:
    """How many masks get their names.

    Attributes:
        right: part of all masks, in [0, 1]; NaN where there are none.
        mean: the same for each name, averaged over names.
        count: masks.
    """

    right: float
    mean: float
    count: int


def fold_of(picture: str, folds: int) -> int:
    """Which of so many folds a picture is in."""
    return int.from_bytes(hashlib.sha256(picture.encode()).digest()[:8], "big") % folds


def in_fold(examples: Examples, fold: int, folds: int) -> torch.Tensor:
    """(N,) bool."""
    return torch.tensor([fold_of(name, folds) == fold for name in examples.pictures])


def held_out_names(names: Sequence[str], seed: int, count: int = HELD_OUT) -> tuple[str, ...]:
    """Names to be kept out of training, drawn from all but `COMMONEST`.

    Raises:
        ConfigError: fewer names than are to be drawn.
    """
    able = [name for name in names if name != COMMONEST]
    if not 0 < count <= len(able):
        raise ConfigError(f"expected 1 to {len(able)} names to keep out, got {count}")
    order = torch.randperm(len(able), generator=torch.Generator().manual_seed(seed))
    return tuple(sorted(able[i] for i in order[:count].tolist()))


def is_named(examples: Examples, names: Sequence[str]) -> torch.Tensor:
    """(N,) bool: whether a mask has one of these names."""
    wanted = set(names)
    return torch.tensor([word in wanted for word in examples.words], dtype=torch.bool)


@torch.no_grad()
def answers(
    encoder: AdaptedClassifier, adapted: NamesMap, examples: Examples, names: Sequence[str]
) -> torch.Tensor:
    """(N,) int64: which of K names the encoder would give each mask with another map."""
    before = encoder.adapted
    encoder.adapt(adapted)
    rows = encoder.rows_of(examples.crop, examples.pooled)
    best = (rows @ encoder.encode_text(names).T).argmax(dim=1)
    encoder.adapt(before)
    return best


def score(best: torch.Tensor, examples: Examples, names: Sequence[str], keep: torch.Tensor) -> Score:
    """Of the masks in `keep` (N,) bool; see `Score`."""
    truth = torch.tensor([names.index(word) for word in examples.words])[keep]
    right = (best[keep] == truth).double()
    each = [float(right[truth == k].mean()) for k in truth.unique()]
    return Score(float(right.mean()), sum(each) / max(1, len(each)) if each else float("nan"), len(truth))


def cross_validate(
    encoder: AdaptedClassifier,
    main: Examples,
    others: Examples | None,
    names: Sequence[str],
    recipe: Recipe,
    *,
    folds: int = 3,
    seeds: Sequence[int] = (0, 1, 2),
    least_pixels: int = 400,
) -> tuple[Score, float, float]:
    """How a recipe does on pictures, and on names, that it is not trained on.

    Args:
        encoder: see `fit_map`.
        main: whose pictures are kept back, fold by fold.
        others: trained on in every fold.
        names: K, those of `main` and those that compete.
        recipe: see there.
        folds: of pictures.
        seeds: one draw of names each.
        least_pixels: smaller masks are trained on but not counted.

    Returns:
        The score when every name is trained on; then, over the draws, the mean part that is right of masks
        whose names were kept out, and of all others.
    """
    counted = (main.pixels >= least_pixels) & ~main.mirrored
    everything = _out_of_fold(encoder, main, others, names, recipe, folds, ())
    unseen, seen = [], []
    for seed in seeds:
        kept_out = held_out_names(names, seed)
        best = _out_of_fold(encoder, main, others, names, recipe, folds, kept_out)
        hidden = is_named(main, kept_out)
        unseen.append(score(best, main, names, counted & hidden).right)
        seen.append(score(best, main, names, counted & ~hidden).right)
    whole = score(everything, main, names, counted)
    return whole, sum(unseen) / len(unseen), sum(seen) / len(seen)


def _out_of_fold(
    encoder: AdaptedClassifier,
    main: Examples,
    others: Examples | None,
    names: Sequence[str],
    recipe: Recipe,
    folds: int,
    kept_out: Sequence[str],
) -> torch.Tensor:
    best = torch.zeros(len(main), dtype=torch.int64)
    for fold in range(folds):
        away = in_fold(main, fold, folds)
        parts = [main.take(~away & ~is_named(main, kept_out))]
        parts += [] if others is None else [others.take(~is_named(others, kept_out))]
        made = fit_map(encoder, Examples.join(parts), recipe)
        best[away] = answers(encoder, made, main.take(away), names)
    return best


def main() -> None:
    """See the module."""
    from ovseg_ros.learn.names.train import add_data, read_all, untrained_lite

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data(parser)
    parser.add_argument("--strength", type=float, nargs="+", default=[Recipe.strength])
    parser.add_argument("--handicap", type=float, nargs="+", default=[Recipe.handicap])
    parser.add_argument("--decay", type=float, nargs="+", default=[Recipe.decay])
    parser.add_argument("--evenness", type=float, nargs="+", default=[Recipe.evenness])
    parser.add_argument("--seeds", type=int, default=3, help="draws of held-out names")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    try:
        encoder = untrained_lite()
        first, *rest = read_all(encoder, asked)
        names = read_categories(asked.data[0])
        others = Examples.join(rest) if rest else None
        recipes = [
            replace(Recipe(), strength=strength, handicap=handicap, decay=decay, evenness=evenness)
            for strength in asked.strength
            for handicap in asked.handicap
            for decay in asked.decay
            for evenness in asked.evenness
        ]
        print("| strength | handicap | decay | evenness | top-1 | mean | unseen names | others |")
        for one in (replace(Recipe(), strength=0.0, handicap=0.0), *recipes):
            whole, unseen, seen = cross_validate(encoder, first, others, names, one, seeds=range(asked.seeds))
            figures = (whole.right, whole.mean, unseen, seen)
            print(
                f"| {one.strength} | {one.handicap} | {one.decay} | {one.evenness} | "
                + " | ".join(f"{100 * figure:.1f}" for figure in figures)
                + " |",
                flush=True,
            )
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
