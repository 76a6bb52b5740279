"""Reading the label images of segmentation data sets, and what their values mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import opened

IGNORE = 65535
"""The value of pixels in a truth image that no score counts."""

_UNKNOWN = 65534
"""Marks values without a meaning while a label image is decoded."""

Decoder = Callable[[npt.NDArray[Any]], npt.NDArray[np.uint16]]
"""From a label image as stored to (H, W) uint16 class indices, `IGNORE` where nothing is counted."""


def read_values(path: Path) -> npt.NDArray[Any]:
    """The numbers in a label image: (H, W) integers, or (H, W, 3) uint8 where it is stored in colour.

    Palette images give the indices, never the colours. `.mat` files give their one matrix `LabelMap`.

    Raises:
        InvalidInputError: not there, cannot be decoded, or numbers that are no labels.
    """
    if path.suffix == ".mat":
        return _read_matrix(path)
    with opened(path, kind="label image") as image:
        values = np.array(image)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if values.dtype.kind not in "ui":
        raise InvalidInputError(f"expected whole numbers in the label image {path}, got {values.dtype}")
    return values


def lookup(meaning: Mapping[int, int], *, others: int | None = None) -> Decoder:
    """A decoder by table.

    Args:
        meaning: value in the file -> class index or `IGNORE`.
        others: what all other values mean; None: they are an error.

    Returns:
        The decoder. It raises InvalidInputError for an image of more than one channel, and for values that
        have no meaning, which it names.
    """
    size = max(meaning, default=0) + 1
    table = np.full(size + 1, _UNKNOWN if others is None else others, np.uint16)  # the last: beyond
    for value, index in meaning.items():
        table[value] = index

    def decode(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        if values.ndim != 2:
            raise InvalidInputError(
                f"expected one number per pixel in a label image, got the shape {values.shape}: is it a "
                "picture in colours?"
            )
        truth: npt.NDArray[np.uint16] = table[np.clip(values.astype(np.int64), -1, size)]  # -1: the last
        if others is None and (strange := truth == _UNKNOWN).any():
            found, counts = np.unique(values[strange], return_counts=True)
            listed = ", ".join(f"{v} ({n} pixels)" for v, n in list(zip(found, counts, strict=True))[:8])
            more = "" if len(found) <= 8 else f" and {len(found) - 8} more"
            raise InvalidInputError(f"label values that no class has: {listed}{more}")
        return truth

    return decode


def _read_matrix(path: Path) -> npt.NDArray[Any]:
    from scipy.io import loadmat  # here, because only Pascal-Context's own files need it

    if not path.is_file():
        raise InvalidInputError(f"{path} is not there")
    try:
        return np.asarray(loadmat(path)["LabelMap"])
    except Exception as error:  # on damaged files SciPy raises what it likes
        raise InvalidInputError(
            f"{path} cannot be read, damaged or cut off: {type(error).__name__}: {error}"
        ) from error
