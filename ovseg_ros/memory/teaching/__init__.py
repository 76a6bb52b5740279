"""Names taught by example: what a thing looks like, and whether a region is that thing or merely alike."""

from ovseg_ros.memory.teaching.looks import Looks, looks_of
from ovseg_ros.memory.teaching.taught import (
    Decision,
    Rivals,
    Weights,
    decide,
    features,
    find_like,
    find_taught,
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
    "looks_of",
    "weights_of",
]
