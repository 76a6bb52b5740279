"""Several processes on one database, and processes that are killed."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from memory_entries import entry, plain

from ovseg_ros.memory import Where
from ovseg_ros.memory.store import open_store

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
START = f"""
import sys
from dataclasses import replace
sys.path.insert(0, {str(FIXTURES)!r})
from memory_entries import entry
from ovseg_ros.memory import Where
from ovseg_ros.memory.store import open_store
place = sys.argv[1]
"""


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", START + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


COUNT = """
with open_store(place) as store:
    left = int(sys.argv[2])
    mine = store.load(Where(keys=("thing 0",)))[0]
    while left:
        conflicts = store.save([replace(mine, times_seen=mine.times_seen + 1)]).conflicts
        left -= not conflicts
        mine = conflicts[0] if conflicts else store.load(Where(keys=("thing 0",)))[0]
"""


def test_no_count_of_two_processes_is_lost(place: str) -> None:
    with open_store(place) as store:
        store.save([entry(0, times_seen=1)])
        both = [started(COUNT, place, "40") for _ in range(2)]
        for process in both:
            _, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
        assert store.load()[0].times_seen == 81


OPEN = """
with open_store(place) as store:
    print(store.save([entry(int(sys.argv[2]))]).conflicts)
"""


def test_several_that_start_at_once_make_the_tables_once(place: str) -> None:
    all_of_them = [started(OPEN, place, str(number)) for number in range(4)]
    for process in all_of_them:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, output) == (0, "()\n"), errors
    with open_store(place) as store:
        assert store.count() == 4


# Writes new things and later states of one; says each on a line of its own after `save` has returned.
WRITE = """
number = int(sys.argv[2])
with open_store(place) as store:
    one = store.load(Where(keys=("thing 0",)))
    one = one[0] if one else entry(0, times_seen=1)
    while True:
        number += 1
        one = replace(one, times_seen=one.times_seen + 1)
        saved = store.save([one, entry(number, crop=bytes(20_000))])
        one = replace(one, revision=saved.revision)
        print(number, one.times_seen, flush=True)
"""


def test_what_was_acknowledged_survives_kill_9_at_any_moment(place: str) -> None:
    number, seen = 0, 0
    rounds = 10 if place.startswith("sqlite") else 3  # a server is not what is killed
    for round_ in range(rounds):
        process = started(WRITE, place, str(number))
        lines = [process.stdout.readline()]
        assert lines[0], process.stderr.read()
        time.sleep(0.013 * round_)
        process.send_signal(signal.SIGKILL)
        output, _ = process.communicate(timeout=60)
        lines += output.splitlines(keepends=True)
        number, seen = map(int, [line for line in lines if line.endswith("\n")][-1].split())
        with open_store(place) as store:
            there = {one.key: one for one in store.load(crops=True)}
            assert {f"thing {n}" for n in range(number + 1)} <= there.keys()
            assert len(there) <= number + 2, "at most one more, that was saved and not acknowledged any more"
            assert there["thing 0"].times_seen - seen in (0, 1)
            last = there[f"thing {number}"]
            assert plain(last) == plain(entry(number, crop=bytes(20_000)))
            number = len(there) - 1
        if place.startswith("sqlite"):
            with sqlite3.connect(place.removeprefix("sqlite:///")) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert number >= rounds


def test_a_committed_save_is_synced(tmp_path: Path) -> None:
    """Of power cuts nothing is known without: WAL, and FULL (2), which syncs at each commit."""
    with open_store(tmp_path / "memory.sqlite") as store, store._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_readers_are_not_kept_waiting_by_a_writer(place: str) -> None:
    with open_store(place) as store, open_store(place) as other:
        store.save([entry(0)])
        with store._database.writing():
            start = time.monotonic()
            assert len(other.load(Where(keys=("thing 0",)))) == 1
            assert time.monotonic() - start < 5


@pytest.mark.parametrize("words", ["Anna's medicine", "a picture of the bedroom"])
def test_nothing_of_what_was_forgotten_is_left_in_the_files(tmp_path: Path, words: str) -> None:
    """Privacy: not in free pages, not in the log."""
    path = tmp_path / "memory.sqlite"
    secret = words.encode()
    with open_store(path) as store:
        for number in range(30):
            store.save([entry(number, frame_id=words, crop=secret * 1000)])
        assert any(secret in file.read_bytes() for file in tmp_path.iterdir())
        before = sum(file.stat().st_size for file in tmp_path.iterdir())
        assert store.forget(Where(keys=tuple(f"thing {number}" for number in range(29)))) == 29
        assert path.read_bytes().count(secret) < 1100
        assert store.forget() == 1
        for file in tmp_path.iterdir():
            assert secret not in file.read_bytes(), file
        assert sum(file.stat().st_size for file in tmp_path.iterdir()) < before / 2
