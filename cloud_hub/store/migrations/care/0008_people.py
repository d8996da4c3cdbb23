"""Care teams, heads of referrals (filled from the events), second factors, wall displays, opened records."""

import sqlalchemy as sa
from alembic import op
from telemed.v1 import event_pb2

revision = "care_0008"
down_revision = "care_0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "care_team",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("added_by", sa.String(length=64), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=True, comment="NULL while it lasts"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_care_team")),
    )
    op.create_index(op.f("ix_care_team_username"), "care_team", ["username"])
    op.create_index(op.f("ix_care_team_person_id"), "care_team", ["person_id"])
    head = op.create_table(
        "referral_head",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("referral_id", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "referral_id", name=op.f("pk_referral_head")),
    )
    op.create_index(op.f("ix_referral_head_person_id"), "referral_head", ["person_id"])
    op.create_table(
        "totp",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False, comment="secret under the hub's key"),
        sa.Column("is_confirmed", sa.Boolean(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False, comment="a code counts once"),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_totp")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("code_hash", sa.String(length=64), nullable=False, comment="SHA-256; deleted when used"),
        sa.PrimaryKeyConstraint("username", "code_hash", name=op.f("pk_recovery_code")),
    )
    op.create_table(
        "display",
        sa.Column("display_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "code_hash", sa.String(length=64), nullable=False, comment="SHA-256 of the pairing code; empty once used"
        ),
        sa.Column("code_until_ns", sa.BigInteger(), nullable=False),
        sa.Column("paired_ns", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("display_id", name=op.f("pk_display")),
    )
    op.create_index(op.f("ix_display_code_hash"), "display", ["code_hash"])
    op.create_table(
        "break_glass",
        sa.Column("break_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("reason_code", sa.String(length=20), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("opened_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger(), nullable=False),
        sa.Column("due_ns", sa.BigInteger(), nullable=False, comment="when the review must be done"),
        sa.Column("is_renewed", sa.Boolean(), nullable=False),
        sa.Column("reviewed_by", sa.String(length=64), nullable=False),
        sa.Column("reviewed_ns", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("review_text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("break_id", name=op.f("pk_break_glass")),
    )
    op.create_index(op.f("ix_break_glass_username_until_ns"), "break_glass", ["username", "until_ns"])
    op.create_table(
        "break_notice",
        sa.Column("break_id", sa.String(length=36), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("break_id", "username", name=op.f("pk_break_notice")),
    )
    op.create_index(op.f("ix_break_notice_username"), "break_notice", ["username"])
    rows = _heads(op.get_bind())
    if rows:
        op.bulk_insert(head, rows)


def _heads(connection: sa.Connection) -> list[dict[str, object]]:
    """Fold the referrals that were taken before there were heads."""
    events = sa.table(
        "event",
        *(
            sa.column(name)
            for name in ("region", "site", "site_seq", "aggregate_type", "refused", "received_ns", "body")
        ),
    )
    query = sa.select(events).where(events.c.aggregate_type == "referral", events.c.refused.is_(sa.false()))
    found: dict[tuple[str, str], dict[str, object]] = {}
    for row in connection.execute(query.order_by(events.c.site, events.c.site_seq)):
        event = event_pb2.Event.FromString(row.body)
        key = (row.region, event.aggregate_id)
        if event.WhichOneof("body") == "referral_submitted":
            found[key] = {"person_id": event.referral_submitted.person_id, "state": "SUBMITTED"}
        elif key in found:
            found[key] = found[key] | {"state": event.referral_moved.to_state}
        if key in found:
            found[key] |= {"region": key[0], "referral_id": key[1], "site": row.site, "updated_ns": row.received_ns}
    return list(found.values())
