"""Minutes lie in the order of time: with the measure first, what all days hold of a stream was read for one minute."""

import sqlalchemy as sa
import structlog
from alembic import op

revision = "samples_0007"
down_revision = "samples_0006"
branch_labels = None
depends_on = None

_KEY = ("stream_id", "minute", "measure")
_VALUES = ("n", "low", "high", "last", "last_ns")


def upgrade() -> None:
    """Order the table anew; all minutes are kept."""
    if op.get_bind().dialect.name == "postgresql":
        op.drop_constraint(op.f("pk_trend"), "trend", type_="primary")
        op.create_primary_key(op.f("pk_trend"), "trend", list(_KEY))
        return
    if op.get_bind().execute(sa.text("SELECT 1 FROM trend LIMIT 1")).first() is not None:
        structlog.get_logger().info("ordering-trends", why="once, after this update; minutes where months are stored")
    op.rename_table("trend", "trend_before")
    op.create_table(
        "trend",
        sa.Column("stream_id", sa.Integer(), nullable=False),
        sa.Column("minute", sa.Integer(), nullable=False, comment="minutes since 1970, UTC, of the measurement time"),
        sa.Column("measure", sa.String(length=20), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("low", sa.String(length=24), nullable=False),
        sa.Column("high", sa.String(length=24), nullable=False),
        sa.Column("last", sa.String(length=24), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name=op.f("pk_trend")),
        sqlite_with_rowid=False,
    )
    names = ", ".join(_KEY + _VALUES)
    op.execute(f"INSERT INTO trend ({names}) SELECT {names} FROM trend_before ORDER BY {', '.join(_KEY)}")  # noqa: S608
    op.drop_table("trend_before")
