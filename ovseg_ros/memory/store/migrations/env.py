"""What alembic runs to migrate: on the connection and in the transaction that `schema` gives it."""

from alembic import context

from ovseg_ros.memory.store.tables import METADATA, SCHEMA_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=SCHEMA_TABLE
)
context.run_migrations()
