"""What physicians said of the findings of models."""

import sqlalchemy as sa
from alembic import op

revision = "care_0022"
down_revision = "care_0021"
branch_labels = None
depends_on = None

_KEY = ("study_key", "sha256", "finding_uid", "version")


def upgrade() -> None:
    """Make the table; the database itself refuses to change a row of it."""
    op.create_table(
        "finding_review",
        sa.Column("review_id", sa.String(length=36), nullable=False, comment="made by the page of whoever says it"),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("study_key", sa.String(length=64), nullable=False),
        sa.Column("sop_uid", sa.String(length=64), nullable=False, comment="of the report"),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of the very bytes of the report"),
        sa.Column("finding_uid", sa.String(length=64), nullable=False, comment="tracking UID"),
        sa.Column("version", sa.Integer(), nullable=False, comment="1, 2, 3 ... for each finding"),
        sa.Column("verdict", sa.String(length=10), nullable=False, comment="accepted, edited, rejected or reopened"),
        sa.Column("reason", sa.String(length=20), nullable=False, comment="why it was rejected; else empty"),
        sa.Column("said", sa.Text(), nullable=False, comment="JSON, what it is instead; empty where it was not edited"),
        sa.Column("told", sa.Text(), nullable=False, comment="JSON, what the model said of it"),
        sa.Column("task", sa.String(length=40), nullable=False),
        sa.Column("task_version", sa.String(length=40), nullable=False),
        sa.Column("bundle_sha256", sa.String(length=64), nullable=False),
        sa.Column("findings", sa.Integer(), nullable=False, comment="how many the report has"),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("review_id", name=op.f("pk_finding_review")),
        sa.UniqueConstraint(*_KEY, name=op.f(f"uq_finding_review_{'_'.join(_KEY)}")),
    )
    _refuse_changes()


def _refuse_changes() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER finding_review_no_update BEFORE UPDATE ON finding_review "
            "BEGIN SELECT RAISE(ABORT, 'what was said of a finding is not changed'); END"
        )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION finding_review_is_kept() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'what was said of a finding is not changed'; END $$"
    )
    op.execute(
        "CREATE TRIGGER finding_review_no_update BEFORE UPDATE ON finding_review "
        "FOR EACH STATEMENT EXECUTE FUNCTION finding_review_is_kept()"
    )
