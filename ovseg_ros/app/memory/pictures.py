"""Pictures of remembered things as files and as pixels."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg_ros.app.memory.exporting import write_file
from ovseg_ros.errors import ConfigError


def write_picture(path: Path, jpeg: bytes) -> None:
    """Writes a picture, a .jpg as it is kept, a .png from that.

    Raises:
        ConfigError: another ending, a picture that is damaged, or a file that cannot be written.
    """
    ending = path.suffix.lower()
    if ending in (".jpg", ".jpeg"):
        write_file(path, jpeg)
        return
    if ending != ".png":
        raise ConfigError(f"expected --picture as a file that ends in .jpg or .png, got {path}")
    pixels = pixels_of(jpeg)
    if pixels is None:
        raise ConfigError("the picture that is kept cannot be read: leave out --picture")
    encoded = io.BytesIO()
    Image.fromarray(pixels).save(encoded, "PNG")
    write_file(path, encoded.getvalue())


def pixels_of(jpeg: bytes | None) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) RGB; None where there is none, or none that can be read."""
    if jpeg is None:
        return None
    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
