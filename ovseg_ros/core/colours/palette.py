"""Which colours a mask has and how much of each: two masks of one thing have much the same."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.colours.measure import colour_codes, inner, lab_of
from ovseg_ros.core.maps import BoxedMask

_LIGHTNESSES, _HUES = 3, 11  # levels of L from 0 to 100, and of a and b each from -_VIVIDEST to _VIVIDEST
_VIVIDEST = 80.0
_MOST_PIXELS = 4096  # of a larger mask each second, third … is looked at

COLOUR_BINS = _LIGHTNESSES * _HUES * _HUES
"""C: parts of the colour space that a palette tells apart."""


def palette(image_rgb: npt.NDArray[np.uint8], mask: BoxedMask) -> npt.NDArray[np.float32]:
    """The colours of a mask, without its rim.

    A histogram in CIE Lab whose pixels are shared out among the eight nearest bins, so that a little more
    light changes it a little. Of the shares the roots are taken: the inner product of two palettes is their
    Bhattacharyya coefficient, 1 for the same colours, 0 for no colour in common.

    Args:
        image_rgb: (H, W, 3) uint8.
        mask: of it.

    Returns:
        (C,) unit, at least 0; zeros for an empty mask.

    Source:
        Comaniciu, Ramesh, Meer: Kernel-based object tracking, PAMI 2003, section 4.
    """
    if not mask.area:
        return np.zeros(COLOUR_BINS, np.float32)
    x0, y0, x1, y1 = mask.box_xyxy
    pixels = image_rgb[y0:y1, x0:x1][inner(mask.crop)]
    lab = lab_of(colour_codes(pixels[:: len(pixels) // _MOST_PIXELS + 1]))  # (P,3)
    sizes = np.array([_LIGHTNESSES, _HUES, _HUES])
    span = np.array([100.0, 2 * _VIVIDEST, 2 * _VIVIDEST])
    place = (lab + np.array([0.0, _VIVIDEST, _VIVIDEST])) / span * (sizes - 1)
    place = np.clip(place, 0, sizes - 1)  # (P,3)
    below = np.minimum(place.astype(np.int64), sizes - 2)
    above = place - below  # (P,3) share of the bin above
    shares = np.zeros(COLOUR_BINS)
    for corner in itertools.product((0, 1), repeat=3):
        weight = np.where(corner, above, 1 - above).prod(axis=1)
        bins = np.ravel_multi_index(tuple((below + corner).T), tuple(sizes))
        shares += np.bincount(bins, weight, COLOUR_BINS)
    roots: npt.NDArray[np.float32] = np.sqrt(shares / len(lab)).astype(np.float32)
    return roots
