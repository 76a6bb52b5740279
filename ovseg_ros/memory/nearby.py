"""The entries around the camera, held of a store that may have many more."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np

from ovseg_ros.errors import OvsegError
from ovseg_ros.memory.entry import Entry, Floats, Vectors, Where

_CELL_M = 8.0  # entries are taken in by squares of this side
_AROUND_M = 8.0  # all squares that are so near the camera are held
_MOST_HELD = 5000
_TRY_AGAIN_S = 5.0

_LOG = logging.getLogger(__name__)


class Shelf(Protocol):
    """What is asked of a store."""

    def load(self, where: Where) -> list[Entry]:
        """All entries that are meant."""

    def forget(self, where: Where | None = None) -> int:
        """Forgets all entries that are meant, None: everything; how many they were."""

    def nearest(self, embedding: Vectors, k: int, where: Where) -> list[tuple[Entry, float]]:
        """Of those the k most alike, the most alike first, with their cosines."""


class Sink(Protocol):
    """Takes what is to be stored, and does not keep the caller waiting."""

    def put(self, entries: Sequence[Entry], forgotten: Sequence[str] = ()) -> None:
        """Stores entries, each in the place of the earlier one of its key, and drops others by key."""


class Nearby:
    """Entries by key: those around the camera as the store has them, and all that changed since.

    While the store cannot be read, what is held goes on; its squares are asked for again.
    """

    def __init__(
        self, shelf: Shelf, sink: Sink, space: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Holds nothing yet.

        Args:
            shelf: read when the camera comes to a new place.
            sink: takes changes.
            space: of the embeddings; entries of others are not held.
            now: a monotonic clock, seconds.
        """
        self._shelf, self._sink, self._space, self._now = shelf, sink, space, now
        self._held: dict[str, Entry] = {}
        self._changed: set[str] = set()
        self._dropped: set[str] = set()  # joined with others
        self._cells: set[tuple[str, int, int]] = set()
        self._retry_at = -math.inf

    def __getitem__(self, key: str) -> Entry:
        return self._held[key]

    def __contains__(self, key: object) -> bool:
        return key in self._held

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
        if due or self._dropped:
            self._sink.put([self._held[key] for key in due], sorted(self._dropped))
        self._changed -= due
        self._dropped = set()

    def come_to(self, frame_id: str, position: Floats) -> list[Entry]:
        """The camera is here: takes in what is around, and lets go of what is far where it is much.

        Returns:
            What was taken in now.
        """
        x, y = float(position[0]), float(position[1])
        cells = {
            (frame_id, i, j)
            for i in range(math.floor((x - _AROUND_M) / _CELL_M), math.floor((x + _AROUND_M) / _CELL_M) + 1)
            for j in range(math.floor((y - _AROUND_M) / _CELL_M), math.floor((y + _AROUND_M) / _CELL_M) + 1)
        }
        new = cells - self._cells
        if not new or self._now() < self._retry_at:
            return []
        taken = []
        for cell in sorted(new):
            try:
                taken += self._take_in(cell)
            except OvsegError as error:
                self._retry_at = self._now() + _TRY_AGAIN_S
                _LOG.warning("memory cannot be read; what was seen before is not known for now: %s", error)
                break
        self._let_go(cells)
        return taken

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant, held or not, as they are now."""
        stored = {entry.key: entry for entry in self._shelf.load(where) if entry.key not in self._dropped}
        for key, entry in self._held.items():
            stored.pop(key, None)
            if meant(entry, where):
                stored[key] = entry
        return list(stored.values())

    def most_alike(self, embedding: Vectors, k: int, where: Where) -> list[Entry]:
        """Of those the k most alike, held or not; what is held alone where the store cannot be read."""
        try:
            near = [entry for entry, _ in self._shelf.nearest(embedding, k, where)]
        except OvsegError as error:
            _LOG.warning("memory cannot be searched: %s", error)
            near = []
        known = {entry.key: entry for entry in near if entry.key not in self._dropped}
        known |= self._held
        able = [entry for entry in known.values() if meant(entry, where)]
        able.sort(key=lambda entry: -float((entry.views @ embedding).max()))
        return able[:k]

    def forget(self, keys: Sequence[str] | None) -> int:
        """Forgets entries for good, by their keys or all; how many they were."""
        self.save()
        count = self._shelf.forget(None if keys is None else Where(keys=tuple(keys)))
        for key in list(self._held) if keys is None else keys:
            self._held.pop(key, None)
        self._changed &= self._held.keys()
        return count

    def _take_in(self, cell: tuple[str, int, int]) -> list[Entry]:
        frame_id, i, j = cell
        low, high = (i * _CELL_M, j * _CELL_M, -math.inf), ((i + 1) * _CELL_M, (j + 1) * _CELL_M, math.inf)
        found = self._shelf.load(Where(frame_id=frame_id, low=low, high=high, space=self._space))
        self._cells.add(cell)
        new = [entry for entry in found if entry.key not in self._held and entry.key not in self._dropped]
        self._held |= {entry.key: entry for entry in new}
        return new

    def _let_go(self, cells: set[tuple[str, int, int]]) -> None:
        if len(self._held) <= _MOST_HELD:
            return
        self.save()
        for key, entry in list(self._held.items()):
            x, y = (math.floor(float(value) / _CELL_M) for value in entry.position[:2])
            if (entry.frame_id, x, y) not in cells:
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
