"""What is now, and what is of one person, is found without going through years of stays, alarms and signed heads."""

import sqlalchemy as sa
from alembic import op

revision = "care_0024"
down_revision = "care_0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the indexes."""
    lasts = sa.text("to_ns IS NULL")
    op.create_index("ix_bed_stay_open", "bed_stay", ["region", "site"], sqlite_where=lasts, postgresql_where=lasts)
    op.create_index(op.f("ix_referral_head_region_state"), "referral_head", ["region", "state"])
    op.create_index(op.f("ix_alarm_person_id"), "alarm", ["person_id"])
    op.create_index(op.f("ix_audit_head_at_ns_n"), "audit_head", ["at_ns", "n"])
    op.create_index(op.f("ix_stream_site"), "stream", ["site"])
