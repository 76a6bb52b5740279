"""Depth beside pictures, from files and from memory."""

from __future__ import annotations

import math
import struct
import tracemalloc
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.depth import as_depth, find_depth, read_depth


def test_depth_in_millimetres_and_metres(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.array([[0, 1500, 65535]], np.uint16))
    np.save(tmp_path / "m.npy", np.array([[0.5, np.nan]]))
    np.save(tmp_path / "mm.npy", np.array([[500]], np.int32))
    np.testing.assert_allclose(read_depth(tmp_path / "a.png"), [[0, 1.5, 65.535]], rtol=1e-6)
    np.testing.assert_allclose(read_depth(tmp_path / "m.npy"), [[0.5, np.nan]])
    np.testing.assert_allclose(read_depth(tmp_path / "mm.npy"), [[0.5]])
    assert read_depth(tmp_path / "m.npy").dtype == np.float32


def test_bad_depth_is_refused_by_name(tmp_path):
    cv2.imwrite(str(tmp_path / "eight.png"), np.zeros((2, 2), np.uint8))
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((2, 2, 3), np.uint16))
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "flat.npy", np.zeros(3))
    np.save(tmp_path / "bool.npy", np.zeros((2, 2), bool))
    said = {
        "eight.png": "16-bit millimetres",
        "colour.png": "shape",
        "empty.png": "empty",
        "text.npy": "cannot be read",
        "flat.npy": "shape",
        "bool.npy": "bool",
        "missing.npy": "not there",
    }
    for name, words in said.items():
        with pytest.raises(InvalidInputError, match=words) as caught:
            read_depth(tmp_path / name)
        assert name in str(caught.value)


def test_depth_in_memory_and_in_other_units(tmp_path):
    np.testing.assert_allclose(as_depth(np.array([[1500, 0]], np.uint16)), [[1.5, 0]])
    np.testing.assert_allclose(as_depth(np.array([[1500]], np.uint16), 1e-4), [[0.15]], rtol=1e-6)
    np.testing.assert_allclose(as_depth(np.array([[1.5]]), 0.01), [[0.015]], rtol=1e-6)
    np.save(tmp_path / "a.npy", np.array([[8]], np.uint16))
    np.testing.assert_allclose(as_depth(str(tmp_path / "a.npy"), 0.25), [[2.0]])
    for scale in (0, -1, math.nan, math.inf):
        with pytest.raises(InvalidInputError, match="depth scale"):
            as_depth(np.ones((2, 2)), scale)
    with pytest.raises(InvalidInputError, match="the depth given holds uint8"):
        as_depth(np.ones((2, 2), np.uint8))


def test_depth_is_found_by_the_pictures_name(tmp_path):
    (tmp_path / "depth" / "b").mkdir(parents=True)
    for name in ("a.npy", "b/a.png"):
        (tmp_path / "depth" / name).touch()
    found = find_depth(
        tmp_path / "depth", tmp_path / "rgb/b/a.jpg", below=(tmp_path / "b/a.jpg").relative_to(tmp_path)
    )
    assert found == tmp_path / "depth/b/a.png"
    assert (
        find_depth(tmp_path / "depth", tmp_path / "a.jpg", (tmp_path / "a.jpg").relative_to(tmp_path)).name
        == "a.npy"
    )
    assert find_depth(found, tmp_path / "any.jpg", found) == found
    with pytest.raises(InvalidInputError, match=r"c\.jpg.*c\.png, c\.npy"):
        find_depth(tmp_path / "depth", tmp_path / "c.jpg", (tmp_path / "c.jpg").relative_to(tmp_path))


def test_files_in_other_units(tmp_path):
    numbers = np.array([[0, 5000, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "tum.png"), numbers)
    cv2.imwrite(str(tmp_path / "tum.tiff"), numbers)
    cv2.imwrite(str(tmp_path / "floats.tiff"), numbers.astype(np.float32))
    np.save(tmp_path / "tum.npy", numbers)
    for name in ("tum.png", "tum.tiff", "floats.tiff", "tum.npy"):
        got = read_depth(tmp_path / name, depth_scale=0.0002)
        np.testing.assert_array_equal(got, numbers.astype(np.float32) * np.float32(0.0002))
        assert got.flags.owndata
    np.testing.assert_array_equal(read_depth(tmp_path / "floats.tiff"), numbers.astype(np.float32))
    for path in (tmp_path / "tum.png", tmp_path / "tum.npy"):
        with pytest.raises(InvalidInputError, match=r"5000 units per metre are 0\.0002"):
            read_depth(path, depth_scale=5000)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_what_is_too_large_is_refused_before_memory_is_taken(tmp_path):
    rows = zlib.compressobj(9)
    zeros = b"".join(rows.compress(bytes(40_001)) for _ in range(20_000)) + rows.flush()
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 16, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zeros) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)  # 0.8 MB that say 800
    with open(tmp_path / "a.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (20_000, 20_000)}
        )
        file.truncate(128 + 20_000 * 20_000 * 8)  # takes no room on disk
    tracemalloc.start()
    for name in ("a.png", "a.npy"):
        with pytest.raises(InvalidInputError, match=r"at most 120 million pixels.* 400\.0 million"):
            read_depth(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    cv2.imwrite(str(tmp_path / "b.png"), np.ones((2, 3), np.uint16))
    np.save(tmp_path / "b.npy", np.ones((2, 3)))
    for name in ("b.png", "b.npy"):
        assert read_depth(tmp_path / name, max_pixels=6).shape == (2, 3)
        with pytest.raises(InvalidInputError, match="pixels"):
            read_depth(tmp_path / name, max_pixels=5)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x02\x00{}"])
def test_arrays_that_are_none(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"a\.npy cannot be read"):
        read_depth(tmp_path / "a.npy")


def test_arrays_of_odd_forms(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 4)))
    np.save(tmp_path / "b.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "c", a=np.ones((2, 2)))
    (tmp_path / "c.npz").rename(tmp_path / "c.npy")
    (tmp_path / "d.npy").mkdir()
    for name in "abcd":
        with pytest.raises(InvalidInputError, match=rf"{name}\.npy"):
            read_depth(tmp_path / f"{name}.npy")


def test_depth_whose_name_is_spelled_otherwise(tmp_path):
    cv2.imwrite(str(tmp_path / "K\u00fcche.png"), np.ones((2, 2), np.uint16))
    (tmp_path / "B.PNG").write_bytes((tmp_path / "K\u00fcche.png").read_bytes())
    for name, found in (("Ku\u0308che.jpg", "K\u00fcche.png"), ("B.JPG", "B.PNG")):
        assert find_depth(tmp_path, tmp_path / "rgb" / name, below=Path(name)).name == found


def test_depth_is_not_guessed_between_names_that_are_equally_near(tmp_path):
    for name in ("a.PNG", "a.Png"):
        cv2.imwrite(str(tmp_path / name), np.ones((2, 2), np.uint16))
    with pytest.raises(InvalidInputError, match="equally near"):
        find_depth(tmp_path, tmp_path / "a.jpg", Path("a.jpg"))
