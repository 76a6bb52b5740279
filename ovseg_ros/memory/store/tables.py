"""The tables, as the newest migration leaves them."""

from __future__ import annotations

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
