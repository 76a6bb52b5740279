"""Scores predictions on a data set, one picture after the other: pictures that fail are named and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError, WeightsError
from ovseg_ros.evaluate.datasets.dataset import Sample, SegmentationDataset
from ovseg_ros.evaluate.scores.miou import ConfusionMatrix, Scores
from ovseg_ros.evaluate.scores.predict import Names, TextRows, named_map, text_rows
from ovseg_ros.evaluate.scores.shift import shift_remark

_log = logging.getLogger(__name__)

GIVE_UP_AFTER = 20
"""As many failures in a row, from the first picture on, end a run: something is wrong with all of them."""

Progress = Callable[[int, int], None]
"""Told (pictures done, pictures in all) after each picture."""

Prediction = npt.NDArray[np.integer[Any]]
Predict = Callable[[Sample], Mapping[str, Prediction]]
"""From a sample to one map (H, W) of class indices per variant; -1 where there is no prediction."""


@dataclass(frozen=True)
class Result(Scores):
    """What was measured: the scores, and of what.

    Attributes:
        dataset: its name.
        images: pictures that were scored.
        failed: (name, reason) of each that was not.
        seconds: per scored picture, reading and scoring included, of one worker where there are several.
        remarks: what people should know of the figures.
    """

    dataset: str
    images: int
    failed: tuple[tuple[str, str], ...]
    seconds: float
    remarks: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the scores behind what was counted."""
        values = super().to_dict()
        return {
            "dataset": values.pop("dataset"),
            "images": values.pop("images"),
            "failed": [{"name": name, "reason": reason} for name, reason in values.pop("failed")],
            "seconds_per_image": values.pop("seconds"),
            "remarks": list(values.pop("remarks")),
            **values,
        }


def evaluate_dataset(
    segmenter: OpenVocabularySegmenter,
    dataset: SegmentationDataset,
    *,
    options: SegmenterOptions | None = None,
    names: Names = "first",
    progress: Progress = lambda done, total: None,
) -> Result:
    """Segments every picture by the data set's words and scores the maps.

    Args:
        segmenter: what is measured.
        dataset: with its words.
        options: the segmenter's own when None; see `predict.benchmark_options` for the benchmarks' rules.
            `semantic` chooses between maps of binary masks and of soft ones.
        names: whether a class is its first name, or the mean of all its names.
        progress: see `Progress`.

    Raises:
        InvalidInputError: no picture could be scored.
        ConfigError: options that the chain cannot follow.
    """
    chosen = segmenter.options if options is None else options
    segmenter.check(chosen)
    rows = text_rows(segmenter, dataset.classes, chosen, names)

    return gather(dataset, look(dataset, predictor(segmenter, rows, chosen), range(len(dataset))), progress)[
        ""
    ]


def predictor(segmenter: OpenVocabularySegmenter, rows: TextRows, options: SegmenterOptions) -> Predict:
    """What `evaluate_dataset` asks of each picture: one map, of the variant ""."""

    def predict(sample: Sample) -> dict[str, Prediction]:
        return {"": named_map(segmenter, segmenter.embed(sample.frame, options), rows, options)}

    return predict


@dataclass(frozen=True)
class Scored:
    """What became of one picture.

    Attributes:
        name: of the picture.
        counts: variant -> (places, numbers): the entries of `ConfusionMatrix.count` that are not 0, in the
            order of its rows; one after the other (C,) int64 each.
        seconds: reading and scoring it.
        failed: why it was not scored, or "".
    """

    name: str
    counts: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]
    seconds: float = 0.0
    failed: str = ""


def look(
    dataset: SegmentationDataset, predict: Predict, which: Iterable[int], variants: Sequence[str] = ("",)
) -> Iterator[Scored]:
    """Scores pictures one after the other; those that cannot be read or segmented say why.

    Args:
        dataset: with the truth.
        predict: gives every variant's map of a sample.
        which: places in the data set.
        variants: their names.

    Raises:
        ConfigError, WeightsError: these concern every picture.
    """
    matrix = ConfusionMatrix(len(dataset.class_names))
    for i in which:
        start = time.perf_counter()
        try:
            sample = dataset.load(i)
            maps = predict(sample)
            counts = {}
            for name in variants:
                flat = matrix.count(sample.truth, maps[name]).reshape(-1)
                places = np.flatnonzero(flat)
                counts[name] = places, flat[places]
        except (ConfigError, WeightsError):
            raise
        except Exception as error:
            yield Scored(dataset.items[i].name, {}, failed=reason_of(error))
        else:
            yield Scored(dataset.items[i].name, counts, time.perf_counter() - start)


def gather(
    dataset: SegmentationDataset,
    outcomes: Iterable[Scored],
    progress: Progress = lambda done, total: None,
    variants: Sequence[str] = ("",),
) -> dict[str, Result]:
    """Sums up what became of every picture; see `score_each`."""
    matrices = {name: ConfusionMatrix(len(dataset.class_names)) for name in variants}
    failed: list[tuple[str, str]] = []
    seconds = 0.0
    for done, one in enumerate(outcomes, 1):
        if one.failed:
            failed.append((one.name, one.failed))
            _give_up(failed, done, len(dataset), dataset.name)
        for name, (places, numbers) in one.counts.items():
            matrices[name].counts.reshape(-1)[places] += numbers
        seconds += one.seconds
        progress(done, len(dataset))
    images = len(dataset) - len(failed)
    return {
        name: Result(
            **vars(matrix.scores(dataset.class_names, dataset.unseen)),
            dataset=dataset.name,
            images=images,
            failed=tuple(failed),
            seconds=seconds / images,
            remarks=(remark,) if (remark := shift_remark(matrix.counts)) else (),
        )
        for name, matrix in matrices.items()
    }


def score_each(
    dataset: SegmentationDataset,
    predict: Predict,
    variants: Sequence[str],
    progress: Progress = lambda done, total: None,
) -> dict[str, Result]:
    """Scores several ways to predict in one pass over a data set.

    A picture that cannot be read or segmented counts for no variant; it is named with its reason in every
    result, and the run goes on.

    Args:
        dataset: with the truth.
        predict: gives every variant's map of a sample.
        variants: their names.
        progress: see `Progress`.

    Returns:
        variant -> result.

    Raises:
        InvalidInputError: no picture could be scored, or none of the first `GIVE_UP_AFTER`.
        ConfigError, WeightsError: these concern every picture.
    """
    return gather(dataset, look(dataset, predict, range(len(dataset)), variants), progress, variants)


def _give_up(
    failed: Sequence[tuple[str, str]], done: int, total: int, dataset: str, error: Exception | None = None
) -> None:
    """Raises where every picture so far failed, and these are enough."""
    if len(failed) == done == min(GIVE_UP_AFTER, total):
        first, reason = failed[0]
        raise InvalidInputError(
            f"none of the {len(failed)} pictures tried of {dataset} could be scored; {first}: {reason}"
        ) from error


def reason_of(error: Exception) -> str:
    """Why a picture failed; what nobody foresaw is logged with its traceback too."""
    if isinstance(error, OvsegError):
        return str(error)
    _log.exception("a picture failed in a way nobody foresaw")
    return f"{type(error).__name__}: {error}"


def each_picture(
    names: Sequence[str], score: Callable[[int], None], dataset: str, progress: Progress
) -> list[tuple[str, str]]:
    """Scores picture after picture; a run does not die of one of them.

    Args:
        names: of the pictures.
        score: takes the place of one in `names`, and notes what it finds.
        dataset: its name, for messages.
        progress: see `Progress`.

    Returns:
        Name and reason of each that failed.

    Raises:
        InvalidInputError: all failed, or each of the first `GIVE_UP_AFTER`.
        ConfigError, WeightsError: these concern every picture.
    """
    failed: list[tuple[str, str]] = []
    for i, name in enumerate(names):
        try:
            score(i)
        except (ConfigError, WeightsError):
            raise
        except Exception as error:
            failed.append((name, reason_of(error)))
            _give_up(failed, i + 1, len(names), dataset, error)
        progress(i + 1, len(names))
    return failed
