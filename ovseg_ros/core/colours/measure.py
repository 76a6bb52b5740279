"""The colour of a mask: which share of its pixels is of a named colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.colours.names import BASIC, COLOURS, memberships

_BITS = 2  # of each channel that are left out: tables of 64 x 64 x 64 colours
_LEVELS = 256 >> _BITS

RIM_OF_SIDE = 0.06
"""The rim that is left out, in parts of the square root of the mask's area: mixed pixels, shadows beside."""

MAX_RIM_PIXELS = 6
"""The widest rim that is left out, in pixels."""

LEAST_INSIDE = 0.25
"""The part of a mask that must be left inside of its rim; a thinner mask is looked at whole."""

LEAST_TELLING = 0.2
"""The part of a mask's pixels that must be neither in deep shade nor glare for a hue to be said or denied."""

_DEEP_SHADE, _GLARE = 6.0, 96.0  # lightness below and above which a pixel tells no hue
_DULL, _VIVID = 16.0, 24.0  # chroma up to which a pixel may pass for neutral, and from which it never does
_PALE = 6.0  # chroma below which a very light pixel is glare


def colour_codes(image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """(..., 3) uint8 RGB -> (...) int32, the place of each pixel in the tables of this module."""
    parts = (image_rgb >> _BITS).astype(np.int32)
    codes: npt.NDArray[np.int32] = (parts[..., 0] * _LEVELS + parts[..., 1]) * _LEVELS + parts[..., 2]
    return codes


def inner(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The mask without its rim; the mask itself where it is too thin to lose one.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool; what lies at the image's border counts as inside.
    """
    area = int(np.count_nonzero(mask))
    rim = min(round(RIM_OF_SIDE * area**0.5), MAX_RIM_PIXELS)
    if rim == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    left = cv2.erode(mask.astype(np.uint8), disc, borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(bool)
    return left if np.count_nonzero(left) >= LEAST_INSIDE * area else mask


def colour_share(codes: npt.NDArray[np.int32], colours: Sequence[str]) -> float | None:
    """Which share of some pixels is of one of the colours.

    Args:
        codes: (P,) of `colour_codes`.
        colours: words of `COLOURS`.

    Returns:
        The mean over the pixels of the largest membership in any of the colours, in [0, 1]. Pixels in deep
        shade or glare tell no hue: where all colours are hues they are left out. None where the pixels cannot
        tell: there are none, or too few that tell a hue.
    """
    if codes.size == 0:
        return None
    share = np.max([_table(colour)[codes] for colour in colours], axis=0)
    if all(COLOURS[colour].is_hue for colour in colours):
        telling = _telling()[codes]
        if np.count_nonzero(telling) < LEAST_TELLING * codes.size:
            return None
        share = share[telling]
    return float(share.mean())


def mean_lab(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """(3,) the mean of some pixels in CIE Lab, L 0 to 100; `codes` as above, at least one."""
    mean: npt.NDArray[np.float32] = lab_of(codes).mean(axis=0)
    return mean


def lab_of(codes: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """(..., 3) CIE Lab of some pixels, L 0 to 100; `codes` as above."""
    lab: npt.NDArray[np.float32] = _table_lab()[codes]
    return lab


def vivid_share(codes: npt.NDArray[np.int32]) -> float:
    """Which share of some pixels has a hue that nobody calls white, grey or black; 0 for no pixels."""
    return float(_vivid()[codes].mean()) if codes.size else 0.0


def is_neutral(colours: Sequence[str]) -> bool:
    """Whether none of some colour words is a matter of hue: white, grey, black, silver."""
    return not any(COLOURS[colour].is_hue for colour in colours)


def seen_colour(codes: npt.NDArray[np.int32]) -> str:
    """The basic colour word with the largest share of some pixels, "" where none has a third of them."""
    shares = {colour: colour_share(codes, (colour,)) or 0.0 for colour in BASIC}
    best = max(shares, key=lambda colour: shares[colour])
    return best if shares[best] >= 1 / 3 else ""


@lru_cache(maxsize=1)
def _table_lab() -> npt.NDArray[np.float32]:
    """(64³, 3) float32 Lab of the tables' colours, each the centre of its cell."""
    level = (np.arange(_LEVELS, dtype=np.float32) * (1 << _BITS) + ((1 << _BITS) - 1) / 2) / 255
    rgb = np.stack(np.meshgrid(level, level, level, indexing="ij"), axis=-1).reshape(1, -1, 3)
    lab: npt.NDArray[np.float32] = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2Lab)[0]
    return lab


@lru_cache(maxsize=len(COLOURS))
def _table(colour: str) -> npt.NDArray[np.float32]:
    """(64³,) float32 membership of each table colour."""
    return memberships(_table_lab(), colour)


@lru_cache(maxsize=1)
def _vivid() -> npt.NDArray[np.float32]:
    """(64³,) float32 in [0, 1], how vivid each table colour is, by its chroma."""
    lab = _table_lab()
    chroma = np.hypot(lab[:, 1], lab[:, 2])
    vivid: npt.NDArray[np.float32] = np.clip((chroma - _DULL) / (_VIVID - _DULL), 0, 1)
    return vivid


@lru_cache(maxsize=1)
def _telling() -> npt.NDArray[np.bool_]:
    """(64³,) bool, which table colours tell a hue or that there is none."""
    lab = _table_lab()
    glare = (lab[:, 0] > _GLARE) & (np.hypot(lab[:, 1], lab[:, 2]) < _PALE)
    telling: npt.NDArray[np.bool_] = (lab[:, 0] >= _DEEP_SHADE) & ~glare
    return telling
