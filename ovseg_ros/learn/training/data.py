"""Batches of mask-category pairs for training: streamed from disk, shuffled, shared out, resumable.

Every random choice follows from (seed, epoch, pair), and the order of an epoch from (seed, epoch). So the
batches do not depend on how many workers or ranks make them, and a run can go on at any batch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.pairs.index import PairIndex, UnreadablePair
from ovseg_ros.learn.pairs.shards import Pair
from ovseg_ros.learn.training.augment_pairs import Augment, training_view

TRIES = 200
"""So many pairs in a row may be unreadable before that is an error."""


class PairBatch(NamedTuple):
    """B pairs.

    Attributes:
        pixels: (B, 3, S, S) float32, CLIP-normalised.
        masks: (B, 1, S, S) uint8 in {0, 1}.
        nouns: B words.
        skipped: (name, reason) of pairs that could not be read; another one stands in for each.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    nouns: list[str]
    skipped: list[tuple[str, str]]


class PairDataset(Dataset):
    """Pairs as an encoder sees them, by (epoch, number) keys.

    Args:
        index: where they lie.
        size: S, the encoder's input side.
        augment: how they are changed at random.
        seed: of the randomness.
    """

    def __init__(self, index: PairIndex, size: int, augment: Augment, *, seed: int = 0) -> None:
        self.index, self.size, self.augment, self.seed = index, size, augment, seed

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: tuple[int, int]) -> PairBatch:
        """One pair as a batch of one.

        Raises:
            InvalidInputError: it, and as many others as were tried, cannot be read.
        """
        epoch, number = key
        rng = np.random.default_rng([self.seed, epoch, number])
        pair, skipped = self._readable(number, rng)
        pixels, mask = training_view(pair.image_rgb, pair.mask, self.size, self.augment, rng)
        return PairBatch(torch.from_numpy(pixels), torch.from_numpy(mask), [pair.noun], skipped)

    def _readable(self, number: int, rng: np.random.Generator) -> tuple[Pair, list[tuple[str, str]]]:
        """The pair, or a random other one where it cannot be read."""
        skipped: dict[str, str] = {}
        for _ in range(TRIES):
            try:
                return self.index.read(number), list(skipped.items())
            except UnreadablePair as problem:
                skipped[problem.name] = problem.reason
                number = int(rng.integers(len(self.index)))
        name, reason = next(iter(skipped.items()))
        raise InvalidInputError(
            f"expected pairs that can be read in {self.index.folder}, {TRIES} tried at random cannot, "
            f"such as {name}: {reason}; make the data set again"
        )


class PairOrder(Sampler):
    """Batches of keys of one epoch for one rank, from a given batch on.

    Shards come in random order, and pairs are mixed among those within `buffer` places. Each global batch of
    `batch` pairs is cut into equal parts, one a rank; what does not fill a batch is left for another epoch,
    whose order is another one.

    Attributes:
        epoch: which epoch the next iteration is of.
        first: the batch it begins with; 0 again afterwards.
    """

    def __init__(
        self,
        shard: np.ndarray,
        batch: int,
        *,
        seed: int = 0,
        buffer: int = 10_000,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        """See the class.

        Raises:
            ConfigError: a batch that is larger than the data set, or that the ranks cannot share equally.
        """
        if not 1 <= batch <= len(shard):
            raise ConfigError(f"expected batch in 1…{len(shard)}, the pairs there are, got {batch}")
        if batch % ranks:
            raise ConfigError(f"expected a batch that {ranks} processes can share equally, got {batch}")
        self._shard, self.batch, self._seed, self._buffer = shard, batch, seed, buffer
        self._rank, self._share = rank, batch // ranks
        self.epoch = self.first = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self._shard) // self.batch

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first, self.first = self.epoch, self.first, 0
        order = epoch_order(self._shard, self._seed, epoch, self._buffer)
        for number in range(first, len(self)):
            start = number * self.batch + self._rank * self._share
            yield [(epoch, int(i)) for i in order[start : start + self._share]]


def epoch_order(shard: np.ndarray, seed: int, epoch: int, buffer: int) -> np.ndarray:
    """(N,) int64 order of the pairs in an epoch; each of them once.

    Args:
        shard: (N,) which shard each is in.
        seed: with `epoch`, decides the order.
        epoch: counted from 0.
        buffer: no pair moves farther than this from its place in the order of the shards.
    """
    rng = np.random.default_rng([seed, epoch])
    ranks = rng.permutation(int(shard.max()) + 1 if len(shard) else 0)
    by_shard = np.argsort(ranks[shard], kind="stable")
    return by_shard[np.argsort(np.arange(len(shard)) + rng.random(len(shard)) * buffer, kind="stable")]


def split_by_image(index: PairIndex, share: float) -> tuple[PairIndex, PairIndex]:
    """Pairs to train on and pairs to measure on, no image in both; which are which never changes.

    Args:
        index: all pairs.
        share: about this part of the images is measured on, in [0, 1).
    """
    hashes = [hashlib.blake2b(image.encode(), digest_size=8).digest() for image in index.images()]
    held = np.array([int.from_bytes(h, "big") < share * 2.0**64 for h in hashes], bool)
    return index.take(~held), index.take(held)


def collate(samples: list[PairBatch]) -> PairBatch:
    """One batch out of batches of one."""
    return PairBatch(
        torch.stack([sample.pixels for sample in samples]),
        torch.stack([sample.masks for sample in samples]),
        [noun for sample in samples for noun in sample.nouns],
        [problem for sample in samples for problem in sample.skipped],
    )


def load_batches(
    dataset: PairDataset,
    order: Iterable[list[tuple[int, int]]],
    workers: int,
    *,
    pin: bool = False,
    keep_workers: bool = True,
) -> DataLoader:
    """A loader of the batches of keys in `order`.

    Args:
        dataset: the pairs.
        order: see `PairOrder`.
        workers: processes that load ahead; 0 loads in the calling process.
        pin: put batches where a GPU copies them from fastest.
        keep_workers: from one epoch to the next.
    """
    return DataLoader(
        dataset,
        batch_sampler=order,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        worker_init_fn=_single_thread,
        persistent_workers=keep_workers and workers > 0,
        prefetch_factor=4 if workers else None,
        generator=torch.Generator(),  # else each iterator draws from the one that the network uses
    )


def _single_thread(worker: int) -> None:
    cv2.setNumThreads(0)
