"""Writing entries, within a transaction."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ovseg_ros.memory.entry import Entry
from ovseg_ros.memory.store import pgvector, reading
from ovseg_ros.memory.store.conditions import among
from ovseg_ros.memory.store.rows import entry_row, vectors_row, word_rows
from ovseg_ros.memory.store.tables import COUNTER, CROPS, ENTRIES, FORGOTTEN, VECTORS, WORDS
from ovseg_ros.memory.store.values import Saved


def next_revision(connection: Connection) -> int:
    """Counts up. The counter's row stays locked until the end, so revisions become visible in their order."""
    raised = sa.update(COUNTER).values(revision=COUNTER.c.revision + 1).returning(COUNTER.c.revision)
    return connection.execute(raised).scalar_one()


def save(
    connection: Connection, newest: Mapping[str, Entry], *, robot: str, crops: bool, vectors: bool
) -> Saved:
    """Writes entries, by key, that were made of what is stored; see `Store.save`.

    Args:
        connection: in a transaction that writes.
        newest: by key.
        robot: of entries that have none.
        crops: whether pictures are kept.
        vectors: whether pgvector is to have them too.
    """
    dialect = connection.dialect.name
    rows = {key: entry_row(entry, robot) for key, entry in newest.items()}
    revision = next_revision(connection)
    columns = ENTRIES.c
    asked = sa.select(columns.key, columns.id, columns.revision).where(among(columns.key, newest, dialect))
    there = {row.key: row for row in connection.execute(asked)}
    asked = sa.select(FORGOTTEN.c.key).where(among(FORGOTTEN.c.key, newest, dialect))
    let_go = set(connection.scalars(asked))
    forgotten = {key for key in newest if key not in there and (newest[key].revision or key in let_go)}
    others = {key for key in there if newest[key].revision != there[key].revision}
    numbers = {key: there[key].id for key in there if key not in others}
    new = [key for key in newest if key not in there and key not in forgotten]
    if numbers:
        by_id = sa.update(ENTRIES).where(columns.id == sa.bindparam("number"))
        connection.execute(
            by_id, [rows[key] | {"revision": revision, "number": number} for key, number in numbers.items()]
        )
        for table in (VECTORS, WORDS):
            connection.execute(sa.delete(table).where(among(table.c.id, numbers.values(), dialect)))
    if new:
        given = connection.scalars(
            sa.insert(ENTRIES).returning(columns.id, sort_by_parameter_order=True),
            [rows[key] | {"revision": revision} for key in new],
        )
        numbers |= dict(zip(new, given, strict=True))
    if numbers:
        _save_parts(connection, {number: newest[key] for key, number in numbers.items()}, crops=crops)
        if vectors:
            written = sa.select(columns.revision, columns.space, VECTORS).join(VECTORS)
            pgvector.save(connection, connection.execute(written.where(columns.revision == revision)))
    conflicts = reading.load(connection, [among(columns.key, others, dialect)]) if others else []
    return Saved(revision, tuple(conflicts), tuple(forgotten))


def _save_parts(connection: Connection, entries: Mapping[int, Entry], *, crops: bool) -> None:
    connection.execute(
        sa.insert(VECTORS), [{"id": number} | vectors_row(entry) for number, entry in entries.items()]
    )
    words = [row for number, entry in entries.items() for row in word_rows(entry, number)]
    if words:
        connection.execute(sa.insert(WORDS), words)
    pictures = [
        {"id": number, "jpeg": entry.crop}
        for number, entry in entries.items()
        if crops and entry.crop is not None
    ]
    if pictures:
        numbers = [one["id"] for one in pictures]
        connection.execute(sa.delete(CROPS).where(among(CROPS.c.id, numbers, connection.dialect.name)))
        connection.execute(sa.insert(CROPS), pictures)
    kept = sa.select(sa.func.length(CROPS.c.jpeg)).where(CROPS.c.id == ENTRIES.c.id).scalar_subquery()
    connection.execute(
        sa.update(ENTRIES)
        .where(among(ENTRIES.c.id, list(entries), connection.dialect.name))
        .values(bytes=ENTRIES.c.bytes + sa.func.coalesce(kept, 0))
    )
