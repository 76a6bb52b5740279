"""The tables, as the newest migration leaves them, and how older ones are brought up to date, by alembic."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)
from sqlalchemy.engine import Connection

from ovseg_ros.errors import ConfigError

FOLDER = Path(__file__).parent / "migrations"
LOCK = 0x6F76736567
"""Of PostgreSQL's advisory locks: two nodes that start at once migrate one after the other."""
METADATA = MetaData()
SCHEMA_TABLE = "ovseg_schema"
"""Where alembic keeps which migration was the last."""

Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts rows by INTEGER alone

COUNTER = Table(
    "ovseg_counter",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    # of what happened before this revision nothing is known any more
    Column("horizon", BigInteger, nullable=False),
)

ENTRIES = Table(
    "ovseg_entries",
    METADATA,
    Column("id", Number, primary_key=True),
    Column("key", String, nullable=False, unique=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("robot", String, nullable=False),
    Column("frame_id", String, nullable=False),
    Column("x", Double, nullable=False),
    Column("y", Double, nullable=False),
    Column("z", Double, nullable=False),
    Column("covariance", LargeBinary, nullable=False),  # float64, little endian, as the next two
    Column("size", LargeBinary, nullable=False),
    Column("orientation", LargeBinary, nullable=False),
    Column("space", String, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    Column("times_seen", BigInteger, nullable=False),
    Column("times_looked", BigInteger, nullable=False),
    Column("times_missed", BigInteger, nullable=False),
    Column("gone_since", Double),
    Column("bytes", BigInteger, nullable=False),
    Column("clarity", Double, nullable=False, server_default="0"),
    Index("ovseg_entries_place", "frame_id", "x", "y", "z"),
    Index("ovseg_entries_seen", "last_seen"),
)


def _entry_id() -> Column:
    return Column("id", Number, ForeignKey("ovseg_entries.id", ondelete="CASCADE"), primary_key=True)


# Apart from the rest, so that questions about places and times do not read past them.
VECTORS = Table(
    "ovseg_vectors",
    METADATA,
    _entry_id(),
    Column("dims", Integer, nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # float16, little endian
    Column("views", LargeBinary, nullable=False),
    Column("surface", LargeBinary, nullable=False),
)

CROPS = Table("ovseg_crops", METADATA, _entry_id(), Column("jpeg", LargeBinary, nullable=False))

WORDS = Table(
    "ovseg_words",
    METADATA,
    _entry_id(),
    Column("word", String, primary_key=True),
    Column("score", Double, nullable=False),
    Column("times", BigInteger, nullable=False),
    Index("ovseg_words_word", "word", "id"),
)

FORGOTTEN = Table(
    "ovseg_forgotten",
    METADATA,
    Column("key", String, primary_key=True),
    Column("id", BigInteger, nullable=False),  # which the entry had: another may have it by now
    Column("revision", BigInteger, nullable=False, index=True),
)

EXAMPLES = Table(
    "ovseg_examples",
    METADATA,
    Column("id", Number, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("space", String, nullable=False),
    Column("embedding", LargeBinary, nullable=False),  # float16, little endian
    Column("shown", Double, nullable=False),
    Column("jpeg", LargeBinary),
    Column("key", String, nullable=False),
    Column("size_m", Double),
    Column("palette", LargeBinary),  # float16, as the next two
    Column("others", LargeBinary),
    Column("other_palettes", LargeBinary),
)


def bring_up_to_date(connection: Connection, name: str, *, to: str = "head") -> None:
    """Runs the migrations that are missing, in the caller's transaction.

    Args:
        connection: in a transaction that writes.
        name: of the database, for messages.
        to: the migration to stop at.

    Raises:
        ConfigError: a SQLite file of another program, or tables of a newer ovseg_ros.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    known = {one.revision for one in script.walk_revisions()}
    context = MigrationContext.configure(connection, opts={"version_table": SCHEMA_TABLE})
    current = set(context.get_current_heads())
    if current - known:
        raise ConfigError(
            f"{name} was written by a newer ovseg_ros: its tables have version {min(current - known)}, "
            f"this one knows {script.get_current_head()}; update ovseg_ros here, or name another database"
        )
    if not current and connection.dialect.name == "sqlite":
        others = sa.inspect(connection).get_table_names()
        if others:
            raise ConfigError(
                f"{name} is another program's file, with the table {others[0]}; name another path for memory"
            )
    if current != {script.get_current_head()}:
        command.upgrade(config, to)
