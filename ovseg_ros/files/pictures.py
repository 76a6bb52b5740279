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

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ovseg_ros.errors import InvalidInputError, install_cure

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga", ".mpo", ".heic", ".heif", ".hif"),
)
"""What every command takes for pictures when it searches a folder, in any letters; of several that one name
means the first of these. A file that is named outright may have any name: what is in it decides."""

MAX_PIXELS = 120_000_000
"""The default limit: 10 000 x 10 000 and a little more. A pixel takes 3 bytes here, and one more per mask."""

_FORMATS = (
    "PNG",
    "JPEG",
    "MPO",
    "WEBP",
    "BMP",
    "DIB",
    "TIFF",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
    "TGA",
    "HEIF",
)
"""Those for pictures: Pillow would also start Ghostscript on a file that says it is PostScript."""

_CURE = "shrink it, or raise --max-pixels if there is memory for it"

_PILLOW_LIMIT = threading.Lock()  # Pillow's own limit is one global


@dataclass(frozen=True)
class Header:
    """What a picture's file says before it is unpacked.

    Attributes:
        size_hw: (H, W) of the stored pixels.
        orientation: EXIF's, 1 to 8; 1 is upright.
    """

    size_hw: tuple[int, int]
    orientation: int = 1

    def turns(self, grid_hw: tuple[int, int] | None) -> bool:
        """Whether the picture is turned as EXIF says; see the module's text.

        Args:
            grid_hw: size of what lies in its pixels; None: nothing does.
        """
        if grid_hw is None:
            return self.orientation != 1
        sideways = self.orientation > 4  # rows have become columns
        return sideways and self.size_hw != grid_hw == self.size_hw[::-1]


def read_header(path: Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """What a picture's file says of its size, without unpacking it.

    Raises:
        InvalidInputError: no such file, no picture, or too large.
    """
    with _open(Path(path), "picture", str(path), max_pixels, _CURE, unpack=False) as image:
        return _header(image)


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
        with _named_errors("the image given"):
            return to_rgb("the image given", image, grid_hw=grid_hw)
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


@contextmanager
def opened(
    path: Path,
    *,
    kind: str = "picture",
    name: str = "",
    max_pixels: int = MAX_PIXELS,
    cure: str = _CURE,
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
    with (
        _open(Path(path), kind, name or str(path), max_pixels, cure) as image,
        _named_errors(name or f"the {kind} {path}"),
    ):
        yield image


@contextmanager
def _open(
    path: Path, kind: str, shown: str, max_pixels: int, cure: str, *, unpack: bool = True
) -> Iterator[Image.Image]:
    """An image file; `shown` is what messages call it."""
    refuse_what_is_no_file(path, kind)
    if path.stat().st_size == 0:
        raise InvalidInputError(f"want a {kind}, {shown} is empty (0 bytes)")
    formats = _formats()
    with ExitStack() as stack:
        try:
            with (
                _named_errors(f"the {kind} {shown}" if shown == str(path) else shown),
                _without_pillows_limit(),
            ):
                image = stack.enter_context(Image.open(path, formats=formats))
                _check_size(shown, image.size, max_pixels, cure)
                if unpack:
                    image.load()
                    _check_size(shown, image.size, max_pixels, cure)  # a TIFF may now say another size
        except UnidentifiedImageError as error:
            raise InvalidInputError(f"want a {kind}, {shown} {_what_else(path)}") from error
        yield image


def refuse_what_is_no_file(path: Path, kind: str) -> None:
    """Says what a path is that nothing can be read from, a device or a pipe, which would be read for ever.

    Raises:
        InvalidInputError: not there, or no regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise InvalidInputError(f"want a {kind}, {path} is not there") from error
    except OSError as error:
        raise InvalidInputError(f"want a {kind}, {path!s:.300} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the name
        raise InvalidInputError(f"want a {kind}, {str(path)!r} is not there") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise InvalidInputError(f"want a {kind}, {path} is {what}")


def _formats() -> list[str]:
    """The formats of `_FORMATS` that this Pillow reads, HEIC's too where its library is."""
    Image.init()
    if "HEIF" not in Image.OPEN:
        with suppress(ImportError):
            import pillow_heif

            pillow_heif.register_heif_opener()
    return [name for name in _FORMATS if name in Image.OPEN]


def _what_else(path: Path) -> str:
    """What a file is that is no picture, as far as its first bytes tell."""
    with open(path, "rb") as file:
        start = file.read(64)
    brand = start[8:12] if start[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return f"is HEIC, which needs pillow-heif; {install_cure('heic')}, or save it as JPEG"
    if brand in (b"avif", b"avis"):
        return "is AVIF, which needs Pillow 11.3 or newer; save it as JPEG or PNG"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS in the picture's place; fetch the pictures with `git lfs pull`"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page; what was downloaded is no picture"
    return "is in no format that is read here (PNG, JPEG, WebP, TIFF …)"


def _header(image: Image.Image) -> Header:
    width, height = image.size
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # on damaged EXIF it raises what it likes, and the pixels may be whole
        orientation = 1
    return Header((height, width), orientation if orientation in range(1, 9) else 1)


@contextmanager
def _named_errors(what: str) -> Iterator[None]:
    try:
        yield
    except (InvalidInputError, UnidentifiedImageError):
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


def to_rgb(name: str, image: Image.Image, *, grid_hw: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
    """An unpacked Pillow image as (H, W, 3) uint8 RGB; the module's table says how.

    Args:
        name: what messages call it.
        image: the image.
        grid_hw: see `read_image`.

    Raises:
        InvalidInputError: numbers that are no colours.
    """
    if _header(image).turns(grid_hw):
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
