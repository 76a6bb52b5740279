"""Names taught by example: what a thing looks like, and whether a region is that thing or merely alike."""

from ovseg_ros.memory.teaching.looks import Looks, looks_of
from ovseg_ros.memory.teaching.named import is_taught, quoted, with_taught, without_taught
from ovseg_ros.memory.teaching.taught import (
    Decision,
    Rivals,
    Weights,
    decide,
    features,
    find_like,
    find_taught,
    has_weights,
    weights_of,
)

__all__ = [
    "Decision",
    "Looks",
    "Rivals",
    "Weights",
    "decide",
    "features",
    "find_like",
    "find_taught",
    "has_weights",
    "is_taught",
    "looks_of",
    "quoted",
    "weights_of",
    "with_taught",
    "without_taught",
]
