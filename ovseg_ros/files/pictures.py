"""Reading one picture from a file as the RGB the segmenter wants, whatever the file holds.

| in the file | what becomes of it |
|---|---|
| grey, palette, YCbCr, LAB, HSV | converted to RGB |
| 16 bit | full scale to full scale: 65535 becomes 255, whatever the brightest pixel is |
| transparency (alpha, transparent palette entries) | laid over white, as a page shows it |
| CMYK | converted without its colour profile; profiles of other images are not applied either |
| EXIF orientation | applied: the picture stands as a viewer shows it |
| several pictures (GIF, TIFF, WebP) | the first |
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ovseg_ros.errors import InvalidInputError

_COMMON = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff"})
IMAGE_SUFFIXES = _COMMON | {".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga"}
"""Files that are taken for pictures when a folder is searched; a file named outright may have any name."""

MAX_PIXELS = 120_000_000
"""The default limit: 10 000 x 10 000 and a little more. A pixel takes 3 bytes here, and one more per mask."""

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM", "JPEG2000", "AVIF", "TGA")
"""Those for pictures: Pillow would also start Ghostscript on a file that says it is PostScript."""

_PILLOW_LIMIT = threading.Lock()  # Pillow's own limit is one global


def as_image(image: str | Path | Image.Image | npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """A picture in any form that people have it in, as (H, W, 3) uint8 RGB.

    Args:
        image: a file, see `read_image`; a Pillow image, converted as a file would be; or an array (H, W, 3)
            uint8 RGB, which is given back as it is.

    Raises:
        InvalidInputError: see `read_image`, or an array of another form.
    """
    if isinstance(image, str | Path):
        refuse_addresses(image)
        with opened(Path(image).expanduser(), cure="make it smaller") as picture:
            return to_rgb(str(image), picture)
    if isinstance(image, Image.Image):
        with _named_errors("the image given"):
            return to_rgb("the image given", image)
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(f"want a file, a Pillow image or an array, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        cure = _array_cure(image)
        raise InvalidInputError(
            f"want an image (H,W,3) uint8 RGB, got {image.shape} {image.dtype}{cure and '; '}{cure}"
        )
    return image


def refuse_addresses(path: str | Path) -> None:
    """Says that an address is no file of this machine: nothing is fetched here.

    Raises:
        InvalidInputError: it is an address.
    """
    if str(path).lower().startswith(("http:", "https:", "rtsp:")):
        raise InvalidInputError(f"want a file of this machine, got {str(path)!r}; download it first")


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


def read_image(path: Path, *, max_pixels: int = MAX_PIXELS) -> npt.NDArray[np.uint8]:
    """One picture as (H, W, 3) uint8 RGB, H and W at least 1; the module's table says how.

    Args:
        path: a PNG, JPEG, WebP, BMP, TIFF, GIF, PNM, JPEG 2000, AVIF or TGA file, whatever its name.
        max_pixels: larger pictures are refused by what their header says, before they are unpacked.

    Raises:
        InvalidInputError: no such file, not a picture, damaged or cut off, too large, or numbers that are no
            colours (32 bit). The message names the file.
    """
    with opened(path, max_pixels=max_pixels) as image:
        return to_rgb(str(path), image)


@contextmanager
def opened(
    path: Path,
    *,
    kind: str = "picture",
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    cure: str = "shrink it, or raise --max-pixels if there is memory for it",
) -> Iterator[Image.Image]:
    """An image file, unpacked, as Pillow holds it; what goes wrong inside is told of the file too.

    Args:
        path: see `read_image`.
        kind: what it is, for messages.
        name: what messages call it; "": its kind and path.
        max_pixels: see `read_image`.
        cure: of too many pixels.

    Raises:
        InvalidInputError: see `read_image`.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidInputError(f"want a {kind}, {path} is {'a folder' if path.is_dir() else 'not there'}")
    shown = name or str(path)
    if path.stat().st_size == 0:
        raise InvalidInputError(f"want a {kind}, {shown} is empty (0 bytes)")
    with _named_errors(name or f"the {kind} {path}"):
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        try:
            with _without_pillows_limit(), Image.open(path, formats=formats) as image:
                _check_size(shown, image.size, max_pixels, cure)
                image.load()
                _check_size(shown, image.size, max_pixels, cure)  # unpacked, a TIFF may say another size
                yield image
        except UnidentifiedImageError as error:
            raise InvalidInputError(
                f"want a {kind}, {shown} is in no format that is read here (PNG, JPEG, WebP, TIFF …)"
            ) from error


@contextmanager
def _named_errors(what: str) -> Iterator[None]:
    try:
        yield
    except InvalidInputError:
        raise
    except MemoryError as error:
        raise InvalidInputError(f"{what} does not fit into memory") from error
    except Exception as error:  # on damaged files each decoder raises what it likes
        raise InvalidInputError(
            f"{what} cannot be read, it is damaged or cut off: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def _without_pillows_limit() -> Iterator[None]:
    """Pillow refuses or warns by a limit of its own; `_check_size` stands in for it."""
    with _PILLOW_LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_size(name: str, size_wh: tuple[int, int], max_pixels: int, cure: str) -> None:
    width, height = size_wh
    if width < 1 or height < 1:
        raise InvalidInputError(f"want a picture with pixels, {name} is {width}x{height}")
    if width * height > max_pixels:
        raise InvalidInputError(
            f"want at most {max_pixels / 1e6:g} million pixels, {name} has {width * height / 1e6:.1f} "
            f"million ({width}x{height}); {cure}"
        )


def to_rgb(name: str, image: Image.Image) -> npt.NDArray[np.uint8]:
    """An unpacked Pillow image as (H, W, 3) uint8 RGB; the module's table says how.

    Raises:
        InvalidInputError: numbers that are no colours; `name` is what the message calls the image.
    """
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # I;16, I;16B, I;16L, or 16 bit that Pillow unpacked to 32
        image = Image.fromarray(_grey_8_bit(name, np.asarray(image)), "L")
    elif image.mode == "F":
        raise InvalidInputError(
            f"want 8 or 16 bits per channel, {name} holds floating-point numbers; if that is depth, give it "
            "beside the picture (--depth, depth=)"
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
        raise InvalidInputError(f"want 8 or 16 bits per channel, {name} holds values from {low} to {high}")
    rounded: npt.NDArray[np.uint8] = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    return rounded
