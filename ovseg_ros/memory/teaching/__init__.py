"""Names taught by example: what a thing looks like, and whether a region is that thing or merely alike."""

from ovseg_ros.memory.teaching.known import KnownNames, by_name
from ovseg_ros.memory.teaching.looks import Looks, looks_of
from ovseg_ros.memory.teaching.named import is_taught, quoted, with_taught, without_taught
from ovseg_ros.memory.teaching.shown import (
    FITS,
    check_box,
    example_of,
    no_fit,
    region_in_box,
    regions_at,
    with_mask,
)
from ovseg_ros.memory.teaching.taught import (
    Decision,
    Rivals,
    Weights,
    decide,
    features,
    find_like,
    find_taught,
    fit_of,
    has_weights,
    weights_of,
)

__all__ = [
    "FITS",
    "Decision",
    "KnownNames",
    "Looks",
    "Rivals",
    "Weights",
    "by_name",
    "check_box",
    "decide",
    "example_of",
    "features",
    "find_like",
    "find_taught",
    "fit_of",
    "has_weights",
    "is_taught",
    "looks_of",
    "no_fit",
    "quoted",
    "region_in_box",
    "regions_at",
    "weights_of",
    "with_mask",
    "with_taught",
    "without_taught",
]
