"""What a worker of `ovseg learn pairs` does: images with captions in, encoded pairs out, and no file."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from ovseg_ros import __version__
from ovseg_ros.app.learn import pairs_setup as setup
from ovseg_ros.app.learn.pairs_sources import open_source
from ovseg_ros.app.many import Cursor
from ovseg_ros.app.segment.setup import Load, loaded
from ovseg_ros.learn.pairs.captions import CaptionSource
from ovseg_ros.learn.pairs.collect import Look, Outcome
from ovseg_ros.learn.pairs.nouns import NounFinder

PER_SHARD = 32
"""Images a worker is handed at a time: what is done again where it dies."""

Shard = tuple[int, int | None]
"""Places first…last - 1 of images in the source; None: to the end."""


@dataclass(frozen=True)
class About:
    """What the command has to know: what a resumed run must share, the images, and what is said of them."""

    settings: dict[str, Any]
    count: int
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class PairsJob:
    """Opens the work.

    Attributes:
        options: the command line's.
        load: stands in for `models.presets.load_preset`.
    """

    options: argparse.Namespace
    load: Load | None = None

    def __call__(self) -> PairsWork:
        """Loads the networks and opens the images.

        Raises:
            OvsegError: options, images or weights that cannot be used.
        """
        return PairsWork(self)


class PairsWork:
    """A segmenter, and how far the images are read."""

    def __init__(self, job: PairsJob) -> None:
        """See `PairsJob`."""
        options = self._options = job.options
        self._noun_options = setup.noun_options_of(options)
        finder = NounFinder(self._noun_options)
        self._segmenter = loaded(options, job.load, {})
        self._pair_options = setup.pair_options_of(options, self._segmenter)
        self._source: CaptionSource = open_source(options, needs_depth=self._segmenter.needs_depth)
        own = self._segmenter
        self._look = Look(own.proposer, own.clip, finder, self._pair_options, device=own.device)
        self._cursor = Cursor(lambda: itertools.islice(self._source, options.limit))

    def about(self) -> About:
        """See `About`."""
        settings = {
            "model": setup.model_of(self._options, self._segmenter),
            "options": asdict(self._pair_options),
            "nouns": setup.describe_nouns(self._noun_options),
            "source": self._source.describe(),
            "ovseg_ros": __version__,
        }
        if self._options.depth_scale is not None:
            settings["depth_scale"] = self._options.depth_scale
        count = len(self._source)
        limit = self._options.limit
        return About(settings, count if limit is None else min(count, limit), self._remarks())

    def do(self, shard: Shard, kept: Container[str]) -> Iterator[Outcome | tuple[str, ...]]:
        """What becomes of each image, and last what people should know of the source by now.

        Args:
            shard: of the images.
            kept: ids of those that an earlier run dealt with.
        """
        yield from self._look.at(self._cursor.take(*shard), kept)
        yield self._remarks()

    def _remarks(self) -> tuple[str, ...]:
        return tuple(getattr(self._source, "remarks", ()))


def lost(shard: Shard, reason: str) -> Iterator[Outcome]:
    """What becomes of a shard whose worker died each time."""
    first, last = shard
    yield Outcome(f"images {first} to {'the end' if last is None else last - 1}", failed=reason)
