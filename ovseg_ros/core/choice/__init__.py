"""Which one is meant: relations, places in a row, sizes and limits, held against what was found."""

from ovseg_ros.core.choice.choose import choose
from ovseg_ros.core.choice.items import Choice, DecidedFrom, Item
from ovseg_ros.core.choice.limits import Limits
from ovseg_ros.core.words import Wanted, parse_request

__all__ = ["Choice", "DecidedFrom", "Item", "Limits", "Wanted", "choose", "parse_request"]
