"""How many files of images a study has as its manifest says, so that a doctor sees how much is still on its way."""

import sqlalchemy as sa
from alembic import op

revision = "care_0018"
down_revision = "care_0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; of what came before it is not known."""
    column = sa.Column("objects", sa.Integer(), comment="files of images that the manifest names; NULL where none said")
    op.add_column("dicom_group", column)
