"""A disk of two megabytes that fills up: what is seen waits, and nothing that was acknowledged is lost."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from memory_entries import entry

from ovseg_ros.errors import StoreError
from ovseg_ros.memory.store import Writer, open_store

CROP = bytes(range(256)) * 80  # 20 kB


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; only root may mount one (RLIMIT_FSIZE stands for it in test_failures.py)."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Takes all the space there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


def seen(number: int, times: int = 1):
    return entry(number, crop=CROP, times_seen=times, times_looked=times, times_missed=0)


def test_what_is_seen_waits_for_space_and_is_all_there_then(disk: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    with open_store(disk / "memory.sqlite") as store:
        writer = Writer(store, every_s=0.01, retry_s=(0.05, 0.2))
        writer.put(seen(number) for number in range(3))
        assert writer.flush()
        ballast = fill(disk)
        for times in range(2, 6):
            writer.put(seen(number, times) for number in range(20))
        assert not writer.flush(1.0)
        state = writer.state
        assert state.pending == 20
        assert "free space on its disk" in state.error
        assert [record.levelname for record in caplog.records] == ["WARNING"]  # once, however often it tries
        with open_store(
            disk / "memory.sqlite"
        ) as other:  # another program can read all that was acknowledged
            kept = other.load(crops=True)
        assert [(one.key, one.times_seen, one.crop) for one in kept] == [
            (f"thing {number}", 1, CROP) for number in range(3)
        ]
        writer.put([seen(20)])
        ballast.unlink()
        assert writer.flush(20.0)
        assert writer.state.error == ""
        assert "memory is saved again" in caplog.text
        assert {one.key: (one.times_seen, one.crop) for one in store.load(crops=True)} == {
            f"thing {number}": (5 if number < 20 else 1, CROP) for number in range(21)
        }
        assert writer.close()
        assert writer.state.dropped == 0
    with sqlite3.connect(disk / "memory.sqlite") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def save_until_full(store) -> int:
    for saved in range(200):
        try:
            store.save([seen(saved)])
        except StoreError as error:
            assert "free space on its disk" in str(error)  # noqa: PT017
            return saved
    raise AssertionError("2 MB take no 4")


def test_until_the_disk_is_full_all_that_save_acknowledged_is_there(disk: Path) -> None:
    with open_store(disk / "memory.sqlite") as store:
        saved = save_until_full(store)
        assert store.count() == saved > 10
    with open_store(disk / "memory.sqlite") as again:
        assert [(one.key, one.crop) for one in again.load(crops=True)] == [
            (f"thing {number}", CROP) for number in range(saved)
        ]
