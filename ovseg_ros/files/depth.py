"""Depth beside pictures: what an RGB-D camera's driver would have sent, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import check_depth_scale, metres
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.pictures import MAX_PIXELS, opened, refuse_what_is_no_file

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
    raise InvalidInputError(f"expected depth of {image} in {depth}, none of {', '.join(tried)} is there")


def as_depth(
    depth: str | Path | npt.NDArray[Any], depth_scale: float | None = None
) -> npt.NDArray[np.float32]:
    """Depth in any form that people have it in, as (H, W) float32 metres; 0, NaN and inf mean unknown.

    Args:
        depth: a file, see `read_depth`, or an array (H, W): integers of 16 bits or more, or floats.
        depth_scale: metres per unit of the numbers; None: integers are millimetres, floats metres.

    Raises:
        InvalidInputError: see `read_depth`.
    """
    if isinstance(depth, str | Path):
        return read_depth(Path(depth).expanduser(), depth_scale=depth_scale)
    return _metres(np.asarray(depth), depth_scale, "the depth given")


def read_depth(
    path: Path, *, name: str = "", depth_scale: float | None = None, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.float32]:
    """Depth registered to a picture as (H, W) float32 metres; 0, NaN and inf mean unknown.

    Args:
        path: 16-bit grey PNG or TIFF, float TIFF, or .npy: integers are millimetres, floats metres.
        name: what messages call it; "": its kind and path.
        depth_scale: metres per unit of the numbers, where they are another's.
        max_pixels: larger images are refused by what their header says, before memory is taken for them.

    Raises:
        InvalidInputError: not there, damaged, too large, of another form, or a scale that is none; the
            message names the file.
    """
    if path.suffix.lower() != ".npy":
        with opened(path, kind="depth image", name=name, max_pixels=max_pixels) as image:
            return _metres(np.asarray(image), depth_scale, name or str(path))
    refuse_what_is_no_file(path, "depth array")
    shown = name or f"the depth array {path}"
    try:
        numbers = np.lib.format.open_memmap(path, mode="r")  # reads the header alone
    except (OSError, ValueError, EOFError) as error:
        raise InvalidInputError(
            f"{shown} cannot be read: {getattr(error, 'strerror', '') or error}"
        ) from error
    if numbers.size > max_pixels:
        raise InvalidInputError(
            f"expected at most {max_pixels / 1e6:g} million pixels, {shown} has {numbers.size / 1e6:.1f} "
            f"million"
        )
    return _metres(numbers, depth_scale, name or str(path))


def _metres(numbers: npt.NDArray[Any], depth_scale: float | None, name: str) -> npt.NDArray[np.float32]:
    if depth_scale is not None:
        check_depth_scale(depth_scale)
    if numbers.ndim != 2 or numbers.size == 0:
        raise InvalidInputError(f"expected depth (H,W) in {name}, got an array of shape {numbers.shape}")
    if numbers.dtype.kind != "f" and (numbers.dtype.kind not in "iu" or numbers.dtype.itemsize < 2):
        raise InvalidInputError(
            f"expected depth as 16-bit millimetres or as floats in metres, {name} holds {numbers.dtype}"
        )
    return metres(numbers, depth_scale)
