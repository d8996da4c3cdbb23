"""Which studies were fetched from an archive, so that they do not wait in the list of what is to be read."""

import sqlalchemy as sa
from alembic import op

revision = "care_0023"
down_revision = "care_0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, and leave those studies out of the index; of what was fetched before nothing is known."""
    comment = "when it was fetched from an archive; NULL: it came, or somebody said whether it is read"
    op.add_column("dicom_study", sa.Column("fetched_ns", sa.BigInteger(), nullable=True, comment=comment))
    op.drop_index("ix_dicom_study_unread", "dicom_study")
    unread = sa.text("(read_images IS NULL OR read_images < instance_count) AND fetched_ns IS NULL")
    op.create_index(
        "ix_dicom_study_unread",
        "dicom_study",
        ["region", "study_date", "study_time", "study_key"],
        sqlite_where=unread,
        postgresql_where=unread,
    )
