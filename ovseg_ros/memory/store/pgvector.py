"""Search by pgvector's index (HNSW), where a PostgreSQL server has the extension; from version 0.8 on.

Source: pgvector's README, "Half-Precision Indexing", "Iterative Index Scans" and, among the questions, how
vectors of different dimensions are kept in one column.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import Connection

from ovseg_ros.memory.store.rows import unpack
from ovseg_ros.memory.store.tables import ENTRIES, VECTORS

logger = logging.getLogger(__name__)

MOST_DIMS = 4000
"""What its index takes of halfvec."""
SETTINGS = ("hnsw.ef_search = 200", "hnsw.iterative_scan = strict_order")
"""A larger ef_search finds more of the true nearest, and takes longer."""
TABLE = "ovseg_search"
MAKE_TABLE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id bigint NOT NULL REFERENCES {ENTRIES.name} (id) ON DELETE CASCADE,
    revision bigint NOT NULL,
    space text NOT NULL,
    dims integer NOT NULL,
    vector halfvec NOT NULL
)"""


def prepare(connection: Connection) -> bool:
    """Whether the server has it: then its table is made, and filled with what was saved without it.

    In a transaction that writes.
    """
    there = "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions"
    version = connection.scalar(sa.text(f"{there} WHERE name = 'vector'"))
    if version is None or tuple(map(int, version.split(".")[:2])) < (0, 8):
        logger.info("no pgvector from 0.8 on at this server: searching in the node's own memory")
        return False
    try:
        with connection.begin_nested():
            connection.execute(sa.text("CREATE EXTENSION IF NOT EXISTS vector"))
            connection.execute(sa.text(MAKE_TABLE))
            connection.execute(sa.text(f"CREATE INDEX IF NOT EXISTS {TABLE}_id ON {TABLE} (id)"))
    except exc.ProgrammingError as error:
        logger.info("pgvector is at this server, but not for this user (%s)", str(error.orig).strip())
        return False
    here = sa.table(TABLE, sa.column("id"), sa.column("revision"))
    same = sa.and_(here.c.id == ENTRIES.c.id, here.c.revision == ENTRIES.c.revision)
    missing = (
        sa.select(ENTRIES.c.id, ENTRIES.c.revision, ENTRIES.c.space, VECTORS)
        .join(VECTORS)
        .where(~sa.exists().where(same), VECTORS.c.dims <= MOST_DIMS)
    )
    while some := connection.execute(missing.limit(500)).all():
        save(connection, some)
    return True


def save(connection: Connection, rows: Iterable[Any]) -> None:
    """Takes the vectors of rows with id, revision, space and all of `VECTORS`, in place of earlier ones."""
    made: list[dict[str, Any]] = []
    for row in rows:
        parts = row.views if row.views.startswith(row.embedding) else row.embedding + row.views
        same = {"id": row.id, "revision": row.revision, "space": row.space, "dims": row.dims}
        if row.dims <= MOST_DIMS:
            made += [same | {"vector": _text(vector)} for vector in unpack(parts, row.dims)]
    if not made:
        return
    for space, dims in {(one["space"], one["dims"]) for one in made}:
        _ensure_index(connection, space, dims)
    numbers = {"numbers": list({one["id"] for one in made})}
    connection.execute(sa.text(f"DELETE FROM {TABLE} WHERE id = ANY(:numbers)"), numbers)
    columns = ":id, :revision, :space, :dims, CAST(:vector AS halfvec)"
    connection.execute(sa.text(f"INSERT INTO {TABLE} VALUES ({columns})"), made)


def nearest(
    connection: Connection,
    embedding: npt.NDArray[np.float32],
    count: int,
    space: str,
    meant: Sequence[sa.ColumnElement[bool]],
) -> list[int]:
    """Ids of some `count` nearest entries, the nearest first: nearly always the true ones."""
    for setting in SETTINGS:
        connection.execute(sa.text(f"SET LOCAL {setting}"))
    vectors, by_index = count, True
    while True:
        rows = connection.scalars(question(embedding, vectors, space, meant)).all()
        found = list(dict.fromkeys(rows))
        if len(found) >= count // 4:
            return found
        if len(rows) == vectors:  # many of them are of the same entries
            vectors *= 4
        elif meant and by_index:  # the index gives up where conditions hold for few: compare those one by one
            connection.execute(sa.text("SET LOCAL enable_indexscan = off"))
            by_index = False
        else:
            return found


def question(
    embedding: npt.NDArray[np.float32], count: int, space: str, meant: Sequence[sa.ColumnElement[bool]]
) -> sa.Select[tuple[int]]:
    """The statement: space and size stand in it as they are, so that it fits the partial index."""
    dims = len(embedding)
    near = sa.table(TABLE, sa.column("id"), sa.column("space"), sa.column("dims"))
    halves = f"halfvec({dims})"
    distance = sa.text(f"CAST({TABLE}.vector AS {halves}) <=> CAST(:asked AS {halves})")
    wanted = (
        sa.select(near.c.id)
        .where(near.c.space == _literal(space), near.c.dims == _literal(dims))
        .order_by(distance.bindparams(asked=_text(embedding)))
        .limit(count)
    )
    if meant:
        wanted = wanted.select_from(near.join(ENTRIES, ENTRIES.c.id == near.c.id)).where(*meant)
    return wanted


def _literal(value: str | int) -> sa.BindParameter[Any]:
    return sa.bindparam(None, value, literal_execute=True)


def _ensure_index(connection: Connection, space: str, dims: int) -> None:
    """One index for each space, made before it is full: building it later would keep others waiting."""
    name = f"{TABLE}_{hashlib.sha256(f'{dims} {space}'.encode()).hexdigest()[:16]}"
    if connection.scalar(sa.text("SELECT to_regclass(:name)"), {"name": name}) is None:
        quoted = space.replace("'", "''").replace(":", "\\:")
        connection.execute(
            sa.text(
                f"CREATE INDEX IF NOT EXISTS {name} ON {TABLE} USING hnsw "
                f"((CAST(vector AS halfvec({dims}))) halfvec_cosine_ops) "
                f"WHERE space = '{quoted}' AND dims = {dims}"
            )
        )


def _text(vector: npt.NDArray[np.float32]) -> str:
    return "[" + ",".join(map(str, vector.tolist())) + "]"
