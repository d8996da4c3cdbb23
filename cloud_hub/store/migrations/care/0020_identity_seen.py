"""When an identity provider last vouched for somebody; some files have the column since 0013."""

import sqlalchemy as sa
from alembic import op

revision = "care_0020"
down_revision = "care_0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column where it is missing; whoever is known was vouched for when that began."""
    columns = sa.inspect(op.get_bind()).get_columns("identity")
    if any(column["name"] == "seen_ns" for column in columns):
        return
    seen_ns = sa.Column(
        "seen_ns",
        sa.BigInteger(),
        nullable=False,
        server_default="0",
        comment="when they last came in by the provider",
    )
    op.add_column("identity", seen_ns)
    op.execute("UPDATE identity SET seen_ns = made_ns")
