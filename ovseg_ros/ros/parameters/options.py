"""From the node's parameters to the options of the method."""

from __future__ import annotations

import dataclasses
from typing import Any

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.tracking import TrackOptions
from ovseg_ros.models.template_sets import template_set
from ovseg_ros.ros.parameters.table import PRESET_WORD, Settings


def options_from(preset_options: SegmenterOptions, settings: Settings) -> SegmenterOptions:
    """The preset's options with what the parameters say otherwise."""
    changes: dict[str, Any] = {}
    for name in ("threshold", "background_max_similarity", "max_masks", "min_mask_pixels"):
        if getattr(settings, name) > 0:
            changes[name] = getattr(settings, name)
    for name in ("clip_weight", "granularity"):
        if getattr(settings, name) >= 0:
            changes[name] = getattr(settings, name)
    for name in ("others", "templates", "classifier", "decision", "region_view", "mask_prompts", "semantic"):
        if getattr(settings, name) != PRESET_WORD:
            changes[name] = getattr(settings, name)
    if "templates" in changes:
        changes["templates"] = template_set(changes["templates"])
    if "mask_prompts" in changes:
        changes["mask_prompts"] = changes["mask_prompts"] == "on"
    words: list[str] = []
    for word in settings.background_labels:
        words += list(preset_options.background) if word == PRESET_WORD else [word] if word else []
    changes["background"] = tuple(dict.fromkeys(words))
    return dataclasses.replace(preset_options, **changes)


def track_options_from(settings: Settings) -> TrackOptions:
    """How things are followed, by the parameters."""
    return TrackOptions(
        max_gap_s=settings.track_max_gap,
        refresh=settings.embedding_refresh,
        half_life_s=settings.embedding_half_life,
    )
