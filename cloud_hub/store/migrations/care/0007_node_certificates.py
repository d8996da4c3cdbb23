"""Tokens by which nodes are let in, and the certificates that they got."""

import sqlalchemy as sa
from alembic import op

revision = "care_0007"
down_revision = "care_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "node_token",
        sa.Column("secret_sha256", sa.String(length=64), nullable=False, comment="the secret itself is kept nowhere"),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("ends_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False, comment="bound to at first use; empty before"),
        sa.PrimaryKeyConstraint("secret_sha256", name=op.f("pk_node_token")),
    )
    op.create_table(
        "node_certificate",
        sa.Column("serial", sa.String(length=48), nullable=False, comment="hex digits"),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("key_sha256", sa.String(length=64), nullable=False),
        sa.Column("issued_ns", sa.BigInteger(), nullable=False),
        sa.Column("ends_ns", sa.BigInteger(), nullable=False),
        sa.Column("next_key_sha256", sa.String(length=64), nullable=False, comment="of its renewal; empty before"),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=False, comment="0: it is not"),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_node_certificate")),
    )
    op.create_index(op.f("ix_node_certificate_region_node"), "node_certificate", ["region", "node"])
