"""Whether predictions and truth are numbered one apart: the commonest slip with label images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST_CLASSES = 3
"""Two classes that are taken for each other look like a shift; three of them in a row are one."""

_CLASS_SHARE = 1 / 3
_TIMES_MORE = 3.0


def shift_of(counts: npt.NDArray[np.integer]) -> int:
    """By how much the predicted numbers are too high, as far as the counts prove it.

    A class votes for a shift of s where what is predicted on it most often is the class s behind it. A shift
    is believed where a third of the classes shown, and three at least, vote for it, and where it would make
    three times as many pixels right. Bad predictions err in many directions: they do not vote alike, and one
    class that is predicted everywhere is one vote.

    Args:
        counts: (K, K + 1), see `ConfusionMatrix`.

    Returns:
        1 or -1; 0 where nothing is proved.
    """
    given = np.asarray(counts)[:, :-1]  # (K, K)
    shown = np.flatnonzero(given.sum(axis=1))
    if shown.size < _LEAST_CLASSES:
        return 0
    favourites = given[shown].argmax(axis=1)
    right = int(np.trace(given))
    for shift in (1, -1):
        votes = int((favourites == shown + shift).sum())
        hits = int(np.trace(given, offset=shift))
        if votes >= max(_LEAST_CLASSES, _CLASS_SHARE * shown.size) and hits > _TIMES_MORE * right:
            return shift
    return 0


def shift_remark(counts: npt.NDArray[np.integer]) -> str:
    """What people are told of a shift, with the cures; "" where nothing is proved."""
    shift = shift_of(counts)
    if not shift:
        return ""
    given = np.asarray(counts)[:, :-1]
    share, other = (100 * int(np.trace(given, offset=at)) / int(np.sum(counts)) for at in (0, shift))
    return (
        f"predictions and truth seem to be numbered one apart: {share:.1f} % of the pixels are right, "
        f"{other:.1f} % would be if each predicted number were one {'less' if shift > 0 else 'more'}; of "
        "predictions in files say with --first-id where their classes begin (1 where 0 is unlabelled, as in "
        "ADE20K's own label images), in a data set of your own 0 is ignored and k is line k of classes.txt"
    )
