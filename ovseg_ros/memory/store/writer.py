"""Saving beside the camera's thread: what is put here is saved soon, and waits while the database is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.memory.entry import Entry, Name, Where
from ovseg_ros.memory.store.opening import Saved

logger = logging.getLogger(__name__)


class Saver(Protocol):
    """What a writer asks of a store."""

    @property
    def name(self) -> str:
        """For messages."""

    def save(self, entries: Iterable[Entry]) -> Saved:
        """See `Store.save`."""

    def forget(self, where: Where | None = None) -> int:
        """See `Store.forget`."""


@dataclass(frozen=True)
class WriterState:
    """How a writer is doing.

    Attributes:
        pending: things whose newest state is not on the disk yet.
        saved: states written since the start.
        dropped: things let go of unsaved, since more were waiting than there was room for.
        refused: things that the database cannot take, or that were forgotten in between.
        failing_since: seconds of `time.monotonic`, None while all is well.
        error: why it fails, "" while all is well.
    """

    pending: int = 0
    saved: int = 0
    dropped: int = 0
    refused: int = 0
    failing_since: float | None = None
    error: str = ""


def newer_of(mine: Entry, theirs: Entry) -> Entry:
    """Two states of one thing as one: of the later sighting, with the larger of both counts.

    Two writers may have counted the same from one state on, or a server may have saved what it could not
    acknowledge any more: the sum would count twice, the larger never does.
    """
    newer, older = (mine, theirs) if mine.last_seen >= theirs.last_seen else (theirs, mine)
    words = dict(older.words)
    for word, name in newer.words.items():
        other = words.get(word, name)
        words[word] = Name(max(name.score, other.score), max(name.times, other.times))
    clearest = max((newer, older), key=lambda one: (one.clarity, one.crop is not None))
    return replace(
        newer,
        robot=theirs.robot,
        words=words,
        first_seen=min(mine.first_seen, theirs.first_seen),
        times_seen=max(mine.times_seen, theirs.times_seen),
        times_looked=max(mine.times_looked, theirs.times_looked),
        times_missed=max(mine.times_missed, theirs.times_missed),
        crop=clearest.crop,
        clarity=clearest.clarity,
    )


class Writer:
    """A thread that saves the newest state of each thing; nothing that calls it waits for the database.

    Where the database fails it warns once, tries again after `retry_s`, later and later, and says when it has
    caught up. What waits is one state per thing, so nothing is lost while the things fit in.

    Args:
        store: where to. Another thread may read from it meanwhile.
        merge: (mine, what another has written in between) -> what to save.
        every_s: seconds between two transactions, while things keep coming.
        retry_s: seconds to the first and at most to a further try.
        room: things that may wait; beyond, those that have waited longest are dropped, with a warning.
    """

    def __init__(
        self,
        store: Saver,
        *,
        merge: Callable[[Entry, Entry], Entry] = newer_of,
        every_s: float = 1.0,
        retry_s: tuple[float, float] = (1.0, 30.0),
        room: int = 10_000,
    ) -> None:
        self._store, self._merge = store, merge
        self._every_s, self._retry_s, self._room = every_s, retry_s, room
        self._changed = threading.Condition()
        self._writing = threading.Lock()  # one transaction, or one forgetting, at a time
        self._waiting: dict[str, Entry] = {}
        self._in_flight: dict[str, Entry] = {}
        self._revisions: dict[str, int] = {}  # of what this writer saved: later states were made of that
        self._state = WriterState()
        self._urgent = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="memory writer", daemon=True)
        self._thread.start()

    @property
    def state(self) -> WriterState:
        """A snapshot."""
        with self._changed:
            return replace(self._state, pending=len(self._waiting.keys() | self._in_flight.keys()))

    def put(self, entries: Iterable[Entry]) -> None:
        """Takes the newest states of things; returns at once."""
        with self._changed:
            for entry in entries:
                self._wait_for_its_turn(entry)
            self._changed.notify_all()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Waits until all that was put is on the disk; False where that took longer."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._urgent, timeout_s)

    def forget(self, where: Where | None = None) -> int:
        """Forgets in the store what is meant, with what waits here: no older state comes after it.

        Whoever calls it lets go of the same things before it puts anything more.

        Raises:
            StoreError: see `Store.forget`; what waited here is forgotten all the same where
                everything was meant.
        """
        with self._writing:
            with self._changed:
                waiting = self._waiting
                self._waiting = {}
            if where is not None and waiting:
                self._save(waiting)
            forgotten = self._store.forget(where)
            if where is None:
                self._revisions.clear()
        return forgotten

    def close(self, timeout_s: float = 10.0) -> bool:
        """Writes what waits, if that can be done in time, and ends the thread; False: something was lost."""
        done = self.flush(timeout_s)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if lost := self.state.pending:
            logger.error("%s: %d things were not saved before the end", self._store.name, lost)
        return done

    def _wait_for_its_turn(self, entry: Entry) -> None:
        self._waiting.pop(entry.key, None)  # the newest goes last
        self._waiting[entry.key] = entry
        if len(self._waiting) > self._room:
            self._waiting.pop(next(iter(self._waiting)))
            if not self._state.dropped:
                logger.warning(
                    "%s: more than %d things wait to be saved; those that waited longest are dropped",
                    self._store.name,
                    self._room,
                )
            self._state = replace(self._state, dropped=self._state.dropped + 1)

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._urgent or self._waiting)
                if self._closed:
                    return
                if pause:  # after a failure not even `flush` hurries
                    self._changed.wait_for(lambda: self._closed, pause)
                else:
                    self._changed.wait_for(lambda: self._closed or self._urgent, self._every_s)
                if self._closed:
                    return
            with self._writing:
                with self._changed:
                    self._in_flight, self._waiting = self._waiting, {}
                saved = self._save(self._in_flight)
            with self._changed:
                self._in_flight = {}
                if saved:
                    pause = 0.0
                    if not self._waiting:
                        self._urgent = False
                        self._changed.notify_all()
                else:
                    pause = min(2 * pause or self._retry_s[0], self._retry_s[1])

    def _save(self, batch: dict[str, Entry]) -> bool:
        """Saves what it can; the rest waits again unless newer states do. False: try later."""
        left = batch
        try:
            for tries in range(3):  # another writer may be quicker once or twice
                if left:
                    left = self._save_once(left, merged=tries > 0)
        except Exception as error:
            if not isinstance(error, OvsegError):  # the thread outlives a fault, which is logged
                logger.exception("%s: saving broke", self._store.name)
            self._take_back({key: batch[key] for key in left})
            self._failed(error)
            return False
        self._take_back({key: batch[key] for key in left})
        self._well_again()
        return True

    def _save_once(self, batch: dict[str, Entry], *, merged: bool) -> dict[str, Entry]:
        """Returns what has to be saved once more, after a merge."""
        known = self._revisions
        mine = {
            key: replace(entry, revision=max(entry.revision, known.get(key, 0)))
            for key, entry in batch.items()
        }
        try:
            saved = self._store.save(mine.values())
        except InvalidInputError as error:
            if len(mine) > 1:  # the others are not to suffer from it
                left: dict[str, Entry] = {}
                for key, entry in mine.items():
                    left |= self._save_once({key: entry}, merged=merged)
                return left
            logger.warning("%s: %s is not saved: %s", self._store.name, next(iter(mine)), error)
            self._count(refused=1)
            return {}
        again = {theirs.key: theirs for theirs in saved.conflicts}
        done = mine.keys() - again.keys() - set(saved.forgotten)
        if not merged:  # who put it does not know of what was merged into it: the next state has to be, too
            known |= dict.fromkeys(done, saved.revision)
        self._count(saved=len(done), refused=len(saved.forgotten))
        return {
            key: replace(self._merge(mine[key], theirs), revision=theirs.revision)
            for key, theirs in again.items()
        }

    def _take_back(self, batch: dict[str, Entry]) -> None:
        with self._changed:
            newer, self._waiting = self._waiting, {}
            for entry in (batch | newer).values():
                self._wait_for_its_turn(entry)

    def _failed(self, error: Exception) -> None:
        with self._changed:
            first = self._state.failing_since is None
            since = time.monotonic() if first else self._state.failing_since
            self._state = replace(self._state, failing_since=since, error=str(error))
        if first:
            logger.warning("memory is not saved for now, and waits: %s", error)

    def _well_again(self) -> None:
        with self._changed:
            since, self._state = self._state.failing_since, replace(self._state, failing_since=None, error="")
        if since is not None:
            away_s = time.monotonic() - since
            logger.warning("memory is saved again, after %.0f s, with all that waited", away_s)

    def _count(self, *, saved: int = 0, refused: int = 0) -> None:
        with self._changed:
            self._state = replace(
                self._state, saved=self._state.saved + saved, refused=self._state.refused + refused
            )
