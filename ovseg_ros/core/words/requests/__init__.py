"""What is asked for beyond a name: where it is, which of several, how many."""

from ovseg_ros.core.words.requests.asked import Asked, as_request, names_of, wanted_of
from ovseg_ros.core.words.requests.reader import MAX_COUNT, MAX_DEPTH, parse_request
from ovseg_ros.core.words.requests.wanted import By, Order, Relation, Wanted, Where

__all__ = [
    "MAX_COUNT",
    "MAX_DEPTH",
    "Asked",
    "By",
    "Order",
    "Relation",
    "Wanted",
    "Where",
    "as_request",
    "names_of",
    "parse_request",
    "wanted_of",
]
