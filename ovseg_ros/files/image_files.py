"""Opening image files: what is one is decided by its content, what is none is told by what it is."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from ovseg_ros.core.camera import check_pixels
from ovseg_ros.errors import InvalidInputError, install_cure

SUFFIX_ORDER = (
    *(".jpg", ".jpeg", ".png", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga", ".mpo", ".heic", ".heif", ".hif"),
)
"""Of several pictures that one name means the first of these is taken."""

IMAGE_SUFFIXES = frozenset(SUFFIX_ORDER)
"""What every command takes for a picture when it searches a folder, in any letters; a file that is named
outright may have any name: what is in it decides."""

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

_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"GIF8": "GIF",
    b"BM": "BMP",
}
"""What the formats begin with that people have most."""

_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Orientation -> what undoes it."""

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
        """Whether the picture is turned as EXIF says; see `pictures`.

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
        return header_of(image)


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
        path: see `pictures.read_image`.
        kind: what it is, for messages.
        name: what messages call it; "": its kind and path.
        max_pixels: see `pictures.read_image`.
        cure: of too many pixels.

    Raises:
        InvalidInputError: see `pictures.read_image`.
    """
    with (
        _open(Path(path), kind, name or str(path), max_pixels, cure) as image,
        named_errors(name or f"the {kind} {path}"),
    ):
        yield image


@contextmanager
def _open(
    path: Path, kind: str, shown: str, max_pixels: int, cure: str, *, unpack: bool = True
) -> Iterator[Image.Image]:
    """An image file; `shown` is what messages call it."""
    refuse_what_is_no_file(path, kind, shown)
    if path.stat().st_size == 0:
        raise InvalidInputError(f"expected a {kind}, {shown} is empty (0 bytes)")
    formats = _formats()
    with ExitStack() as stack:
        try:
            with (
                named_errors(f"the {kind} {shown}" if shown == str(path) else shown),
                _without_pillows_limit(),
            ):
                image = stack.enter_context(Image.open(path, formats=formats))
                check_pixels(*image.size, max_pixels, name=shown, cure=cure)
                if unpack:
                    image = as_stored(image)
                    check_pixels(
                        *image.size, max_pixels, name=shown, cure=cure
                    )  # a TIFF may now say another size
        except UnidentifiedImageError as error:
            raise InvalidInputError(f"expected a {kind}, {shown} {_what_else(path)}") from error
        yield image


def refuse_what_is_no_file(path: Path, kind: str, name: str = "") -> None:
    """Says what a path is that nothing can be read from, a device or a pipe, which would be read for ever.

    Args:
        path: of what shall be read.
        kind: what it should be, for messages.
        name: what messages call it; "": its path.

    Raises:
        InvalidInputError: not there, or no regular file.
    """
    shown = name or str(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise InvalidInputError(f"expected a {kind}, {shown} is not there") from error
    except OSError as error:
        raise InvalidInputError(
            f"expected a {kind}, {shown:.300} cannot be read: {error.strerror}"
        ) from error
    except ValueError as error:  # a NUL in the name
        raise InvalidInputError(f"expected a {kind}, {shown!r} is not there") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
        raise InvalidInputError(f"expected a {kind}, {shown} is {what}")


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
        if "HEIF" in Image.OPEN:
            return "is HEIC, and damaged or cut off"
        return f"is HEIC, which needs pillow-heif; {install_cure('heic')}, or save it as JPEG"
    if brand in (b"avif", b"avis"):
        return "is AVIF, which needs Pillow 11.3 or newer; save it as JPEG or PNG"
    if start.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS in the picture's place; fetch the pictures with `git lfs pull`"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "is a web page; what was downloaded is no picture"
    if begins := next((kind for magic, kind in _BEGINNINGS.items() if start.startswith(magic)), ""):
        return f"begins like {begins} and is damaged, cut off or of a kind of {begins} that is not read here"
    return "is in no format that is read here (PNG, JPEG, WebP, TIFF …)"


def header_of(image: Image.Image) -> Header:
    """What an opened image says of itself; damaged EXIF says nothing."""
    width, height = image.size
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # on damaged EXIF it raises what it likes, and the pixels may be whole
        orientation = 1
    orientation = orientation if orientation in range(1, 9) else 1
    if orientation > 4 and image.format == "TIFF":  # its size is told as if it were turned
        tags = image.tag_v2  # type: ignore[attr-defined]
        width, height = tags.get(ExifTags.Base.ImageWidth, width), tags.get(ExifTags.Base.ImageLength, height)
    return Header((height, width), orientation)


def as_stored(image: Image.Image) -> Image.Image:
    """An image, unpacked, with its pixels as they are stored: Pillow turns TIFF while it unpacks it."""
    orientation = header_of(image).orientation
    image.load()
    if orientation == header_of(image).orientation:
        return image
    stored = image.transpose(_TURNED_BACK[orientation])
    stored.getexif()[ExifTags.Base.Orientation] = orientation
    return stored


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Tells of `what` whatever a decoder raises."""
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
    """Pillow refuses or warns by a limit of its own; `check_pixels` stands in for it."""
    with _PILLOW_LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before
