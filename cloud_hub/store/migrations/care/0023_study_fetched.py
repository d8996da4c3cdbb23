"""Which studies were fetched from an archive, so that they do not wait in the list of what is to be read."""

import sqlalchemy as sa
from alembic import op

revision = "care_0023"
down_revision = "care_0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what was fetched before nothing is known."""
    comment = "when it was fetched from an archive; NULL: it came, and is to be read"
    op.add_column("dicom_study", sa.Column("fetched_ns", sa.BigInteger(), nullable=True, comment=comment))
