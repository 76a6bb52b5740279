"""`ovseg evaluate dataset` by one process or many: pictures in, counts out, in order, into a journal."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ovseg_ros.app.evaluate_commands import show_progress
from ovseg_ros.app.evaluate_setup import load, prepare
from ovseg_ros.app.many import Crew, crew_of, ranges
from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset
from ovseg_ros.evaluate.scores.journal import PictureJournal
from ovseg_ros.evaluate.scores.predict import text_rows
from ovseg_ros.evaluate.scores.provenance import made_with, typed
from ovseg_ros.evaluate.scores.run import Result, Scored, gather, look, predictor

PER_SHARD = 8
"""Pictures a worker is handed at a time: what is done again where it dies."""


@dataclass(frozen=True)
class EvaluateJob:
    """Opens the work.

    Attributes:
        options: the command line's.
        dataset: its files; workers read them.
        command: as it was typed.
        load: stands in for `models.presets.load_preset`.
    """

    options: argparse.Namespace
    dataset: SegmentationDataset
    command: Sequence[str]
    load: Callable[..., Any] | None = None

    def __call__(self) -> EvaluateWork:
        """Loads the networks and encodes the data set's words.

        Raises:
            OvsegError: weights that are missing, options that the networks cannot follow.
        """
        return EvaluateWork(self)


class EvaluateWork:
    """A segmenter and the data set's words in its space."""

    def __init__(self, job: EvaluateJob) -> None:
        """See `EvaluateJob`."""
        self._job = job
        self._segmenter, self._chosen = load(job.options, job.load)
        rows = text_rows(self._segmenter, job.dataset.classes, self._chosen, job.options.names)
        self._predict = predictor(self._segmenter, rows, self._chosen)

    def about(self) -> dict[str, Any]:
        """What it was made with."""
        options = self._job.options
        return made_with(
            command=self._job.command,
            preset=options.preset,
            weights_dir=options.weights_dir,
            segmenter=self._segmenter,
            options=self._chosen,
            dataset=self._job.dataset,
        )

    def do(self, shard: Sequence[int], kept: None) -> Iterator[Scored]:
        """What is counted on each picture; `shard` has their places in the data set."""
        yield from look(self._job.dataset, self._predict, shard)


def evaluated(
    options: argparse.Namespace, dataset: SegmentationDataset, load: Callable[..., Any] | None = None
) -> tuple[Result, dict[str, Any]]:
    """The result of a preset on a data set, and what it was made with.

    Args:
        options: the command line's.
        dataset: what it is measured on.
        load: stands in for `models.presets.load_preset`.

    Raises:
        OvsegError: what cannot be used, with the cure; no picture could be scored.
    """
    prepare(options, dataset)
    with crew_of(options, EvaluateJob(options, dataset, typed(), load)) as crew:
        about = crew.about()
        kept = ("preset", "weights", "parameters", "options", "data")
        settings = {**{key: about[key] for key in kept}, "names": options.names}
        journal = PictureJournal(options.out, settings, resume=options.resume)
        try:
            outcomes = _outcomes(crew, dataset, journal, whole=options.ray is None)
            return gather(dataset, outcomes, show_progress("picture"))[""], about
        finally:
            journal.close()


def _outcomes(
    crew: Crew, dataset: SegmentationDataset, journal: PictureJournal, *, whole: bool
) -> Iterator[Scored]:
    """What became of each picture in the order of the data set, by this run or an earlier one."""
    names = [item.name for item in dataset.items]
    left = [i for i, name in enumerate(names) if name not in journal.done]
    size = max(len(left), 1) if whole else PER_SHARD
    shards = (left[first:last] for first, last in ranges(len(left), size, end=len(left)))
    new = journal.written(crew.do(shards, None, lambda shard, why: _lost(names, shard, why)))
    for name in names:
        yield journal.done[name] if name in journal.done else next(new)


def _lost(names: Sequence[str], shard: Sequence[int], reason: str) -> list[Scored]:
    return [Scored(names[i], {}, failed=reason) for i in shard]
