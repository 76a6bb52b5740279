"""`Where` in SQL."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.memory.entry import Where
from ovseg_ros.memory.store.rows import check_text
from ovseg_ros.memory.store.tables import ENTRIES, WORDS


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
