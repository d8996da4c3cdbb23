"""Reports of the nightly comparison with the nodes, and what of alarms and events was asked for again."""

import sqlalchemy as sa
from alembic import op

revision = "care_0006"
down_revision = "care_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "reconciliation",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False, comment="nightly or asked"),
        sa.Column("state", sa.String(length=10), nullable=False, comment="running, finished or broken"),
        sa.Column("began_ns", sa.BigInteger(), nullable=False),
        sa.Column("ended_ns", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.Integer(), nullable=False),
        sa.Column("compared", sa.BigInteger(), nullable=False),
        sa.Column("healed", sa.BigInteger(), nullable=False),
        sa.Column("open", sa.BigInteger(), nullable=False),
        sa.Column("lost", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.Column("damaged", sa.BigInteger(), nullable=False),
        sa.Column(
            "by_stream", sa.Text(), nullable=False, comment="JSON {stream: {what: count}}, what is not well only"
        ),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_reconciliation")),
    )
    op.create_index(op.f("ix_reconciliation_site_node_began_ns"), "reconciliation", ["site", "node", "began_ns"])
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
