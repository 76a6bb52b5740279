"""Data sets of pairs that are made up rather than collected: rendered, drawn, pasted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ovseg_ros.core.frame import Frame
from ovseg_ros.learn.pairs.crop import make_pair
from ovseg_ros.learn.pairs.shards import Pair
from ovseg_ros.learn.pairs.store import PairWriter
from ovseg_ros.learn.tabletop.cutouts import Picture, paste

CROP_SIZE = 128
_GREY = np.full((2, 2, 3), (122, 116, 104), np.uint8)  # CLIP's mean colour
MakePairs = Callable[[str, np.random.Generator], Iterable[Pair]]
"""Makes the pairs of one image, given its name and a source of randomness of its own."""


def made_pair(image_rgb: np.ndarray, mask: np.ndarray, noun: str, image: str) -> Pair:
    """A pair as `ovseg learn pairs` stores it.

    Args:
        image_rgb: (H, W, 3) uint8.
        mask: (H, W) bool, not empty.
        noun: what it is.
        image: name of the image.
    """
    meta = {"noun": noun, "image": image, "caption": noun, "source": "made"}
    return make_pair(Frame(image_rgb), mask, meta, CROP_SIZE)


def copies_of(picture: Picture, copies: int, image: str, rng: np.random.Generator) -> Iterator[Pair]:
    """So many pairs of a cut-out before a flat grey, each turned otherwise."""
    for _ in range(copies):
        yield made_pair(*paste(picture, _GREY, rng), picture.noun, image)


def write_pairs(folder: Path, made: Mapping[str, MakePairs], seed: int, *, source: str) -> None:
    """Writes a data set of pairs, images in random order; what an earlier run left is kept.

    Args:
        folder: of the data set.
        made: image -> what makes its pairs.
        seed: of all randomness.
        source: what they are made from, for the manifest.

    Raises:
        ConfigError: a folder that holds something else, or pairs made otherwise.
    """
    names = list(made)
    settings = {"source": source, "images": len(names), "seed": seed}
    with PairWriter(folder, settings, resume=True) as writer:
        for n in tqdm(np.random.default_rng(seed).permutation(len(names)), desc=folder.name):
            if names[n] not in writer:
                writer.add(names[n], list(made[names[n]](names[n], np.random.default_rng([seed, n]))))
        writer.finish({"source": source})
