"""How clear each picture is, so that a new one takes its place only where it is clearer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds it; of pictures that are there it is not known, and the next one is taken for clearer."""
    op.add_column("ovseg_entries", sa.Column("clarity", sa.Double, nullable=False, server_default="0"))
