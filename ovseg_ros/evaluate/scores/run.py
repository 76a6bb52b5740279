"""Scores predictions on a data set, one picture after the other: pictures that fail are named and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError, WeightsError
from ovseg_ros.evaluate.datasets.dataset import Sample, SegmentationDataset
from ovseg_ros.evaluate.scores.miou import ConfusionMatrix, Scores
from ovseg_ros.evaluate.scores.predict import Names, named_map, text_rows
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
        seconds: per scored picture, reading and scoring included.
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

    def predict(sample: Sample) -> dict[str, Prediction]:
        return {"": named_map(segmenter, segmenter.embed(sample.frame, chosen), rows, chosen)}

    return score_each(dataset, predict, ("",), progress)[""]


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
    matrices = {name: ConfusionMatrix(len(dataset.class_names)) for name in variants}

    def score(i: int) -> None:
        sample = dataset.load(i)
        maps = predict(sample)
        # All of a picture, or an error before anything of it is added.
        counts = {name: matrix.count(sample.truth, maps[name]) for name, matrix in matrices.items()}
        for name, matrix in matrices.items():
            matrix.counts += counts[name]

    start = time.perf_counter()
    failed = each_picture([item.name for item in dataset.items], score, dataset.name, progress)
    images = len(dataset) - len(failed)
    seconds = (time.perf_counter() - start) / images
    return {
        name: Result(
            **vars(matrix.scores(dataset.class_names, dataset.unseen)),
            dataset=dataset.name,
            images=images,
            failed=tuple(failed),
            seconds=seconds,
            remarks=(remark,) if (remark := shift_remark(matrix.counts)) else (),
        )
        for name, matrix in matrices.items()
    }


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
            if len(failed) == i + 1 == min(GIVE_UP_AFTER, len(names)):
                first, reason = failed[0]
                raise InvalidInputError(
                    f"none of the {len(failed)} pictures tried of {dataset} could be scored; "
                    f"{first}: {reason}"
                ) from error
        progress(i + 1, len(names))
    return failed
