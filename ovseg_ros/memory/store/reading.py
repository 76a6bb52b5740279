"""Reading entries, within a transaction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ovseg_ros.memory.entry import Entry, Name
from ovseg_ros.memory.store.conditions import among
from ovseg_ros.memory.store.rows import entry_of
from ovseg_ros.memory.store.tables import COUNTER, CROPS, ENTRIES, VECTORS, WORDS

Conditions = Sequence[sa.ColumnElement[bool]]


def counter(connection: Connection) -> Any:
    """The row with revision and horizon."""
    return connection.execute(sa.select(COUNTER)).one()


def newer_than(revision: int) -> sa.ColumnElement[bool]:
    """Written after it."""
    return ENTRIES.c.revision > revision


def ids(meant: Conditions) -> sa.Select[tuple[int]]:
    """Of the entries that are meant."""
    return sa.select(ENTRIES.c.id).where(*meant)


def count(connection: Connection, meant: Conditions) -> int:
    """Of the entries that are meant."""
    return connection.scalar(sa.select(sa.func.count()).select_from(ENTRIES).where(*meant)) or 0


def load(connection: Connection, meant: Conditions, *, crops: bool = False) -> list[Entry]:
    """Entries in the order in which they were first saved."""
    words: dict[int, dict[str, Name]] = defaultdict(dict)
    called = sa.select(WORDS)
    if meant:
        called = called.where(WORDS.c.id.in_(ids(meant)))
    for number, word, score, times in connection.execute(called.order_by(WORDS.c.id, WORDS.c.word)):
        words[number][word] = Name(score, times)
    vectors = (VECTORS.c.dims, VECTORS.c.embedding, VECTORS.c.views, VECTORS.c.surface)
    wanted = sa.select(ENTRIES, *vectors).join(VECTORS)
    if crops:
        wanted = wanted.add_columns(CROPS.c.jpeg).outerjoin(CROPS, CROPS.c.id == ENTRIES.c.id)
    rows = connection.execute(wanted.where(*meant).order_by(ENTRIES.c.id))
    return [entry_of(row, words.get(row.id, {}), row.jpeg if crops else None) for row in rows]


def load_ids(connection: Connection, numbers: Sequence[int]) -> dict[int, Entry]:
    """Entries by their ids."""
    meant = [among(ENTRIES.c.id, numbers, connection.dialect.name)]
    order = connection.scalars(ids(meant).order_by(ENTRIES.c.id))
    return dict(zip(order, load(connection, meant), strict=True))
