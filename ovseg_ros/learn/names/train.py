"""Learns what adapts `lite` to masked crops, and writes `lite_names.safetensors`.

    python -m ovseg_ros.learn.names.train real/train/coco_free.json -o lite_names.safetensors

The files are COCO instance files beside their pictures. A preset takes another map by `names: FILE` beside
`kind: lite`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.errors import ConfigError, OvsegError
from ovseg_ros.learn.names.examples import Examples, examples_of
from ovseg_ros.learn.names.fit import Recipe, fit_map
from ovseg_ros.learn.names.folds import held_out_names, in_fold, is_named
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.lite import load_lite
from ovseg_ros.models.bundled.minilm import EMBEDDING_DIM
from ovseg_ros.models.bundled.names_map import save_names_map, unadapted

FEATURES = 1280
"""Of EfficientNet-Lite2, before its last layer."""


def untrained_lite() -> AdaptedClassifier:
    """`lite` with sets of classes alone."""
    return load_lite(names=unadapted(FEATURES, EMBEDDING_DIM))


def add_data(parser: argparse.ArgumentParser) -> None:
    """The options that say what is read."""
    parser.add_argument("data", type=Path, nargs="+", help="COCO instance files")
    parser.add_argument("--rename", action="append", default=[], metavar="NAME=WORD", help="of a category")
    parser.add_argument("--not-blanked", action="store_true", help="leave the background in")
    parser.add_argument("--cache", type=Path, help="folder where features are kept for the next run")
    parser.add_argument("--threads", type=int, help="of torch")


def read_all(encoder: AdaptedClassifier, asked: argparse.Namespace) -> list[Examples]:
    """The examples of each file.

    Raises:
        ConfigError: a --rename that is none.
        InvalidInputError: see `examples_of`.
    """
    renamed = {}
    for pair in asked.rename:
        name, equals, word = pair.partition("=")
        if not (name and equals and word):
            raise ConfigError(f"expected --rename NAME=WORD, got {pair!r}")
        renamed[name] = word
    return [
        examples_of(encoder, path, blanked=not asked.not_blanked, renamed=renamed, cache=asked.cache)
        for path in asked.data
    ]


def chosen(
    examples: Examples, *, leave_out: str | None, held_out_seed: int | None, names: Sequence[str] = ()
) -> tuple[Examples, tuple[str, ...]]:
    """The part to be trained on.

    Args:
        examples: all there are.
        leave_out: "K/N": the pictures of fold K of N are left out; None for none.
        held_out_seed: sixteen of the names are left out, drawn with this seed; None for none.
        names: to draw from; those of the examples when empty.

    Returns:
        The examples, and the names left out.

    Raises:
        ConfigError: `leave_out` is no such thing.
    """
    keep = torch.ones(len(examples), dtype=torch.bool)
    if leave_out is not None:
        fold, slash, folds = leave_out.partition("/")
        if not (slash and fold.isdigit() and folds.isdigit() and int(fold) < int(folds)):
            raise ConfigError(f"expected --leave-out K/N with K below N, such as 0/2, got {leave_out!r}")
        keep &= ~in_fold(examples, int(fold), int(folds))
    kept_out: tuple[str, ...] = ()
    if held_out_seed is not None:
        kept_out = held_out_names(names or sorted(set(examples.words)), held_out_seed)
        keep &= ~is_named(examples, kept_out)
    return examples.take(keep), kept_out


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data(parser)
    parser.add_argument("-o", "--out", type=Path, required=True, help="weights to write")
    parser.add_argument("--leave-out", metavar="K/N", help="leave out the pictures of fold K of N")
    parser.add_argument("--held-out-seed", type=int, help="leave out sixteen names, drawn with this seed")
    parser.add_argument("--strength", type=float, default=Recipe.strength)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    try:
        encoder = untrained_lite()
        parts = read_all(encoder, asked)
        taken, kept_out = chosen(
            Examples.join(parts), leave_out=asked.leave_out, held_out_seed=asked.held_out_seed
        )
        recipe = Recipe(strength=asked.strength)
        made = fit_map(encoder, taken, recipe)
        path = save_names_map(asked.out, made, _notes(asked, taken, kept_out, recipe))
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None
    print(f"written: {path}, from {int((~taken.mirrored).sum())} masks of {len(set(taken.words))} names")


def _notes(
    asked: argparse.Namespace, taken: Examples, kept_out: Sequence[str], recipe: Recipe
) -> dict[str, Any]:
    straight = taken.take(~taken.mirrored)
    sets = Counter(name.partition("/")[0] for name in straight.pictures)
    return {
        "masks": dict(sorted(sets.items())),
        "pictures": len(set(straight.pictures)),
        "names": dict(sorted(Counter(straight.words).items())),
        "left_out_pictures": asked.leave_out or "",
        "left_out_names": list(kept_out),
        "recipe": asdict(recipe),
    }


if __name__ == "__main__":
    main()
