"""What the operator must look at, until it is over: kept, so that a restart of the hub does not forget it."""

import sqlalchemy as sa
from alembic import op

revision = "care_0003"
down_revision = "care_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "notice",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.Column("times", sa.BigInteger(), nullable=False),
        sa.Column("hub_schema", sa.Integer(), nullable=False, comment="newest record schema that the hub could read"),
        sa.PrimaryKeyConstraint("region", "site", "node", "code", name=op.f("pk_notice")),
    )
