"""Masks from a colour image alone, by a small network of our own."""

from ovseg_ros.proposals.colour.network import ColourMaskNetwork
from ovseg_ros.proposals.colour.proposer import ColourMasks, ColourMasksOptions

__all__ = ["ColourMaskNetwork", "ColourMasks", "ColourMasksOptions"]
