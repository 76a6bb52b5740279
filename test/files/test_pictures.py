"""Pictures from files: every kind becomes RGB, and every bad one is refused by name."""

from __future__ import annotations

import os
import re
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files import pictures
from ovseg_ros.files.pictures import IMAGE_SUFFIXES, as_image, read_header, read_image

PACKAGE = Path(pictures.__file__).resolve().parent.parent
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 17, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga"])
def test_lossless_formats_come_back_exactly(tmp_path, suffix):
    Image.fromarray(PIXELS).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), PIXELS)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "jp2"])
def test_lossy_formats_keep_the_channels_in_order(tmp_path, suffix):
    smooth = np.zeros((32, 32, 3), np.uint8)
    smooth[:] = (200, 100, 20)
    Image.fromarray(smooth).save(tmp_path / f"a.{suffix}", quality=95)
    got = read_image(tmp_path / f"a.{suffix}")
    assert got.dtype == np.uint8
    assert np.abs(got.astype(int) - smooth).max() <= 6


def test_grey_black_and_white_and_palette(tmp_path):
    grey = PIXELS[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey > 127).save(tmp_path / "one_bit.png")
    Image.fromarray(PIXELS).quantize(64).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.dstack([grey] * 3))
    np.testing.assert_array_equal(read_image(tmp_path / "one_bit.png")[..., 2], (grey > 127) * 255)
    wanted = Image.fromarray(PIXELS).quantize(64).convert("RGB")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), np.array(wanted))


def test_transparency_lies_over_white(tmp_path):
    rgba = np.zeros((3, 1, 4), np.uint8)
    rgba[0, 0], rgba[1, 0], rgba[2, 0] = (10, 20, 30, 255), (10, 20, 30, 0), (0, 0, 0, 51)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:2, 0], [[10, 20, 30], [255, 255, 255]])
    assert read_image(tmp_path / "a.png")[2, 0, 0] == pytest.approx(204, abs=1)  # a fifth of black
    Image.fromarray(rgba[..., 3]).save(tmp_path / "palette.png", transparency=0)  # grey with one clear value
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png")[:, 0, 0], [255, 255, 51])


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_is_scaled_and_not_cut_off(tmp_path, suffix):
    values = np.array([[0, 128, 257, 300], [32768, 65000, 65535, 2570]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    wanted = np.rint(values / 257.0).astype(int)
    for channel in np.moveaxis(read_image(tmp_path / f"a.{suffix}"), 2, 0):
        np.testing.assert_array_equal(channel, wanted)


def test_sixteen_bit_colour_is_scaled(tmp_path):
    values = RNG.integers(0, 65536, (5, 6, 3), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values[..., ::-1])
    difference = read_image(tmp_path / "a.png").astype(float) - values / 257.0
    assert np.abs(difference).max() <= 1.0


def test_cmyk(tmp_path):
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), v) for v in (0, 255, 255, 0)])
    cmyk.save(tmp_path / "a.jpg", quality=95)
    red, green, blue = read_image(tmp_path / "a.jpg")[8, 8].tolist()
    assert red > 240
    assert green < 15
    assert blue < 15


UPRIGHT = np.zeros((6, 10, 3), np.uint8)
UPRIGHT[0, 0], UPRIGHT[0, 9] = (255, 0, 0), (0, 255, 0)
STORED = {  # what a camera that is held so writes; the flag undoes it
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT, 1),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


def with_exif(path, orientation, pixels=None):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED[orientation] if pixels is None else pixels
    packed = {"compression": "tiff_deflate"} if path.suffix == ".tif" else {}
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **packed)
    return path


@pytest.mark.parametrize("suffix", ["png", "tiff", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_where_nothing_lies_in_the_pixels(tmp_path, orientation, suffix):
    path = with_exif(tmp_path / f"a.{suffix}", orientation)
    stored = STORED[orientation]
    header = read_header(path)
    assert (header.size_hw, header.orientation) == (stored.shape[:2], orientation)
    np.testing.assert_array_equal(read_image(path), UPRIGHT)
    np.testing.assert_array_equal(as_image(Image.open(path)), UPRIGHT)
    # What lies in the stored pixels has their size; no other size turns a picture that keeps its own.
    for grid_hw in (stored.shape[:2], (3, 3)):
        np.testing.assert_array_equal(read_image(path, grid_hw=grid_hw), stored)
        np.testing.assert_array_equal(as_image(path, grid_hw=grid_hw), stored)
    # Where the turned picture alone has the size, it was labelled as a viewer shows it.
    np.testing.assert_array_equal(read_image(path, grid_hw=(6, 10)), UPRIGHT if orientation > 4 else stored)


def test_a_square_picture_with_something_in_its_pixels_is_never_turned(tmp_path):
    square = PIXELS[:12, :12]
    path = with_exif(tmp_path / "a.png", 6, square)
    np.testing.assert_array_equal(read_image(path, grid_hw=(12, 12)), square)


@pytest.mark.parametrize("orientation", [0, 9, 300])
def test_an_orientation_that_is_none_turns_nothing(tmp_path, orientation):
    path = with_exif(tmp_path / "a.png", orientation, PIXELS)
    np.testing.assert_array_equal(read_image(path), PIXELS)
    assert read_header(path).orientation == 1


def test_damaged_exif_costs_the_orientation_alone(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").shape == PIXELS.shape


def test_the_first_of_several_pictures(tmp_path):
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def test_one_pixel_and_a_unicode_name(tmp_path):
    path = tmp_path / "théière 茶壶.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    np.testing.assert_array_equal(read_image(path), [[[1, 2, 3]]])


def test_pillows_own_limit_does_not_count_and_is_kept(tmp_path, monkeypatch):
    assert pictures.MAX_PIXELS >= 10_000**2
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    Image.fromarray(PIXELS).save(tmp_path / "large.png")
    np.testing.assert_array_equal(read_image(tmp_path / "large.png"), PIXELS)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_too_large_is_refused_before_it_is_unpacked(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(InvalidInputError, match=r"at most 120 million pixels.*bomb\.png.*--max-pixels"):
        read_image(tmp_path / "bomb.png")
    Image.new("RGB", (11, 10)).save(tmp_path / "small.png")
    with pytest.raises(InvalidInputError, match=r"small\.png .*11x10"):
        read_image(tmp_path / "small.png", max_pixels=109)
    assert read_image(tmp_path / "small.png", max_pixels=110).shape == (10, 11, 3)


def test_bad_files_are_refused_by_name(tmp_path):
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.png")
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.jpg")
    for suffix in ("png", "jpg"):
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "postscript.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    )
    (tmp_path / "folder.png").mkdir()
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "float.tiff")
    Image.fromarray(np.full((4, 4), -5, np.int32)).save(tmp_path / "negative.tiff")
    said = {
        "cut.png": "damaged or cut off",
        "cut.jpg": "damaged or cut off",
        "empty.png": "empty",
        "text.png": "no format",
        "postscript.png": "no format",
        "folder.png": "a folder",
        "missing.png": "not there",
        "float.tiff": "floating-point.*--depth",
        "negative.tiff": "-5 to -5",
    }
    for name, words in said.items():
        with pytest.raises(InvalidInputError, match=words) as caught:
            read_image(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
            r"is HEIC, which needs pillow-heif; .*'\.\[heic\]'",
        ),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"\xff\xd8", "damaged or cut off|no format"),
    ],
)
def test_what_stands_in_a_pictures_place_is_named(tmp_path, monkeypatch, content, words):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "OPEN", {k: v for k, v in Image.OPEN.items() if k != "HEIF"})
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(InvalidInputError, match=words):
        read_image(tmp_path / "a.jpg")


def test_heic_is_read_where_its_library_is(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    smooth = np.full((32, 48, 3), (200, 100, 20), np.uint8)
    heif.from_pillow(Image.fromarray(smooth)).save(tmp_path / "a.HEIC")
    assert np.abs(read_image(tmp_path / "a.HEIC").astype(int) - smooth).max() <= 8


@pytest.mark.parametrize("reader", [read_image, read_header])
def test_nothing_is_read_from_pipes_devices_and_loops(tmp_path, reader):
    os.mkfifo(tmp_path / "pipe.jpg")  # reading it would wait for ever
    (tmp_path / "device.jpg").symlink_to("/dev/zero")  # this one never ends
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    said = {
        "pipe.jpg": "a pipe",
        "device.jpg": "a device",
        "loop.jpg": "symbolic links",
        "x" * 300: "too long",
    }
    said["a\0.jpg"] = "not there"
    for name, words in said.items():
        with pytest.raises(InvalidInputError, match=words):
            reader(tmp_path / name)


def test_one_picture_may_be_read_while_another_is_open(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    with pictures.opened(tmp_path / "a.png"), pictures.opened(tmp_path / "a.png") as second:
        assert second.size == (17, 12)


def test_no_other_module_decodes_pictures():
    """But those that read what they wrote themselves: overlays, stored pairs, training sets, memory."""
    own = {
        "app/memory/pictures.py",
        "app/web/memory.py",
        "files/image_files.py",
        "app/segment/outputs.py",
        "learn/pairs/shards.py",
        "learn/colour/pictures.py",
    }
    messages = {"core/camera/compressed.py", "files/recordings/look.py"}
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\bimread\(|\bimdecode\(|\bImage\.open\(", path.read_text(encoding="utf-8"))
    }
    messages = {name for name in found if name.startswith(("core/camera/", "files/recordings/"))}
    assert found - messages == own
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in IMAGE_SUFFIXES)


def test_what_a_decoder_raises_becomes_our_error(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for error, words in ((MemoryError(), "does not fit into memory"), (IndexError("x"), "IndexError: x")):

        def fail(*_, error=error, **__):
            raise error

        monkeypatch.setattr(pictures, "to_rgb", fail)
        with pytest.raises(InvalidInputError, match=words):
            read_image(tmp_path / "a.png")


def test_pictures_in_memory(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(PIXELS)):
        np.testing.assert_array_equal(as_image(given), PIXELS)
    assert as_image(PIXELS) is PIXELS
    np.testing.assert_array_equal(as_image(Image.new("L", (2, 1), 7)), np.full((1, 2, 3), 7))
    for other in (PIXELS[..., 0], PIXELS.astype(np.float32), PIXELS[:0], np.zeros((4, 4, 4), np.uint8)):
        with pytest.raises(InvalidInputError, match="uint8 RGB"):
            as_image(other)
    with pytest.raises(InvalidInputError, match="got int"):
        as_image(3)
    with pytest.raises(InvalidInputError, match="the image given holds floating-point"):
        as_image(Image.new("F", (2, 2)))
