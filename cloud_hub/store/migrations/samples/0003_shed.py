"""Numbers that their node declared given up or damaged."""

import sqlalchemy as sa
from alembic import op

revision = "samples_0003"
down_revision = "samples_0002"
branch_labels = None
depends_on = None

row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "shed",
        sa.Column("stream_id", row_id, nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=20), nullable=False, comment="telemed.shed.Reason"),
        sa.Column(
            "reduced_to",
            sa.String(length=120),
            nullable=False,
            comment="stream that holds what is left; empty = nothing",
        ),
        sa.Column(
            "from_ns", sa.BigInteger(), nullable=False, comment="when the first came in, edge clock; 0 = unknown"
        ),
        sa.Column("to_ns", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.BigInteger(), nullable=False, comment="how many of them the hub did not have"),
        sa.Column("declared_ns", sa.BigInteger(), nullable=False, comment="when the hub was told"),
        sa.PrimaryKeyConstraint("stream_id", "epoch", "first", "last", name=op.f("pk_shed")),
    )
