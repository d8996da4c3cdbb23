"""Steps of alarms whose times wait for the clock of their boot."""

import sqlalchemy as sa
from alembic import op

revision = "care_0010"
down_revision = "care_0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; steps from before keep the times that they came with."""
    op.create_table(
        "untimed_step",
        sa.Column("alarm_id", sa.String(length=36), nullable=False),
        sa.Column("alarm_seq", sa.Integer(), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False, comment="of the record, on the node's clock"),
        sa.Column("mono_ns", sa.BigInteger(), nullable=False, comment="of the record, CLOCK_BOOTTIME of the node"),
        sa.PrimaryKeyConstraint("alarm_id", "alarm_seq", name=op.f("pk_untimed_step")),
    )
