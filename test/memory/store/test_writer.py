"""The thread that saves: nothing waits for it, and what waits is not lost."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from memory_entries import entries, entry
from postgres_server import Server

from ovseg_ros.errors import InvalidInputError, StoreError
from ovseg_ros.memory import Entry, Name, Where
from ovseg_ros.memory.store import Saved, Writer, database, newer_of, open_store


class FakeStore:
    """Keeps entries in a dictionary; fails while `broken`, and stands still while `still` is not set."""

    name = "a fake"

    def __init__(self) -> None:
        self.kept: dict[str, Entry] = {}
        self.calls: list[list[str]] = []
        self.broken: Exception | None = None
        self.still = threading.Event()
        self.still.set()

    def save(self, given: Iterable[Entry]) -> Saved:
        given = list(given)
        self.still.wait(10)
        if self.broken is not None:
            raise self.broken
        if any(one.frame_id == "bad" for one in given):
            raise InvalidInputError("expected a good frame")
        self.calls.append([one.key for one in given])
        self.kept |= {one.key: one for one in given}
        return Saved(len(self.calls))

    def forget(self, where: Where | None = None) -> int:
        self.kept.clear()
        return 0


@pytest.fixture
def fake() -> FakeStore:
    return FakeStore()


@pytest.fixture
def writer(fake: FakeStore):
    made = Writer(fake, every_s=0.01, retry_s=(0.02, 0.05), room=5)
    yield made
    fake.broken = None
    fake.still.set()
    made.close()


def test_of_two_states_the_clearer_picture_is_kept() -> None:
    clear, blurred = entry(0, crop=b"clear", clarity=9.0), entry(0, crop=b"blurred", clarity=2.0)
    for one, other in ((clear, blurred), (blurred, clear)):
        assert (newer_of(one, other).crop, newer_of(one, other).clarity) == (b"clear", 9.0)
    in_store = entry(0, crop=None, clarity=9.0)  # a conflict comes without its picture
    assert (newer_of(blurred, in_store).crop, newer_of(blurred, in_store).clarity) == (None, 9.0)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_what_is_put_is_saved(fake: FakeStore, writer: Writer) -> None:
    writer.put(entries(3))
    assert writer.flush()
    assert list(fake.kept) == ["thing 0", "thing 1", "thing 2"]
    assert (writer.state.pending, writer.state.saved) == (0, 3)


def test_flush_with_nothing_to_do_returns(writer: Writer) -> None:
    assert writer.flush()


def test_put_waits_for_nobody_and_the_newest_state_wins(fake: FakeStore, writer: Writer) -> None:
    fake.still.clear()
    writer.put([entry(9)])
    start = time.monotonic()
    for count in range(1, 200):
        writer.put([entry(0, times_seen=count), entry(1)])
    assert time.monotonic() - start < 5
    assert not writer.flush(0.05)
    fake.still.set()
    assert writer.flush()
    assert fake.kept["thing 0"].times_seen == 199
    assert sum(call.count("thing 0") for call in fake.calls) <= 2


def test_a_failing_store_is_said_once_and_caught_up_with(fake, writer, caplog) -> None:
    caplog.set_level(logging.WARNING)
    fake.broken = StoreError("the server is away")
    for count in range(1, 20):
        writer.put([entry(0, times_seen=count), entry(1, times_seen=count)])
        time.sleep(0.02)
    wait_for(lambda: writer.state.failing_since is not None)
    assert writer.state.error == "the server is away"
    assert writer.state.pending == 2
    assert caplog.text.count("the server is away") == 1
    fake.broken = None
    assert writer.flush()
    assert [one.times_seen for one in fake.kept.values()] == [19, 19]
    assert caplog.text.count("memory is saved again") == 1
    state = writer.state
    assert (state.failing_since, state.error, state.pending, state.dropped) == (None, "", 0, 0)


def test_beyond_its_room_those_that_waited_longest_are_dropped_and_counted(fake, writer, caplog) -> None:
    fake.broken = StoreError("away")
    writer.put(entries(5))
    writer.put([entry(0, times_seen=77)])  # waits anew
    writer.put([entry(5), entry(6)])
    assert caplog.text.count("more than 5 things wait to be saved") == 1
    assert writer.state.dropped == 2
    fake.broken = None
    assert writer.flush()
    assert sorted(fake.kept) == ["thing 0", "thing 3", "thing 4", "thing 5", "thing 6"]
    assert fake.kept["thing 0"].times_seen == 77


def test_a_thing_that_cannot_be_saved_costs_itself_alone(fake, writer, caplog) -> None:
    writer.put([entry(0), entry(1, frame_id="bad"), entry(2)])
    assert writer.flush()
    assert sorted(fake.kept) == ["thing 0", "thing 2"]
    assert "thing 1 is not saved: expected a good frame" in caplog.text
    assert writer.state.refused == 1


def test_a_fault_is_logged_and_does_not_end_the_thread(fake, writer, caplog) -> None:
    fake.broken = RuntimeError("a bug")
    writer.put([entry(0)])
    wait_for(lambda: "a bug" in caplog.text)
    fake.broken = None
    assert writer.flush()
    assert list(fake.kept) == ["thing 0"]


def test_the_end_writes_what_waits_and_says_what_was_lost(fake: FakeStore, caplog) -> None:
    patient = Writer(fake, every_s=60)
    patient.put([entry(0)])
    assert patient.close()
    assert list(fake.kept) == ["thing 0"]
    broken = Writer(fake, every_s=60)
    fake.broken = StoreError("away")
    broken.put([entry(1)])
    assert not broken.close(0.2)
    assert "1 things were not saved before the end" in caplog.text


def test_later_states_follow_its_own_saves(place: str) -> None:
    with open_store(place) as store:
        writer = Writer(store, every_s=0.01)
        for count in range(1, 6):
            writer.put([entry(0, times_seen=count)])
            assert writer.flush()
        assert writer.close()
        assert store.load()[0].times_seen == 5
        assert (writer.state.saved, writer.state.refused) == (5, 0)


def test_what_another_writes_in_between_is_merged_each_time(place: str) -> None:
    with open_store(place) as store, open_store(place) as other:
        writer = Writer(store, every_s=0.01)
        mine = entry(0, times_seen=5, words={"mug": Name(0.5, 5)})
        writer.put([mine])
        assert writer.flush()
        theirs = replace(other.load()[0], times_seen=9, words={"cup": Name(0.9, 2)})
        other.save([theirs])
        for count in (6, 7):  # who puts them has not heard of the other's
            writer.put([replace(mine, times_seen=count, words={"mug": Name(0.6, count)})])
            assert writer.flush()
        found = store.load()[0]
        assert found.times_seen == 9
        assert dict(found.words) == {"mug": Name(0.6, 7), "cup": Name(0.9, 2)}
        writer.close()


def test_what_was_forgotten_elsewhere_is_let_go_of(place: str) -> None:
    with open_store(place) as store, open_store(place) as other:
        writer = Writer(store, every_s=0.01)
        writer.put(entries(2))
        assert writer.flush()
        other.forget(Where(keys=("thing 0",)))
        writer.put([entry(0, times_seen=50), entry(1, times_seen=50)])
        assert writer.flush()
        assert [(one.key, one.times_seen) for one in store.load()] == [("thing 1", 50)]
        assert writer.state.refused == 1
        writer.close()


@pytest.mark.parametrize("where", [None, Where(keys=("thing 0", "thing 1"))])
def test_forgetting_reaches_what_waits(place: str, where: Where | None) -> None:
    with open_store(place) as store:
        writer = Writer(store, every_s=60)
        writer.put(entries(3))
        writer.forget(where)
        assert writer.flush()
        assert [one.key for one in store.load()] == ([] if where is None else ["thing 2"])
        writer.close()


def test_a_locked_file_is_caught_up_with(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(database, "BUSY_S", 0.1)
    path = tmp_path / "memory.sqlite"
    with open_store(path) as store:
        writer = Writer(store, every_s=0.01, retry_s=(0.05, 0.1))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer.put(entries(3))
        wait_for(lambda: "locked" in writer.state.error)
        other.execute("ROLLBACK")
        other.close()
        assert writer.flush()
        assert store.count() == 3
        writer.close()


def test_a_server_that_is_stopped_and_started_is_caught_up_with(postgres: Server, caplog) -> None:
    with open_store(postgres.database()) as store:
        writer = Writer(store, every_s=0.01, retry_s=(0.1, 0.2))
        writer.put(entries(3))
        assert writer.flush()
        postgres.stop()
        try:
            for count in range(100, 110):
                writer.put([entry(0, times_seen=count), entry(5, times_seen=count)])
                time.sleep(0.02)
            wait_for(lambda: writer.state.failing_since is not None)
            assert store.name in writer.state.error
        finally:
            postgres.start()
        assert writer.flush(30)
        assert writer.close()
        assert {one.key: one.times_seen for one in store.load()} == {
            "thing 0": 109,
            "thing 1": entry(1).times_seen,
            "thing 2": entry(2).times_seen,
            "thing 5": 109,
        }
        assert "memory is saved again" in caplog.text


class TestMerge:
    """Two states of one thing."""

    def test_the_later_sighting_with_the_larger_counts(self) -> None:
        mine = entry(
            0, last_seen=2e9, times_seen=4, times_looked=9, times_missed=1, crop=None, gone_since=None
        )
        theirs = entry(
            1, key="thing 0", robot="tidy", last_seen=1.9e9, first_seen=5.0, times_seen=6, times_looked=7,
            times_missed=2, gone_since=1.9e9, revision=8,
        )  # fmt: skip
        for one, other in ((mine, theirs), (theirs, mine)):
            merged = newer_of(one, other)
            assert (merged.times_seen, merged.times_looked, merged.times_missed) == (6, 9, 2)
            assert (merged.first_seen, merged.last_seen, merged.gone_since) == (5.0, 2e9, None)
            assert merged.position.tolist() == mine.position.tolist()
            assert merged.crop == theirs.crop
        assert newer_of(mine, theirs).robot == "tidy"

    def test_with_itself_it_is_itself(self) -> None:
        one = entry(3)
        assert newer_of(one, one).words == one.words
        assert newer_of(one, one).times_seen == one.times_seen
