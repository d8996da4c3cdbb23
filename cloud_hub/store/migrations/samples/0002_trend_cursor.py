"""How far the minutes are written: they follow the records by some seconds instead of joining each commit.

What is stored already is in the minutes.  On PostgreSQL records get the number of their arrival, which SQLite has as
rowid.
"""

import sqlalchemy as sa
from alembic import op

revision = "samples_0002"
down_revision = "samples_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the cursor, and the numbers where there are none."""
    op.create_table(
        "trend_cursor",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("arrival", sa.BigInteger(), nullable=False, comment="all sets up to this arrival are in the minutes"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trend_cursor")),
    )
    arrival = "rowid"
    if op.get_bind().dialect.name == "postgresql":
        arrival = "arrival"
        op.execute("CREATE SEQUENCE record_arrival")
        op.execute("ALTER TABLE record ADD COLUMN arrival BIGINT NOT NULL DEFAULT nextval('record_arrival')")
        op.execute("CREATE INDEX ix_record_arrival ON record USING brin (arrival)")
    op.execute(f"INSERT INTO trend_cursor (id, arrival) SELECT 1, coalesce(max({arrival}), 0) FROM record")  # noqa: S608
