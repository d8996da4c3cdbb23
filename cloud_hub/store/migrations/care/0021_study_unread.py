"""An index of the studies that are to be read, because the list of them is asked for every 20 seconds."""

import sqlalchemy as sa
from alembic import op

revision = "care_0021"
down_revision = "care_0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    unread = sa.text("read_images IS NULL OR read_images < instance_count")
    op.create_index(
        "ix_dicom_study_unread",
        "dicom_study",
        ["region", "study_date", "study_time", "study_key"],
        sqlite_where=unread,
        postgresql_where=unread,
    )
