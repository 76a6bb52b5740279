"""Writing and deleting entries, within a transaction, and giving space back after it."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ovseg_ros.errors import StoreError
from ovseg_ros.memory.entry import Entry
from ovseg_ros.memory.store import pgvector, reading
from ovseg_ros.memory.store.opening import Retention, Saved
from ovseg_ros.memory.store.reading import among
from ovseg_ros.memory.store.rows import entry_row, vectors_row, word_rows
from ovseg_ros.memory.store.tables import (
    COUNTER,
    CROPS,
    ENTRIES,
    EXAMPLES,
    FORGOTTEN,
    METADATA,
    VECTORS,
    WORDS,
)

KEPT_FORGOTTEN = 100_000
"""Keys of forgotten entries that are remembered, so that other robots hear of it: some 10 MB."""


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


def forget(connection: Connection, meant: sa.Select[tuple[int]]) -> int:
    """Deletes the entries of these ids with all that is theirs."""
    dialect = connection.dialect.name
    revision = next_revision(connection)
    numbers = list(connection.scalars(meant))
    if not numbers:
        return 0
    theirs = sa.select(ENTRIES.c.key, ENTRIES.c.id, sa.literal(revision)).where(
        among(ENTRIES.c.id, numbers, dialect)
    )
    connection.execute(sa.insert(FORGOTTEN).from_select(["key", "id", "revision"], theirs))
    connection.execute(sa.delete(ENTRIES).where(among(ENTRIES.c.id, numbers, dialect)))
    # Whole revisions alone: all that is forgotten after the horizon is known.
    oldest = (
        sa.select(FORGOTTEN.c.revision).order_by(FORGOTTEN.c.revision.desc()).offset(KEPT_FORGOTTEN).limit(1)
    )
    horizon = connection.scalar(oldest)
    if horizon is not None:
        connection.execute(sa.delete(FORGOTTEN).where(FORGOTTEN.c.revision <= horizon))
        connection.execute(sa.update(COUNTER).values(horizon=horizon))
    return len(numbers)


def forget_everything(connection: Connection) -> int:
    """Empties all tables but the counter."""
    revision = next_revision(connection)
    forgotten = reading.count(connection, [])
    tables = [table for table in reversed(METADATA.sorted_tables) if table is not COUNTER]
    if connection.dialect.name == "postgresql":  # whose files are let go of at once
        connection.execute(sa.text(f"TRUNCATE {', '.join(table.name for table in tables)} CASCADE"))
    else:
        for table in tables:
            connection.execute(sa.delete(table))
    connection.execute(sa.update(COUNTER).values(horizon=revision))
    return forgotten


def forget_crops(connection: Connection) -> int:
    """Deletes all pictures."""
    next_revision(connection)
    kept = sa.select(sa.func.length(CROPS.c.jpeg)).where(CROPS.c.id == ENTRIES.c.id).scalar_subquery()
    connection.execute(sa.update(ENTRIES).values(bytes=ENTRIES.c.bytes - sa.func.coalesce(kept, 0)))
    of_entries = connection.execute(sa.delete(CROPS)).rowcount
    of_examples = connection.execute(
        sa.update(EXAMPLES).where(EXAMPLES.c.jpeg.is_not(None)).values(jpeg=None)
    ).rowcount
    return of_entries + of_examples


def prune(connection: Connection, retention: Retention, now: float) -> int:
    """Deletes what is too old, then what is too much: gone ones first, then those unseen for longest."""
    columns = ENTRIES.c
    forgotten = 0
    if retention.max_age_s is not None:
        old = sa.select(columns.id).where(columns.last_seen < now - retention.max_age_s)
        forgotten += forget(connection, old)
    # Those to be kept come first.
    order = (sa.case((columns.gone_since.is_(None), 0), else_=1), columns.last_seen.desc(), columns.id.desc())
    ranked = sa.select(
        columns.id,
        sa.func.row_number().over(order_by=order).label("place"),
        sa.func.sum(columns.bytes).over(order_by=order).label("total"),
    ).subquery()
    too_much = []
    if retention.max_count is not None:
        too_much.append(ranked.c.place > retention.max_count)
    if retention.max_bytes is not None:
        too_much.append(ranked.c.total > retention.max_bytes)
    if too_much:
        forgotten += forget(connection, sa.select(ranked.c.id).where(sa.or_(*too_much)))
    return forgotten


def tidy(connection: Connection, *, shrink: bool) -> None:
    """SQLite: empties the log into the file; with `shrink` the file loses what is free in it.

    PostgreSQL: with `shrink` the tables that pictures were deleted from are written anew; the rest is
    autovacuum's. Outside of transactions.

    Raises:
        StoreError: another reads just now, and the log could not be emptied.
    """
    if connection.dialect.name == "postgresql":
        if shrink:
            connection.exec_driver_sql(f"VACUUM FULL {CROPS.name}, {EXAMPLES.name}")
        return
    if shrink:
        connection.exec_driver_sql("VACUUM")
    busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
    if busy:
        raise StoreError("another program reads the file just now; the log is emptied at the next time")
