"""Loading the model on the inference thread, so that the executor's thread sees when it is to end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from typing import Any

from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import PRESET_WORD, Settings

LOOK_S = 0.05


class StartFailed(Exception):
    """The node was to start and did not: the reason is in the log, or it was told to end."""


def load_segmenter(settings: Settings) -> Any:
    """The segmenter of the preset that the settings name."""
    from ovseg_ros.models.presets import load_preset

    return load_preset(
        settings.preset,
        device=settings.device,
        weights_dir=settings.weights_dir or None,
        offline=settings.offline,
        proposals_from=None if settings.proposals == PRESET_WORD else settings.proposals,
    )


def loaded(
    worker: Worker,
    make_segmenter: Callable[[Settings], Any],
    settings: Settings,
    is_ending: Callable[[], bool],
) -> Any:
    """The segmenter, checked and warm.

    Raises:
        StartFailed: `is_ending()` while it was loading, which goes on.
        Exception: whatever stands against this preset.
    """

    def load() -> Any:
        segmenter = make_segmenter(settings)
        segmenter.check(options_from(segmenter.options, settings))
        segmenter.warm_up()
        return segmenter

    loading = worker.submit(load, max_pending=1)
    while not wait([loading], timeout=LOOK_S).done:
        if is_ending():
            raise StartFailed
    return loading.result()
