"""What is asked for beyond a name: where it is, which of several, how many."""

from ovseg_ros.core.words.requests.reader import MAX_COUNT, MAX_DEPTH, parse_request
from ovseg_ros.core.words.requests.wanted import By, Order, Relation, Wanted, Where

__all__ = ["MAX_COUNT", "MAX_DEPTH", "By", "Order", "Relation", "Wanted", "Where", "parse_request"]
