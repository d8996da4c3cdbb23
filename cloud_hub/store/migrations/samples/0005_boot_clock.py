"""What the hub knows of the clock of each boot of a node, and by how much a record's time was corrected by that.

Records that are stored already count as right: nobody looks at them again.
"""

import sqlalchemy as sa
from alembic import op

revision = "samples_0005"
down_revision = "samples_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and room beside the measurement time."""
    op.create_table(
        "boot_clock",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("boot", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ahead_ns", sa.BigInteger(), nullable=False, comment="hub's clock minus the node's CLOCK_BOOTTIME"),
        sa.Column("error_ms", sa.BigInteger(), nullable=False, comment="one-sided bound of that, at mono_ns"),
        sa.Column("mono_ns", sa.BigInteger(), nullable=False, comment="CLOCK_BOOTTIME of the record that told it"),
        sa.PrimaryKeyConstraint("region", "site", "node", "boot", name=op.f("pk_boot_clock")),
    )
    comment = "measured_ns has it in; 0 = right as it came; NULL = its boot's clock is not known yet"
    # On the partitioned table of PostgreSQL this changes no row either: the default is constant.
    op.add_column("record", sa.Column("shift_ns", sa.BigInteger(), server_default="0", nullable=True, comment=comment))
    unknown = sa.text("shift_ns IS NULL")
    op.create_index(
        op.f("ix_record_boot_stream_id"),
        "record",
        ["boot", "stream_id"],
        sqlite_where=unknown,
        postgresql_where=unknown,
    )
