"""Room for what records are known by once a person was taken out of them."""

import sqlalchemy as sa
from alembic import op

revision = "care_0015"
down_revision = "care_0014"
branch_labels = None
depends_on = None

MARK = "what the nightly comparison knows it by, once words were taken out; NULL = as received"


def upgrade() -> None:
    """Add the columns; nothing was taken out before."""
    op.add_column("dead_letter", sa.Column("mark", sa.LargeBinary(), nullable=True, comment=MARK))
    op.add_column("care_record", sa.Column("mark", sa.LargeBinary(), nullable=True, comment=MARK))
