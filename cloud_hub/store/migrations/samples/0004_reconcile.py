"""What of the measurements was compared with the nodes, and what was asked for again because it was missing."""

import sqlalchemy as sa
from alembic import op

revision = "samples_0004"
down_revision = "samples_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "reconciled",
        sa.Column("stream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("verified_to", sa.BigInteger(), nullable=False, comment="every number up to here was looked at once"),
        sa.PrimaryKeyConstraint("stream_id", "epoch", name=op.f("pk_reconciled")),
    )
    op.create_table(
        "reopened",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("stream_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "stream_id", "epoch", "first", name=op.f("pk_reopened")),
    )
