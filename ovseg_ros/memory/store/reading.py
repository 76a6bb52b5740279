"""Reading entries, within a transaction: `Where` in SQL, and rows as entries."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Entry, Name, Where
from ovseg_ros.memory.store.rows import check_text, entry_of
from ovseg_ros.memory.store.tables import COUNTER, CROPS, ENTRIES, VECTORS, WORDS

Conditions = Sequence[sa.ColumnElement[bool]]


def among(column: sa.Column[Any], values: Collection[Any], dialect: str) -> sa.ColumnElement[bool]:
    """`column IN values` by one parameter, however many there are: the number of parameters is limited."""
    if dialect == "postgresql":
        kind = column.type if isinstance(column.type, sa.String) else sa.BigInteger()
        return column == sa.any_(sa.bindparam(None, list(values), postgresql.ARRAY(kind)))
    each = sa.func.json_each(json.dumps(list(values))).table_valued("value")
    return column.in_(sa.select(each.c.value))


def conditions(where: Where, dialect: str) -> list[sa.ColumnElement[bool]]:
    """What holds of the rows of `ENTRIES` that are meant.

    Raises:
        InvalidInputError: a region without its frame, or a text that no database takes.
    """
    columns = ENTRIES.c
    if (where.low is not None or where.high is not None) and not where.frame_id:
        raise InvalidInputError("expected frame_id beside low and high: metres of which frame?")
    for text in (*where.keys, *where.words, where.frame_id, where.space, where.robot):
        check_text(text)
    found: list[sa.ColumnElement[bool]] = []
    if where.keys:
        found.append(among(columns.key, where.keys, dialect))
    if where.words:
        called = sa.select(WORDS.c.id).where(among(WORDS.c.word, where.words, dialect))
        found.append(columns.id.in_(called))
    for name in ("frame_id", "space", "robot"):
        if getattr(where, name):
            found.append(columns[name] == getattr(where, name))
    for axis, name in enumerate(("x", "y", "z")):
        if where.low is not None:
            found.append(columns[name] >= float(where.low[axis]))
        if where.high is not None:
            found.append(columns[name] <= float(where.high[axis]))
    if where.seen_after is not None:
        found.append(columns.last_seen >= float(where.seen_after))
    if where.seen_before is not None:
        found.append(columns.last_seen <= float(where.seen_before))
    if where.gone is not None:
        found.append(columns.gone_since.is_not(None) if where.gone else columns.gone_since.is_(None))
    return found


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
