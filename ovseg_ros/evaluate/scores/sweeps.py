"""How the score depends on one option: every value in one pass, embedding a picture as rarely as it can."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.datasets.dataset import Sample, SegmentationDataset
from ovseg_ros.evaluate.scores.predict import Names, benchmark_options, named_map, text_rows
from ovseg_ros.evaluate.scores.run import Prediction, Progress, Result, score_each

DEFAULT_VALUES: dict[str, tuple[float, ...]] = {
    "clip_weight": tuple(i / 10 for i in range(11)),
    "threshold": (0.0, *(i / 10 for i in range(1, 10)), 0.95),
    "granularity": tuple(i / 10 for i in range(11)),
    "mask_threshold": (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7),
}
"""What can be swept, and over which values unless others are given."""


def sweep(
    segmenter: OpenVocabularySegmenter,
    dataset: SegmentationDataset,
    name: str,
    values: Sequence[float] | None = None,
    *,
    options: SegmenterOptions | None = None,
    names: Names = "first",
    progress: Progress = lambda done, total: None,
) -> dict[float, Result]:
    """Scores a data set once per value of an option.

    "clip_weight" is λ of the ensemble, and needs a generator that classifies; "threshold" is a mask's least
    probability, and so is swept on binary maps; "granularity" as in `core.maps.compose`; each of these embeds
    a picture once. "mask_threshold" cuts soft masks, so that every value proposes and embeds anew.

    Args:
        segmenter: what is measured.
        dataset: with the truth.
        name: one of `DEFAULT_VALUES`.
        values: in any order; None: those of `DEFAULT_VALUES`.
        options: what else holds; None: the segmenter's under the benchmarks' rules.
        names: see `evaluate_dataset`.
        progress: see `run.Progress`.

    Returns:
        value -> result, in the order of the values.

    Raises:
        ConfigError: no such option, no value, a value out of range, or a generator that has not got it.
        InvalidInputError: no picture could be scored.
    """
    if name not in DEFAULT_VALUES:
        raise ConfigError(f"expected an option of {', '.join(DEFAULT_VALUES)}, got {name!r}")
    chosen = list(dict.fromkeys(DEFAULT_VALUES[name] if values is None else map(float, values)))
    if not chosen:
        raise ConfigError(f"expected values of {name}, got none")
    base = benchmark_options(segmenter.options) if options is None else options
    if name == "clip_weight":
        base = replace(base, classifier="ensemble")
    elif name == "threshold":
        base = replace(base, semantic="binary")
    segmenter.check(base)
    rows = text_rows(segmenter, dataset.classes, base, names)
    if name == "mask_threshold":
        steps = {str(value): (_with_mask_threshold(segmenter, value), base) for value in chosen}
    else:
        changed = {str(value): replace(base, **{name: value}) for value in chosen}  # type: ignore[arg-type]
        steps = {key: (segmenter, options) for key, options in changed.items()}

    def maps(sample: Sample) -> dict[str, Prediction]:
        found: dict[str, Prediction] = {}
        last = None
        for key, (chain, one) in steps.items():
            if chain is not last:
                embedded, last = chain.embed(sample.frame, base), chain
            found[key] = named_map(chain, embedded, rows, one)
        return found

    results = score_each(dataset, maps, [str(value) for value in chosen], progress)
    return {value: results[str(value)] for value in chosen}


def _with_mask_threshold(segmenter: OpenVocabularySegmenter, value: float) -> OpenVocabularySegmenter:
    """The same chain whose generator cuts its soft masks elsewhere; the networks are shared."""
    own: Any = getattr(segmenter.proposer, "options", None)
    if not hasattr(own, "mask_threshold"):
        raise ConfigError(
            f"{type(segmenter.proposer).__name__} has no mask_threshold to sweep; MaskFormer's proposals have"
        )
    proposer: Any = copy.copy(segmenter.proposer)
    proposer.options = replace(own, mask_threshold=value)
    return segmenter.rebuilt(proposer=proposer)
