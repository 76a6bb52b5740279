"""Recordings that were damaged anywhere: what can be read is read, the rest is refused with a word."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bag_fixtures import MCAP, SQLITE, camera_info, compressed, image, write_bag
from hostile import any_value, damage, noise, seeds
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import OvsegError
from ovseg_ros.files.recordings import find_topics, is_recording, read_bag_frames

COUNT, SIZE_HW = 4, (6, 8)
STORAGES = {"mcap": MCAP, "sqlite": SQLITE}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, Path]:
    """A recording of four moments in each storage."""
    messages = []
    for number in range(COUNT):
        at = 1.0 + number / 10
        pixels = noise(number, (*SIZE_HW, 3), np.uint8)
        messages += [
            ("/camera/depth/image_raw", at, image(noise(number, SIZE_HW, np.uint16), "16UC1", at)),
            ("/camera/color/camera_info", at, camera_info(at, size_wh=SIZE_HW[::-1])),
            ("/camera/color/image_raw", at, image(pixels, "rgb8", at)),
            ("/camera/color/image_raw/compressed", at, compressed(pixels, "png", at)),
        ]
    folder = tmp_path_factory.mktemp("whole")
    return {name: write_bag(folder / name, messages, plugin) for name, plugin in STORAGES.items()}


def read(path: Path) -> int | OvsegError:
    """Reads all there is; the number of images that could be decoded."""
    is_recording(path)
    found = answered(lambda: find_topics(path))
    if isinstance(found, OvsegError):
        return found
    count = 0

    def go() -> None:
        nonlocal count
        for one in read_bag_frames(path, found[0]):
            frame = answered(one.load)
            assert isinstance(frame, OvsegError | Frame)
            count += isinstance(frame, Frame)

    answered(go)
    return count


def copy_of(whole: Path, folder: Path) -> tuple[Path, Path]:
    """A copy of a recording's folder, and its one file of messages."""
    copy = folder / whole.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(whole, copy)
    return copy, next(path for path in copy.iterdir() if path.suffix in (".mcap", ".db3"))


@pytest.mark.parametrize("storage", sorted(STORAGES))
def test_whole_recordings_are_read_to_the_end(whole, storage):
    assert read(whole[storage]) == COUNT


@pytest.mark.parametrize("storage", sorted(STORAGES))
def test_damaged_files_are_read_or_refused(whole, tmp_path, storage):
    @cases(80, seeds, st.booleans())
    def holds(seed, alone):
        folder, file = copy_of(whole[storage], tmp_path)
        file.write_bytes(damage(file.read_bytes(), seed))
        found = read(file if alone else folder)
        assert isinstance(found, OvsegError) or 0 <= found <= 2 * COUNT

    holds()


def test_a_recording_that_broke_off_is_read_to_the_break(whole, tmp_path):
    folder, file = copy_of(whole["mcap"], tmp_path)
    data = file.read_bytes()

    @cases(50, st.integers(0, len(data) - 1))
    def holds(length):
        file.write_bytes(data[:length])
        found = read(folder)
        assert isinstance(found, OvsegError) or 0 <= found <= COUNT

    holds()


def test_whatever_stands_in_metadata_the_files_are_read(whole, tmp_path):
    folder, _ = copy_of(whole["mcap"], tmp_path)
    metadata = folder / "metadata.yaml"
    right = metadata.read_bytes()
    odd = any_value.map(lambda value: repr(value).encode(errors="surrogatepass"))

    @cases(80, st.one_of(seeds.map(lambda seed: damage(right, seed)), odd, st.binary(max_size=60)))
    def holds(data):
        metadata.write_bytes(data)
        assert read(folder) == COUNT

    holds()
