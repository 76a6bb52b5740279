"""Reading one picture from a file as the RGB the segmenter wants, whatever the file holds.

| in the file | what becomes of it |
|---|---|
| grey, palette, YCbCr, LAB, HSV | converted to RGB |
| 16 bit | full scale to full scale: 65535 becomes 255, whatever the brightest pixel is |
| transparency (alpha, transparent palette entries) | laid over white, as a page shows it |
| CMYK | converted without its colour profile; profiles of other images are not applied either |
| EXIF orientation | applied, as a viewer does, unless something lies in the picture's pixels |
| several pictures (GIF, TIFF, WebP, MPO) | the first |

What lies in a picture's pixels (depth, label and instance images, COCO's polygons) belongs to the pixels as
they are stored: published data sets were labelled so, and a depth image has no orientation of its own. Who
reads a picture for such a thing gives that thing's size (`grid_hw`) and gets the stored pixels; the turned
ones only where these alone have that size. HEIC is always turned: its decoder does it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.image_files import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    SUFFIX_ORDER,
    as_stored,
    header_of,
    named_errors,
    opened,
    read_header,
    refuse_what_is_no_file,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "STORED",
    "SUFFIX_ORDER",
    "as_image",
    "opened",
    "read_header",
    "read_image",
    "refuse_addresses",
    "refuse_what_is_no_file",
    "to_rgb",
]

STORED = (
    "pictures with an EXIF orientation are taken as they are stored, not turned: what lies in their pixels "
    "(depth, labels) belongs to these"
)
"""What people are told once where a picture was not turned."""


def as_image(
    image: str | Path | Image.Image | npt.NDArray[Any], *, grid_hw: tuple[int, int] | None = None
) -> npt.NDArray[np.uint8]:
    """A picture in any form that people have it in, as (H, W, 3) uint8 RGB.

    Args:
        image: a file, see `read_image`; a Pillow image, converted as a file would be; or an array (H, W, 3)
            uint8 RGB, which is given back as it is.
        grid_hw: see `read_image`.

    Raises:
        InvalidInputError: see `read_image`, or an array of another form.
    """
    if isinstance(image, str | Path):
        refuse_addresses(image)
        with opened(Path(image).expanduser(), cure="make it smaller") as picture:
            return to_rgb(str(image), picture, grid_hw=grid_hw)
    if isinstance(image, Image.Image):
        with named_errors("the image given"):
            return to_rgb("the image given", image, grid_hw=grid_hw)
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(f"expected a file, a Pillow image or an array, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        cure = _array_cure(image)
        raise InvalidInputError(
            f"expected an image (H,W,3) uint8 RGB, got {image.shape} {image.dtype}{cure and '; '}{cure}"
        )
    return image


def refuse_addresses(path: str | Path) -> None:
    """Says that an address is no file of this machine: nothing is fetched here.

    Raises:
        InvalidInputError: it is an address.
    """
    if str(path).lower().startswith(("http:", "https:", "rtsp:")):
        raise InvalidInputError(f"expected a file of this machine, got {str(path)!r}; download it first")


def _array_cure(image: npt.NDArray[Any]) -> str:
    """What makes RGB of an array that is something else, as far as that can be told."""
    if image.size == 0:
        return "it is empty"
    if image.ndim == 2:
        return "grey becomes RGB by np.stack([image] * 3, axis=-1)"
    if image.ndim == 4:
        return "give its pictures one by one"
    if image.ndim == 3 and image.shape[2] == 4:
        return "leave the fourth channel out, image[..., :3]"
    if image.ndim == 3 and image.shape[2] == 1:
        return "grey becomes RGB by np.repeat(image, 3, axis=2)"
    if image.ndim == 3 and image.shape[2] != 3 and image.shape[0] == 3:
        return "channels go last, image.transpose(1, 2, 0)"
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype.kind == "f":
        return "colours from 0 to 1 become bytes by (image * 255).round().astype(np.uint8)"
    return ""


def read_image(
    path: Path, *, grid_hw: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """One picture as (H, W, 3) uint8 RGB, H and W at least 1; the module's table says how.

    Args:
        path: a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG 2000, AVIF or TGA file, or HEIC where pillow-heif
            is installed, whatever its name.
        grid_hw: size of what lies in the picture's pixels; None: nothing does, and it is turned as EXIF says.
        max_pixels: larger pictures are refused by what their header says, before they are unpacked.

    Raises:
        InvalidInputError: no such file, not a picture, damaged or cut off, too large, or numbers that are no
            colours (32 bit). The message names the file.
    """
    with opened(path, max_pixels=max_pixels) as image:
        return to_rgb(str(path), image, grid_hw=grid_hw)


def to_rgb(name: str, image: Image.Image, *, grid_hw: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """An unpacked Pillow image as (H, W, 3) uint8 RGB; the module's table says how.

    Args:
        name: what messages call it.
        image: the image.
        grid_hw: see `read_image`.

    Raises:
        InvalidInputError: numbers that are no colours.
    """
    image = as_stored(image)
    if header_of(image).turns(grid_hw):
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # I;16, I;16B, I;16L, or 16 bit that Pillow unpacked to 32
        image = Image.fromarray(_grey_8_bit(name, np.asarray(image)), "L")
    elif image.mode == "F":
        raise InvalidInputError(
            f"expected 8 or 16 bits per channel, {name} holds floating-point numbers; if that is depth, "
            "give it beside the picture (--depth, depth=)"
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels: npt.NDArray[np.uint8] = np.array(image.convert("RGB"))
    return pixels


def _grey_8_bit(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(H, W) integers of 16 bit -> 8 bit; Pillow itself would cut them off at 255."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise InvalidInputError(
            f"expected 8 or 16 bits per channel, {name} holds values from {low} to {high}"
        )
    rounded: npt.NDArray[np.uint8] = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return rounded
