"""The loop of `ovseg segment`: every frame through the segmenter, and what goes wrong named."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

from ovseg_ros.app.segment.inputs import InputFrame, Picture, Recording, Source, readable
from ovseg_ros.app.segment.outputs import OutputFolder
from ovseg_ros.app.segment.taught import segment
from ovseg_ros.core.camera import DepthDoubt
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import InvalidInputError, NotFiniteError, OutOfMemoryError

if TYPE_CHECKING:
    from ovseg_ros.memory.teaching import KnownNames

MAX_FAILURES_LISTED = 1000
MAX_FAILURES_SAID = 20
LINE_EVERY_S = 10.0


@dataclass
class Tally:
    """What became of the frames.

    Attributes:
        segmented: frames done in this run.
        kept: frames an earlier run has done.
        failed: frames and files that could not be done.
        failures: (source, reason) of the first `MAX_FAILURES_LISTED`.
        remarks: for people.
    """

    segmented: int = 0
    kept: int = 0
    failed: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class Progress:
    """tqdm's bar on a terminal; elsewhere a line on stderr every ten seconds, and one at the end."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar = tqdm(
            total=total or None, unit="frame", disable=not sys.stderr.isatty(), dynamic_ncols=True
        )
        self._start = self._said = time.monotonic()
        self._done = self._said_done = 0

    def step(self) -> None:
        """One more frame."""
        self._done += 1
        self._bar.update()
        if self._bar.disable and time.monotonic() - self._said >= LINE_EVERY_S:
            self._line()

    def say(self, text: str) -> None:
        """A line of text that leaves the bar whole."""
        tqdm.write(text, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Ends the bar, or says the last line."""
        if self._bar.disable and self._done > self._said_done:
            self._line()
        self._bar.close()

    def _line(self) -> None:
        self._said, self._said_done = time.monotonic(), self._done
        rate = self._done / max(self._said - self._start, 1e-9)
        total = f"/{self._total}" if self._total >= self._done else ""
        self.say(f"ovseg: {self._done}{total} frames, {rate:{'.1f' if rate >= 1 else '.2g'}} per second")


class Run:
    """One run over all inputs."""

    def __init__(
        self,
        segmenter: OpenVocabularySegmenter,
        vocabulary: Vocabulary,
        folder: OutputFolder,
        progress: Progress,
        known: KnownNames | None = None,
    ) -> None:
        self.tally = Tally()
        self._known = known
        self._segmenter = segmenter
        self._vocabulary = vocabulary
        self._folder = folder
        self._progress = progress
        self._doubt = DepthDoubt()
        self._films: list[tuple[Source, list[int]]] = []

    def over(self, sources: Iterable[Source]) -> None:
        """Does every frame; a bad one costs itself alone, a file that breaks off what comes after.

        Raises:
            OvsegError: outputs cannot be written.
        """
        for source in sources:
            indices: list[int] = []
            if not isinstance(source, Picture):
                self._films.append((source, indices))
            try:
                for frame in source.frames():
                    if self._one(source, frame):
                        indices.append(frame.index)
                    self._progress.step()
            except InvalidInputError as error:
                self.fail(readable(source.path), str(error))
            for remark in dict.fromkeys(source.remarks):  # the check of the inputs read it too
                self.remark(remark)

    def films(self) -> None:
        """Makes the film of each video and recording."""
        for source, indices in self._films:
            moves = len(indices) > 1 or not isinstance(source, Recording)
            if moves and (problem := self._folder.write_film(source.name, indices, source.rate_hz or 10.0)):
                self.remark(problem)

    def remark(self, text: str) -> None:
        """Says and keeps what people should know, though nothing failed; once, whatever it is true of."""
        if readable(text) in self.tally.remarks:
            return
        self.tally.remarks.append(readable(text))
        self._progress.say(f"ovseg: {readable(text)}")

    def fail(self, source: str, reason: str) -> None:
        """Counts and names what went wrong."""
        self.tally.failed += 1
        if len(self.tally.failures) < MAX_FAILURES_LISTED:
            self.tally.failures.append((source, readable(reason)))
        if self.tally.failed <= MAX_FAILURES_SAID:
            self._progress.say(f"ovseg: {source}: {readable(reason)}")
        elif self.tally.failed == MAX_FAILURES_SAID + 1:
            self._progress.say("ovseg: more failures; summary.json lists them")

    def _one(self, source: Source, frame: InputFrame) -> bool:
        """Whether the frame's outputs are there."""
        if self._folder.is_done(frame.name, frame.identity):
            self.tally.kept += 1
            return True
        try:
            start = time.perf_counter()
            loaded = source.loaded(frame)
            if doubt := self._doubt(loaded.depth_m):
                self.remark(f"{frame.source}: {doubt}")
            read = time.perf_counter()
            result = segment(self._segmenter, loaded, self._vocabulary, self._known)
        except (InvalidInputError, NotFiniteError, OutOfMemoryError, MemoryError) as error:
            too_large = "this frame does not fit into memory; make it smaller"
            self.fail(frame.source, too_large if isinstance(error, MemoryError) else str(error))
            self._folder.drop(frame.name)
            return False
        seconds = {"read": read - start, **result.timings}
        entry = {
            "source": frame.source,
            "index": frame.index,
            "stamp_ns": loaded.stamp_ns,
            "identity": frame.identity,
            "proposals": len(result),
            "ms": {stage: round(1000 * value, 3) for stage, value in seconds.items()},
        }
        self._folder.write(frame.name, entry, result)
        self.tally.segmented += 1
        return True
