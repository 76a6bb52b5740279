"""The nearest entries: candidates of an index that follows the database, then their true cosines.

The index is in memory, a byte per number, and compares with all vectors of a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numkong
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Where
from ovseg_ros.memory.store import pgvector, reading
from ovseg_ros.memory.store.reading import among, conditions
from ovseg_ros.memory.store.rows import unpack
from ovseg_ros.memory.store.tables import ENTRIES, FORGOTTEN, VECTORS

BLOCK = 4096
"""Rows that are made at a time: growing copies nothing."""
MORE = 100
"""Candidates beyond four times as many entries as are asked for."""
FIRST = 500
"""Entries that conditions are tried on, before all entries for which they hold are looked up."""


class Index:
    """Vectors of entries at one byte per number; finds candidates, whose true cosine the caller works out.

    A cosine here is off by 0.0005 (standard deviation, D = 512, evenly spread vectors), by less the larger D.

    Args:
        dims: D.
    """

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.revision = -1
        self._blocks: list[npt.NDArray[np.int8]] = []
        self._owners = np.empty(0, np.int64)
        self._free: list[int] = []

    def __len__(self) -> int:
        """Vectors."""
        return len(self._owners) - len(self._free)

    def add(self, owners: npt.ArrayLike, vectors: npt.NDArray[np.float32]) -> None:
        """Adds (N, D) vectors of the entries `owners` (N,)."""
        while len(self._free) < len(vectors):
            start = len(self._owners)
            self._blocks.append(np.zeros((BLOCK, self.dims), np.int8))
            self._owners = np.concatenate([self._owners, np.full(BLOCK, -1)])
            self._free += range(start + BLOCK - 1, start - 1, -1)
        rows = [self._free.pop() for _ in range(len(vectors))]
        self._owners[rows] = owners
        for row, code in zip(rows, _codes(vectors), strict=True):
            self._blocks[row // BLOCK][row % BLOCK] = code

    def remove(self, owners: npt.ArrayLike) -> None:
        """Lets go of all vectors of these entries."""
        rows = np.flatnonzero(np.isin(self._owners, owners) & (self._owners >= 0))
        self._owners[rows] = -1
        self._free += rows.tolist()

    def nearest(
        self, embedding: npt.NDArray[np.float32], count: int, allowed: npt.NDArray[np.int64] | None = None
    ) -> list[int]:
        """The `count` nearest entries, the nearest first.

        Args:
            embedding: (D,).
            count: entries at most.
            allowed: only these entries; None: all.
        """
        query = _codes(embedding[None])
        distances = [np.asarray(numkong.cdist(block, query, "angular"))[:, 0] for block in self._blocks]
        if not distances:
            return []
        far = np.concatenate(distances)
        meant = self._owners >= 0
        if allowed is not None:
            flags = np.zeros(max(int(self._owners.max()), int(allowed.max(initial=0))) + 1, bool)
            flags[allowed] = True
            meant &= flags[self._owners]  # -1 is left out above
        far[~meant] = np.inf
        vectors, wanted = int(meant.sum()), 2 * count
        while True:
            wanted = min(wanted, vectors)
            rows = np.argpartition(far, wanted - 1)[:wanted] if wanted else np.empty(0, np.int64)
            rows = rows[np.argsort(far[rows], kind="stable")]
            found = list(dict.fromkeys(self._owners[rows].tolist()))
            if len(found) >= count or wanted == vectors:
                return found[:count]
            wanted *= 2  # many of them are of the same entries


def _codes(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """(N, D) -> int8: each row so that its largest number is 127; a cosine does not ask for its length."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors * (127 / np.maximum(largest, np.finfo(np.float32).tiny))).astype(np.int8)


class Search:
    """Indexes of the spaces that were asked about. Not for several threads at once.

    Args:
        use_pgvector: the server has its own.
    """

    def __init__(self, *, use_pgvector: bool) -> None:
        self._use_pgvector = use_pgvector
        self._indexes: dict[tuple[str, int], Index] = {}

    def nearest(
        self, connection: Connection, embedding: npt.NDArray[np.float32], k: int, where: Where
    ) -> list[tuple[int, float]]:
        """Ids and cosines, the largest first; see `Store.nearest`."""
        meant = conditions(replace(where, space=""), connection.dialect.name)
        count = 4 * k + MORE
        if self._use_pgvector and len(embedding) <= pgvector.MOST_DIMS:
            _check_dims(connection, where.space, len(embedding))
            found = pgvector.nearest(connection, embedding, count, where.space, meant)
        else:
            found = self._in_own_memory(connection, embedding, k, where.space, meant)
        cosines = _cosines(connection, embedding, found)
        return sorted(cosines.items(), key=lambda one: (-one[1], one[0]))[:k]

    def _in_own_memory(
        self,
        connection: Connection,
        embedding: npt.NDArray[np.float32],
        k: int,
        space: str,
        meant: Sequence[sa.ColumnElement[bool]],
    ) -> list[int]:
        index = self._up_to_date(connection, space, len(embedding))
        count = 4 * k + MORE
        found = index.nearest(embedding, max(FIRST, count) if meant else count)
        if meant:
            near = among(ENTRIES.c.id, found, connection.dialect.name)
            holds = set(connection.scalars(reading.ids([near, *meant])))
            found = [number for number in found if number in holds]
            if len(found) < 2 * k:  # they hold for few, or for things of other kinds
                allowed = np.array(connection.scalars(reading.ids(meant)).all(), np.int64)
                found = index.nearest(embedding, count, allowed)
        return found[:count]

    def _up_to_date(self, connection: Connection, space: str, dims: int) -> Index:
        now = reading.counter(connection)
        index = self._indexes.get((space, dims))
        if index is None or not now.horizon <= index.revision <= now.revision:
            _check_dims(connection, space, dims)
            index = self._indexes[space, dims] = Index(dims)
            index.revision = 0
        if index.revision != now.revision:
            _follow(connection, index, space)
            index.revision = now.revision
        return index


def _check_dims(connection: Connection, space: str, dims: int) -> None:
    one = sa.select(VECTORS.c.dims).join(ENTRIES).where(ENTRIES.c.space == space).limit(1)
    there = connection.scalar(one)
    if there not in (None, dims):
        raise InvalidInputError(f"expected {there} numbers, as others of {space!r} have, got {dims}")


def _follow(connection: Connection, index: Index, space: str) -> None:
    """Brings an index from its revision to what the transaction sees."""
    gone = sa.select(FORGOTTEN.c.id).where(FORGOTTEN.c.revision > index.revision)
    changed = sa.select(ENTRIES.c.id).where(ENTRIES.c.revision > index.revision)
    if len(index):
        stale = connection.scalars(sa.union_all(gone, changed)).all()
        if stale:
            index.remove(stale)
    newer = (
        sa.select(ENTRIES.c.id, VECTORS.c.embedding, VECTORS.c.views)
        .join(VECTORS)
        .where(ENTRIES.c.revision > index.revision, ENTRIES.c.space == space, VECTORS.c.dims == index.dims)
    )
    rows = connection.execute(newer, execution_options={"yield_per": 500})
    for some in rows.partitions():
        parts = [views if views.startswith(embedding) else embedding + views for _, embedding, views in some]
        owners = np.repeat([row.id for row in some], [len(part) // (2 * index.dims) for part in parts])
        index.add(owners, unpack(b"".join(parts), index.dims))


def _cosines(
    connection: Connection, embedding: npt.NDArray[np.float32], numbers: list[int]
) -> dict[int, float]:
    wanted = sa.select(VECTORS.c.id, VECTORS.c.embedding, VECTORS.c.views).where(
        among(VECTORS.c.id, numbers, connection.dialect.name)
    )
    found = {}
    for number, own, views in connection.execute(wanted):
        vectors = unpack(own + views, len(embedding))
        lengths = np.maximum(np.linalg.norm(vectors, axis=1), np.finfo(np.float32).tiny)
        found[number] = float((vectors @ embedding / lengths).max())
    return found
