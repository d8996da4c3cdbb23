"""Who somebody is at an identity provider."""

import sqlalchemy as sa
from alembic import op

revision = "care_0013"
down_revision = "care_0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "identity",
        sa.Column("issuer", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("is_mapped", sa.Boolean(), nullable=False, comment="role and sites follow the provider's claims"),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_identity")),
    )
    op.create_index(op.f("ix_identity_username"), "identity", ["username"])
