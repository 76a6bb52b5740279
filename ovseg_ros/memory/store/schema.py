"""Versions of the tables: migrations by alembic, from this package's own folder."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from ovseg_ros.errors import ConfigError
from ovseg_ros.memory.store.tables import SCHEMA_TABLE

FOLDER = Path(__file__).parent / "migrations"
LOCK = 0x6F76736567
"""Of PostgreSQL's advisory locks: two nodes that start at once migrate one after the other."""


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
