"""Depth beside pictures: what an RGB-D camera's driver would have sent, from files."""

from __future__ import annotations

import math
from numbers import Real
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames

DEPTH_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
"""Tried in this order beside a picture's name."""


def find_depth(depth: Path, image: Path, below: Path) -> Path:
    """The depth file of one picture.

    Args:
        depth: a file, which is the depth of every picture, or a folder of files with the pictures' names, see
            `names`.
        image: the picture.
        below: its path within the folder it was found in, or its bare name; looked for first.

    Raises:
        InvalidInputError: not there; the message lists the names that were tried.
    """
    if depth.is_file():
        return depth
    stems = list(dict.fromkeys((below.with_suffix("").as_posix(), image.stem)))
    tried = [stem + suffix for stem in stems for suffix in DEPTH_SUFFIXES]
    for name in tried:  # as they are written nearly all names are found, and no folder is listed
        if (depth / name).is_file():
            return depth / name
    files = FileNames(depth)
    for stem in stems:
        if (found := files.look(stem, DEPTH_SUFFIXES, what="depth image")) is not None:
            return found
    raise InvalidInputError(f"want depth of {image} in {depth}, none of {', '.join(tried)} is there")


def as_depth(
    depth: str | Path | npt.NDArray[Any], depth_scale: float | None = None
) -> npt.NDArray[np.float32]:
    """Depth in any form that people have it in, as (H, W) float32 metres; 0, NaN and inf mean unknown.

    Args:
        depth: a file, see `read_depth`, or an array (H, W): integers of 16 bits or more, or floats.
        depth_scale: metres per unit of the numbers; None: integers are millimetres, floats metres.

    Raises:
        InvalidInputError: see `read_depth`, or a scale that is none.
    """
    if depth_scale is not None and not (isinstance(depth_scale, Real) and 0 < depth_scale < math.inf):
        raise InvalidInputError(f"want a depth scale > 0, metres per unit, got {depth_scale!r}")
    if isinstance(depth, str | Path):
        return _metres(_load(Path(depth).expanduser()), depth_scale, str(depth))
    return _metres(np.asarray(depth), depth_scale, "the depth given")


def read_depth(path: Path, *, name: str = "") -> npt.NDArray[np.float32]:
    """Depth registered to a picture as (H, W) float32 metres; 0, NaN and inf mean unknown.

    Args:
        path: 16-bit grey PNG or TIFF in millimetres, or .npy: integers are millimetres, floats metres.
        name: what messages call it; "": its kind and path.

    Raises:
        InvalidInputError: not there, damaged, or of another form; the message names the file.
    """
    return _metres(_load(path, name), None, name or str(path))


def _load(path: Path, name: str = "") -> npt.NDArray[Any]:
    """The numbers in the file, whatever their shape and type."""
    if not path.is_file():
        raise InvalidInputError(f"want depth from {path}, it is not there")
    if path.suffix.lower() == ".npy":
        try:
            loaded: npt.NDArray[Any] = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InvalidInputError(f"{name or f'the depth array {path}'} cannot be read: {error}") from error
        return loaded
    data = np.fromfile(path, dtype=np.uint8)
    values = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if values is None:
        shown = name or f"the depth image {path}"
        raise InvalidInputError(f"{shown} cannot be read: empty, damaged or not an image")
    return values


def _metres(values: npt.NDArray[Any], scale: float | None, name: str) -> npt.NDArray[np.float32]:
    if values.ndim != 2 or values.size == 0:
        raise InvalidInputError(f"want depth (H,W) in {name}, got an array of shape {values.shape}")
    if values.dtype.kind == "f":
        return values.astype(np.float32) * np.float32(1 if scale is None else scale)
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 2:
        raise InvalidInputError(
            f"want depth as 16-bit millimetres or as floats in metres, {name} holds {values.dtype}"
        )
    if scale is None:
        return values.astype(np.float32) / np.float32(1000)
    return values.astype(np.float32) * np.float32(scale)
