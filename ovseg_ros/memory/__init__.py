"""What was seen where: things kept beyond the frames that show them, and names taught by example."""

from ovseg_ros.memory.entry import Entry, Example, Name, Where
from ovseg_ros.memory.looks import Looks, looks_of
from ovseg_ros.memory.taught import (
    Rivals,
    Sighting,
    Weights,
    decide,
    features,
    find_like,
    find_taught,
    weights_of,
)

__all__ = [
    "Entry",
    "Example",
    "Looks",
    "Name",
    "Rivals",
    "Sighting",
    "Weights",
    "Where",
    "decide",
    "features",
    "find_like",
    "find_taught",
    "looks_of",
    "weights_of",
]
