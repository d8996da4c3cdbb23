"""The streams of a site are found without going through those of the region."""

from alembic import op

revision = "samples_0008"
down_revision = "samples_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index(op.f("ix_stream_site"), "stream", ["site"])
