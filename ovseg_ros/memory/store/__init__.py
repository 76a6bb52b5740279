"""Where memory is kept: a SQLite file of one robot, or a PostgreSQL database that several share."""

from ovseg_ros.memory.store.opening import Changes, Retention, Saved, open_store
from ovseg_ros.memory.store.writer import Writer, WriterState, newer_of

__all__ = ["Changes", "Retention", "Saved", "Writer", "WriterState", "newer_of", "open_store"]
