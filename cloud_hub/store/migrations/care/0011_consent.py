"""Who agreed to what, folded from the events of consent."""

import sqlalchemy as sa
from alembic import op

revision = "care_0011"
down_revision = "care_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; there were no events of consent before it."""
    op.create_table(
        "consent",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("purpose", sa.String(length=4), nullable=False, comment="C1 to C9 of clinical 9.4"),
        sa.Column(
            "grantee",
            sa.String(length=64),
            nullable=False,
            comment="whose access; empty where the purpose names nobody",
        ),
        sa.Column("is_given", sa.Boolean(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False, comment="0: until it is withdrawn"),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", "purpose", "grantee", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_region_purpose_grantee"), "consent", ["region", "purpose", "grantee"])
