"""What `ovseg evaluate dataset | bottleneck | sweep` need: a preset, and data on which it cannot but work.

Whatever can be known to fail is said before networks are loaded.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from ovseg_ros.app.evaluate_commands import say, show_progress
from ovseg_ros.app.segment.setup import changed_options
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.datasets import preflight
from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset
from ovseg_ros.evaluate.no_proposer import NoProposer
from ovseg_ros.evaluate.scores.charts import new_figure
from ovseg_ros.evaluate.scores.predict import benchmark_options
from ovseg_ros.evaluate.scores.provenance import made_with
from ovseg_ros.files.pictures import STORED
from ovseg_ros.models import presets
from ovseg_ros.models.preset_parts import needs_depth


def measured(
    options: argparse.Namespace,
    dataset: SegmentationDataset,
    measure: Callable[..., Any],
    *,
    true_masks: bool = False,
    **own: Any,
) -> tuple[Any, dict[str, Any]]:
    """What `measure` finds of a preset on a data set, and what it was made with.

    Args:
        options: the command line.
        dataset: what it is measured on.
        measure: `bottleneck` or `sweep`.
        true_masks: whether no mask is asked of the preset.
        own: arguments that it alone takes.
    """
    prepare(options, dataset, true_masks=true_masks)
    segmenter, chosen = load(options, **({"proposer": NoProposer()} if true_masks else {}))
    found = measure(
        segmenter, dataset, options=chosen, names=options.names, progress=show_progress("picture"), **own
    )
    return found, made_with(
        preset=options.preset,
        weights_dir=options.weights_dir,
        segmenter=segmenter,
        options=chosen,
        dataset=dataset,
    )


def prepare(options: argparse.Namespace, dataset: SegmentationDataset, *, true_masks: bool = False) -> None:
    """Refuses what will fail; `options.preset` becomes the preset that is taken, and what it is is said."""
    if options.rules not in ("benchmark", "preset"):
        raise ConfigError(f"expected --rules benchmark or preset, got {options.rules!r}")
    if options.names not in ("first", "average"):
        raise ConfigError(f"expected --names first or average, got {options.names!r}")
    changed_options(options)
    chosen_preset = presets.resolve_preset(options.preset, options.device, options.weights_dir)
    options.preset = chosen_preset.preset  # what the results say they were made with
    _look_ahead(options, dataset, true_masks=true_masks)
    say(f"loading {options.preset}; {chosen_preset.reason}")


def load(
    options: argparse.Namespace, stand_in: Callable[..., Any] | None = None, **own: Any
) -> tuple[OpenVocabularySegmenter, SegmenterOptions]:
    """The preset's segmenter, and the options to measure under.

    Args:
        options: the command line's, after `prepare`.
        stand_in: for `models.presets.load_preset`.
        own: other parts of it.
    """
    segmenter = (stand_in or presets.load_preset)(
        options.preset, device=options.device, weights_dir=options.weights_dir, **own
    )
    chosen = segmenter.options if options.rules == "preset" else benchmark_options(segmenter.options)
    chosen = dataclasses.replace(chosen, **changed_options(options))
    segmenter.check(chosen)
    return segmenter, chosen


def _look_ahead(options: argparse.Namespace, dataset: SegmentationDataset, *, true_masks: bool) -> None:
    """Refuses what can only fail; says what people should know of the pictures."""
    preflight.refuse_unwritable(options.out)
    new_figure(1, 1)  # or says that what draws is not installed
    proposer = presets.read_preset(presets.preset_path(options.preset), part_options=False)["proposer"]
    if needs_depth(proposer) and not true_masks:
        preflight.refuse_without_depth(dataset, options.preset)
    outlook = preflight.look_ahead(dataset, show_progress("looking at picture"))
    if outlook.stored:
        say(f"{len(outlook.stored)} of {len(dataset)} pictures: {STORED}")
    preflight.refuse_failing(dataset, outlook, partial=options.partial)
    if outlook.failing:
        say(f"{len(outlook.failing)} of {len(dataset)} pictures cannot be scored; the others are")
