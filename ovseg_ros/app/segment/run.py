"""The loop of `ovseg segment`: what becomes of the frames is written and counted, in their order."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from ovseg_ros.app.many import pace
from ovseg_ros.app.segment.inputs import Picture, Recording, Source, readable
from ovseg_ros.app.segment.outputs import OutputFolder
from ovseg_ros.app.segment.work import End, Outcome

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
        total = f"/{self._total}" if self._total >= self._done else ""
        said = pace(self._done, self._total, self._said - self._start)
        self.say(f"ovseg: {self._done}{total} frames, {said}")


class Run:
    """One run over all inputs."""

    def __init__(self, sources: Sequence[Source], folder: OutputFolder, progress: Progress) -> None:
        """Takes the inputs whose outcomes will come."""
        self.tally = Tally()
        self._folder = folder
        self._progress = progress
        self._is_doubted = False  # whether depth is in its unit: said once
        self._films = {one.name: (one, list[int]()) for one in sources if not isinstance(one, Picture)}
        self._remarks: dict[str, list[str]] = {}  # of a source that goes on
        self._ended: set[str] = set()  # sources that broke off

    def take(self, outcomes: Iterable[Outcome | End]) -> None:
        """Writes what became of each frame.

        Raises:
            OvsegError: outputs cannot be written.
        """
        for outcome in outcomes:
            if isinstance(outcome, End):
                self._end(outcome)
            elif outcome.of not in self._ended:
                self._one(outcome)
                self._progress.step()

    def films(self) -> None:
        """Makes the film of each video and recording."""
        for source, indices in self._films.values():
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

    def _end(self, end: End) -> None:
        """A shard of a source is done: what is known of it is said when it is the last."""
        if end.broke_off and end.of not in self._ended:
            self._ended.add(end.of)  # each later shard of it says so again
            self.fail(end.source, end.broke_off)
        remarks = self._remarks.setdefault(end.of, [])
        remarks += [remark for remark in end.remarks if remark not in remarks]
        if end.of in self._films:
            self._films[end.of][0].rate_hz = end.rate_hz or self._films[end.of][0].rate_hz
            if end.without_depth and not self._films[end.of][0].without_depth:
                self._films[end.of][0].without_depth = end.without_depth
        if end.is_last:
            for remark in self._remarks.pop(end.of):
                self.remark(remark)
            if end.of in self._films and (lacking := self._films[end.of][0].without_depth):
                self.remark(lacking)

    def _one(self, outcome: Outcome) -> None:
        if outcome.doubt and not self._is_doubted:
            self._is_doubted = True
            self.remark(f"{outcome.source}: {outcome.doubt}")
        if outcome.failed:
            self.fail(outcome.source, outcome.failed)
            self._folder.drop(outcome.name)
            return
        if outcome.kept:
            self.tally.kept += 1
        else:
            self._folder.write(outcome.name, outcome.line, outcome.images)
            self.tally.segmented += 1
        if outcome.of in self._films:
            self._films[outcome.of][1].append(outcome.index)
