"""Who set the password of an account, and when."""

import sqlalchemy as sa
from alembic import op

revision = "care_0012"
down_revision = "care_0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; passwords from before stay as they are and need not be changed."""
    by = sa.Column(
        "password_by", sa.String(length=10), nullable=False, server_default="file", comment="file, operator or oneself"
    )
    op.add_column("account", by)
    op.add_column("account", sa.Column("password_ns", sa.BigInteger(), nullable=False, server_default="0"))
