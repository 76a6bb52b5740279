"""A colour that a word names, held against the colour of a mask."""

from ovseg_ros.core.colours.fit import fit_colours
from ovseg_ros.core.colours.measure import colour_codes, colour_share, inner, mean_lab, seen_colour
from ovseg_ros.core.colours.names import COLOURS, NamedColours, memberships, named_colours
from ovseg_ros.core.colours.palette import COLOUR_BINS, palette

__all__ = [
    "COLOURS",
    "COLOUR_BINS",
    "NamedColours",
    "colour_codes",
    "colour_share",
    "fit_colours",
    "inner",
    "mean_lab",
    "memberships",
    "named_colours",
    "palette",
    "seen_colour",
]
