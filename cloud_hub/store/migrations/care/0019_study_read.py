"""That somebody has read a study, and how much of it there was then."""

import sqlalchemy as sa
from alembic import op

revision = "care_0019"
down_revision = "care_0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; nothing counts as read yet."""
    columns = (
        sa.Column("read_by", sa.String(length=64), comment="account of who read it last; NULL: nobody has"),
        sa.Column("read_ns", sa.BigInteger(), comment="when they said so"),
        sa.Column("read_images", sa.Integer(), comment="how many images and objects there were then"),
    )
    for column in columns:
        op.add_column("dicom_study", column)
