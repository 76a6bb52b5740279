"""The first tables."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def _entry_id() -> sa.Column:
    return sa.Column("id", NUMBER, sa.ForeignKey("ovseg_entries.id", ondelete="CASCADE"), primary_key=True)


def upgrade() -> None:
    """Makes them. Revisions begin with the time, so that those of an earlier life of the file are older."""
    op.create_table(
        "ovseg_counter",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("horizon", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "ovseg_entries",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("key", sa.String, nullable=False, unique=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("robot", sa.String, nullable=False),
        sa.Column("frame_id", sa.String, nullable=False),
        sa.Column("x", sa.Double, nullable=False),
        sa.Column("y", sa.Double, nullable=False),
        sa.Column("z", sa.Double, nullable=False),
        sa.Column("covariance", sa.LargeBinary, nullable=False),
        sa.Column("size", sa.LargeBinary, nullable=False),
        sa.Column("orientation", sa.LargeBinary, nullable=False),
        sa.Column("space", sa.String, nullable=False),
        sa.Column("first_seen", sa.Double, nullable=False),
        sa.Column("last_seen", sa.Double, nullable=False),
        sa.Column("times_seen", sa.BigInteger, nullable=False),
        sa.Column("times_looked", sa.BigInteger, nullable=False),
        sa.Column("times_missed", sa.BigInteger, nullable=False),
        sa.Column("gone_since", sa.Double),
        sa.Column("bytes", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_ovseg_entries_revision", "ovseg_entries", ["revision"])
    op.create_index("ovseg_entries_place", "ovseg_entries", ["frame_id", "x", "y", "z"])
    op.create_index("ovseg_entries_seen", "ovseg_entries", ["last_seen"])
    op.create_table(
        "ovseg_vectors",
        _entry_id(),
        sa.Column("dims", sa.Integer, nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("views", sa.LargeBinary, nullable=False),
        sa.Column("surface", sa.LargeBinary, nullable=False),
    )
    op.create_table("ovseg_crops", _entry_id(), sa.Column("jpeg", sa.LargeBinary, nullable=False))
    op.create_table(
        "ovseg_words",
        _entry_id(),
        sa.Column("word", sa.String, primary_key=True),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("times", sa.BigInteger, nullable=False),
    )
    op.create_index("ovseg_words_word", "ovseg_words", ["word", "id"])
    op.create_table(
        "ovseg_forgotten",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_ovseg_forgotten_revision", "ovseg_forgotten", ["revision"])
    op.create_table(
        "ovseg_examples",
        sa.Column("id", NUMBER, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("space", sa.String, nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("shown", sa.Double, nullable=False),
        sa.Column("jpeg", sa.LargeBinary),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("size_m", sa.Double),
        sa.Column("palette", sa.LargeBinary),
        sa.Column("others", sa.LargeBinary),
        sa.Column("other_palettes", sa.LargeBinary),
    )
    op.create_index("ix_ovseg_examples_name", "ovseg_examples", ["name"])
    now = int(1000 * time.time())
    op.execute(f"INSERT INTO ovseg_counter (id, revision, horizon) VALUES (1, {now}, {now})")
