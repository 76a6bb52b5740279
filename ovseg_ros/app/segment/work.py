"""What a worker of `ovseg segment` does: frames through the segmenter, and what goes wrong named.

It writes nothing; `run` writes what comes of it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ovseg_ros.app.many import Cursor, ranges
from ovseg_ros.app.segment import setup
from ovseg_ros.app.segment.inputs import InputFrame, Picture, Source, readable
from ovseg_ros.app.segment.outputs import encoded
from ovseg_ros.app.segment.taught import segment
from ovseg_ros.core.camera import DepthDoubt
from ovseg_ros.core.words import Rejected, Vocabulary
from ovseg_ros.errors import InvalidInputError, NotFiniteError, OutOfMemoryError

PER_SHARD = 16
"""Frames a worker is handed at a time: what is done again where it dies."""


@dataclass(frozen=True)
class Shard:
    """Pictures, or a part of a video or recording.

    Attributes:
        sources: whole pictures, or the one video or recording.
        first: number among the frames of it that are taken, from 0.
        last: the number behind the part's last; None: to the end.
    """

    sources: tuple[Source, ...]
    first: int = 0
    last: int | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a frame.

    Attributes:
        of: name of its source.
        source: for people: the file, and "#" and the number in a video or recording.
        name: of its outputs.
        index: number in its video or recording.
        kept: an earlier run did it.
        failed: why it could not be done, or "".
        line: what the journal says of it.
        images: folder -> PNG file.
        doubt: why its depth seems to be in another unit, or "".
    """

    of: str
    source: str
    name: str
    index: int
    kept: bool = False
    failed: str = ""
    line: Mapping[str, Any] = field(default_factory=dict)
    images: Mapping[str, bytes] = field(default_factory=dict)
    doubt: str = ""


@dataclass(frozen=True)
class End:
    """What is known of a source when a shard of it is done.

    Attributes:
        of: its name.
        source: its path, for people.
        is_last: no more shards of it come.
        broke_off: why its frames ended, or "".
        remarks: see `Source`.
        without_depth: likewise.
        rate_hz: likewise.
    """

    of: str
    source: str
    is_last: bool
    broke_off: str
    remarks: tuple[str, ...]
    without_depth: str
    rate_hz: float | None


@dataclass(frozen=True)
class About:
    """What the command has to know of the networks: the words they mean, and what the summary says."""

    vocabulary: Vocabulary
    rejected: list[Rejected]
    made_with: dict[str, Any]


@dataclass(frozen=True)
class SegmentJob:
    """Opens the work.

    Attributes:
        options: the command line's.
        plan: its check; without the sources.
        load: stands in for `models.presets.load_preset`.
    """

    options: argparse.Namespace
    plan: setup.Checked
    load: setup.Load | None = None

    def __call__(self) -> SegmentWork:
        """Loads the networks.

        Raises:
            OvsegError: see `setup.loaded`.
        """
        return SegmentWork(self)


class SegmentWork:
    """A segmenter, and how far the video or recording is read that it is at."""

    def __init__(self, job: SegmentJob) -> None:
        """See `SegmentJob`."""
        self._options, self._plan = job.options, job.plan
        self._segmenter = setup.loaded(job.options, job.load, job.plan.changes)
        words = setup.words_known(job.options.labels, self._segmenter, job.plan.taught)
        self._vocabulary, self._rejected, self._known = words
        self._open: tuple[Source, Cursor[InputFrame]] | None = None

    def about(self) -> About:
        """See `About`."""
        made_with = setup.about(self._options, self._plan, self._segmenter)
        return About(self._vocabulary, self._rejected, made_with)

    def do(self, shard: Shard, kept: Mapping[str, str]) -> Iterator[Outcome | End]:
        """What becomes of each frame; a bad one costs itself alone, a file that breaks off what comes after.

        Args:
            shard: of the inputs.
            kept: names of frames that an earlier run did -> their identity.
        """
        doubt = DepthDoubt()
        for given in shard.sources:
            source, cursor = self._at(given)
            source.without_depth, broke_off = given.without_depth, ""
            try:
                for frame in cursor.take(shard.first, shard.last):
                    yield self._one(source, frame, kept, doubt)
            except InvalidInputError as error:
                broke_off = readable(str(error))
            yield End(
                source.name,
                readable(source.path),
                shard.last is None,
                broke_off,
                tuple(source.remarks),
                source.without_depth,
                source.rate_hz,
            )

    def _at(self, source: Source) -> tuple[Source, Cursor[InputFrame]]:
        """The source, or the one of this name that is being read."""
        if self._open is None or self._open[0].name != source.name:
            self._open = source, Cursor(source.frames)
        return self._open

    def _one(
        self,
        source: Source,
        frame: InputFrame,
        kept: Mapping[str, str],
        doubt: Callable[[Any], str],
    ) -> Outcome:
        of_frame = (source.name, frame.source, frame.name, frame.index)
        if kept.get(frame.name) == frame.identity:
            return Outcome(*of_frame, kept=True)
        doubted = ""
        try:
            start = time.perf_counter()
            loaded = source.loaded(frame)
            doubted = doubt(loaded.depth_m)
            read = time.perf_counter()
            result = segment(self._segmenter, loaded, self._vocabulary, self._known)
        except (InvalidInputError, NotFiniteError, OutOfMemoryError, MemoryError) as error:
            too_large = "this frame does not fit into memory; make it smaller"
            reason = too_large if isinstance(error, MemoryError) else str(error)
            return Outcome(*of_frame, failed=readable(reason), doubt=doubted)
        seconds = {"read": read - start, **result.timings}
        line = {
            "name": frame.name,
            "source": frame.source,
            "index": frame.index,
            "stamp_ns": loaded.stamp_ns,
            "identity": frame.identity,
            "proposals": len(result),
            "ms": {stage: round(1000 * value, 3) for stage, value in seconds.items()},
        }
        images, found = encoded(result)
        return Outcome(*of_frame, line=line | found, images=images, doubt=doubted)


def shards_of(sources: list[Source], *, whole: bool) -> Iterator[Shard]:
    """The inputs in order.

    Args:
        sources: all of them.
        whole: do not take them apart: one worker does all.
    """
    if whole:
        yield from (Shard((source,)) for source in sources)
        return
    pictures: list[Source] = []
    for source in sources:
        if pictures and (len(pictures) == PER_SHARD or not isinstance(source, Picture)):
            yield Shard(tuple(pictures))
            pictures = []
        if isinstance(source, Picture):
            pictures.append(source)
        else:
            yield from (Shard((source,), *places) for places in ranges(source.count, PER_SHARD))
    if pictures:
        yield Shard(tuple(pictures))


def lost(shard: Shard, reason: str) -> Iterator[Outcome | End]:
    """What becomes of a shard whose worker died each time."""
    for source in shard.sources:
        at = readable(source.path)
        if not isinstance(source, Picture):
            at += f"#{shard.first}-" + ("" if shard.last is None else str(shard.last - 1)) + " of those taken"
        yield Outcome(source.name, at, source.name if isinstance(source, Picture) else "", 0, failed=reason)
        remarks = tuple(source.remarks)
        yield End(source.name, at, shard.last is None, "", remarks, source.without_depth, source.rate_hz)
