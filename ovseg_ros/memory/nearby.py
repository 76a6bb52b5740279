"""The entries around the camera, held of a store that may have many more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from ovseg_ros.errors import StoreError
from ovseg_ros.memory.entry import Entry, Floats, Vectors, Where
from ovseg_ros.memory.store import Changes

_CELL_M = 8.0  # entries are taken in by squares of this side
_AROUND_M = 8.0  # all squares that are so near the camera are held
_MOST_HELD = 5000
_TRY_AGAIN_S = 5.0
_FLUSH_S = 2.0
_NEWS_EVERY_S = 2.0  # other robots, and people, change what is stored

_LOG = logging.getLogger(__name__)

Cell = tuple[str, int, int]


class Shelf(Protocol):
    """What is asked of a store, see `ovseg_ros.memory.store.Store`."""

    def load(self, where: Where) -> list[Entry]:
        """All entries that are meant."""

    def nearest(self, embedding: Vectors, k: int, where: Where) -> list[tuple[Entry, float]]:
        """Of those the k most alike, the most alike first, with their cosines."""

    def words(self) -> set[str]:
        """All that entries were called."""

    def changed_since(self, revision: int) -> Changes:
        """What was written and forgotten since."""


class Sink(Protocol):
    """Takes what is to be stored, see `ovseg_ros.memory.store.Writer`."""

    def put(self, entries: Iterable[Entry]) -> None:
        """Stores entries some time soon; returns at once."""

    def flush(self, timeout_s: float) -> bool:
        """Waits until all is stored; False where that takes longer."""

    def forget(self, where: Where | None = None) -> int:
        """Forgets entries, None: all; how many were stored. Done when it returns."""


class Nearby:
    """Entries by key: those around the camera as the store has them, and all that changed since.

    While the store cannot be read, what is held goes on; its squares are asked for again.
    """

    def __init__(
        self, shelf: Shelf, sink: Sink, space: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Holds nothing yet.

        Args:
            shelf: read when the camera comes to a new place, and for news of others.
            sink: takes changes.
            space: of the embeddings; entries of others are not held.
            now: a monotonic clock, seconds.
        """
        self._shelf, self._sink, self._space, self._now = shelf, sink, space, now
        self._held: dict[str, Entry] = {}
        self._changed: set[str] = set()
        self._dropped: set[str] = set()  # joined with others, and not yet forgotten in the store
        self._cells: set[Cell] = set()
        self._revision: int | None = None  # of the store, when it was asked last
        self._retry_at = self._news_at = -math.inf

    def __getitem__(self, key: str) -> Entry:
        return self._held[key]

    def __contains__(self, key: object) -> bool:
        return key in self._held

    def get(self, key: str) -> Entry | None:
        """An entry, None where it is not held."""
        return self._held.get(key)

    def held(self) -> list[Entry]:
        """All that is held."""
        return list(self._held.values())

    def of_frame(self, frame_id: str) -> list[Entry]:
        """What is held in a fixed frame."""
        return [entry for entry in self._held.values() if entry.frame_id == frame_id]

    def put(self, entry: Entry) -> None:
        """An entry is new or has changed."""
        self._held[entry.key] = entry
        self._changed.add(entry.key)

    def drop(self, key: str) -> None:
        """An entry is no more: it was joined with another."""
        self._held.pop(key, None)
        self._changed.discard(key)
        self._dropped.add(key)

    def save(self, keys: Iterable[str] | None = None) -> None:
        """Hands changes on, of these keys or all."""
        due = self._changed if keys is None else self._changed & set(keys)
        if due:
            self._sink.put([self._held[key] for key in due])
            self._changed -= due
        if self._dropped and self._now() >= self._retry_at:
            try:
                self._sink.forget(Where(keys=tuple(self._dropped)))
                self._dropped.clear()
            except StoreError as error:  # they are left out until then
                self._away(error)

    def come_to(self, frame_id: str, position: Floats) -> None:
        """The camera is here: takes in what is around and what others changed; lets go of what is far."""
        if self._now() < self._retry_at:
            return
        x, y = float(position[0]), float(position[1])
        cells = {(frame_id, i, j) for i in _around(x) for j in _around(y)}
        try:
            if self._now() >= self._news_at:
                self._hear_news()
                self._news_at = self._now() + _NEWS_EVERY_S
            for cell in sorted(cells - self._cells):
                self._take_in(cell)
        except StoreError as error:
            self._away(error)
            return
        self._let_go(cells)

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant, held or not, as they are now.

        Raises:
            StoreError: the store cannot be read.
        """
        stored = {entry.key: entry for entry in self._shelf.load(where) if entry.key not in self._dropped}
        for key, entry in self._held.items():
            stored.pop(key, None)
            if meant(entry, where):
                stored[key] = entry
        return list(stored.values())

    def words(self) -> set[str]:
        """All that things are called, held or not.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._shelf.words().union(*(entry.words for entry in self._held.values()))

    def most_alike(self, embedding: Vectors, k: int, where: Where) -> list[Entry]:
        """Of those the k most alike, held or not; what is held alone where the store cannot be read."""
        near: list[Entry] = []
        if self._now() >= self._retry_at:
            try:
                near = [entry for entry, _ in self._shelf.nearest(embedding, k, where)]
            except StoreError as error:
                self._away(error)
        known = {entry.key: entry for entry in near if entry.key not in self._dropped}
        known |= self._held
        able = [entry for entry in known.values() if meant(entry, where)]
        able.sort(key=lambda entry: -float((entry.views @ embedding).max()))
        return able[:k]

    def forget(self, keys: Sequence[str] | None) -> int:
        """Forgets entries for good, by their keys or all; how many they were.

        Raises:
            StoreError: they are not forgotten.
        """
        self.save()
        self._sink.flush(_FLUSH_S)  # so that they are counted
        count = self._sink.forget(None if keys is None else Where(keys=tuple(keys)))
        for key in list(self._held) if keys is None else keys:
            self._held.pop(key, None)
        self._changed &= self._held.keys()
        return count

    def _away(self, error: StoreError) -> None:
        self._retry_at = self._now() + _TRY_AGAIN_S
        _LOG.warning("memory cannot be read; it goes on with what is near: %s", error)

    def _hear_news(self) -> None:
        """What others wrote and forgot since; what was changed here is newer."""
        news = self._shelf.changed_since(self._revision or 0)
        first, self._revision = self._revision is None, news.revision
        if first:  # nothing was held before
            return
        if news.everything:
            there = {entry.key for entry in news.entries}
            for key in self._held.keys() - self._changed - there:
                del self._held[key]
        for key in news.forgotten:
            self._held.pop(key, None)
            self._changed.discard(key)
        for entry in news.entries:
            known = self._held.get(entry.key)
            if entry.key in self._changed or entry.key in self._dropped or entry.space != self._space:
                continue
            if known is not None:
                self._held[entry.key] = replace(entry, crop=known.crop)
            elif _cell_of(entry) in self._cells:
                self._held[entry.key] = entry

    def _take_in(self, cell: Cell) -> None:
        frame_id, i, j = cell
        low, high = (i * _CELL_M, j * _CELL_M, -math.inf), ((i + 1) * _CELL_M, (j + 1) * _CELL_M, math.inf)
        found = self._shelf.load(Where(frame_id=frame_id, low=low, high=high, space=self._space))
        self._cells.add(cell)
        for entry in found:
            if entry.key not in self._dropped:
                self._held.setdefault(entry.key, entry)

    def _let_go(self, cells: set[Cell]) -> None:
        if len(self._held) <= _MOST_HELD:
            return
        self.save()
        for key, entry in list(self._held.items()):
            if _cell_of(entry) not in cells:
                del self._held[key]
        self._cells &= cells


def meant(entry: Entry, where: Where) -> bool:
    """Whether `where` means an entry: what a store's search has to agree with."""
    position = entry.position
    return (
        (not where.keys or entry.key in where.keys)
        and (not where.words or any(word in entry.words for word in where.words))
        and (not where.frame_id or entry.frame_id == where.frame_id)
        and (where.low is None or bool((position >= np.asarray(where.low)).all()))
        and (where.high is None or bool((position <= np.asarray(where.high)).all()))
        and (where.seen_after is None or entry.last_seen >= where.seen_after)
        and (where.seen_before is None or entry.last_seen <= where.seen_before)
        and (where.gone is None or (entry.gone_since is not None) == where.gone)
        and (not where.space or entry.space == where.space)
        and (not where.robot or entry.robot == where.robot)
    )


def _around(value: float) -> range:
    """The squares near a coordinate."""
    return range(math.floor((value - _AROUND_M) / _CELL_M), math.floor((value + _AROUND_M) / _CELL_M) + 1)


def _cell_of(entry: Entry) -> Cell:
    x, y = (math.floor(float(value) / _CELL_M) for value in entry.position[:2])
    return entry.frame_id, x, y
