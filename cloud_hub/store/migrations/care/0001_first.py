"""The care store as first released: events and what is folded from them, alarms, accounts, audit."""

import sqlalchemy as sa
from alembic import op

revision = "care_0001"
down_revision = None
branch_labels = None
depends_on = None

row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _account()
    _alarm()
    _alarm_step()
    _audit()
    _bed_stay()
    _care_record()
    _dead_letter()
    _device()
    _device_place()
    _event()
    _node()
    _person()
    _session()
    _stream()
    _watermark()


def _account() -> None:
    op.create_table(
        "account",
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("name_zh", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=80), nullable=False),
        sa.Column("sites", sa.Text(), nullable=False, comment="JSON list; empty = all of the region for a physician"),
        sa.Column("password_hash", sa.String(length=255), nullable=False, comment="argon2id in PHC form"),
        sa.Column("scopes", sa.Text(), nullable=False, comment="JSON list; for programs"),
        sa.Column("redirects", sa.Text(), nullable=False, comment="JSON list; where a program may get a code sent"),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_account")),
    )


def _alarm() -> None:
    op.create_table(
        "alarm",
        sa.Column("alarm_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("bed", sa.String(length=20), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("condition", sa.String(length=40), nullable=False),
        sa.Column("technical", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("onset_ns", sa.BigInteger(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_latched", sa.Boolean(), nullable=False),
        sa.Column("is_resolved", sa.Boolean(), nullable=False),
        sa.Column("last_seq", sa.Integer(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("alarm_id", name=op.f("pk_alarm")),
    )
    op.create_index(
        op.f("ix_alarm_site_is_resolved_is_active"), "alarm", ["site", "is_resolved", "is_active"], unique=False
    )


def _alarm_step() -> None:
    op.create_table(
        "alarm_step",
        sa.Column("alarm_id", sa.String(length=36), nullable=False),
        sa.Column("alarm_seq", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Integer(), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="telemed.v1.AlarmEvent"),
        sa.PrimaryKeyConstraint("alarm_id", "alarm_seq", name=op.f("pk_alarm_step")),
    )


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=120), nullable=False),
        sa.Column("result", sa.String(length=40), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )


def _bed_stay() -> None:
    op.create_table(
        "bed_stay",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("bed", sa.String(length=20), nullable=False),
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=True, comment="NULL while the person lies there"),
        sa.Column("episode_class", sa.String(length=12), nullable=False),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bed_stay")),
    )
    op.create_index(op.f("ix_bed_stay_person_id"), "bed_stay", ["person_id"], unique=False)
    op.create_index(op.f("ix_bed_stay_site_bed_from_ns"), "bed_stay", ["site", "bed", "from_ns"], unique=False)


def _care_record() -> None:
    op.create_table(
        "care_record",
        sa.Column("stream_id", row_id, nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "epoch", "seq", name=op.f("pk_care_record")),
    )


def _dead_letter() -> None:
    op.create_table(
        "dead_letter",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("stream", sa.String(length=120), nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of the raw bytes"),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter")),
        sa.UniqueConstraint(
            "region",
            "site",
            "node",
            "stream",
            "epoch",
            "seq",
            "digest",
            name=op.f("uq_dead_letter_region_site_node_stream_epoch_seq_digest"),
        ),
    )


def _device() -> None:
    op.create_table(
        "device",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("eui64", sa.String(length=16), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("family", sa.String(length=40), nullable=False),
        sa.Column("has_camera", sa.Boolean(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "node", "device", name=op.f("pk_device")),
    )


def _device_place() -> None:
    op.create_table(
        "device_place",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("bed", sa.String(length=20), nullable=False),
        sa.Column("from_ns", sa.BigInteger(), nullable=False),
        sa.Column("to_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_place")),
    )
    op.create_index(op.f("ix_device_place_site_bed"), "device_place", ["site", "bed"], unique=False)
    op.create_index(op.f("ix_device_place_site_node_device"), "device_place", ["site", "node", "device"], unique=False)


def _event() -> None:
    op.create_table(
        "event",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column(
            "site_seq", sa.BigInteger(), nullable=False, comment="1, 2, 3 ... per site: the order that the hub decided"
        ),
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("aggregate_type", sa.String(length=20), nullable=False),
        sa.Column("aggregate_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, comment="of the aggregate after this event"),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("refusal", sa.String(length=40), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False, comment="when its author made it"),
        sa.Column("received_ns", sa.BigInteger(), nullable=False, comment="when the hub ordered it"),
        sa.Column("author", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="telemed.v1.Event"),
        sa.PrimaryKeyConstraint("site", "site_seq", name=op.f("pk_event")),
        sa.UniqueConstraint("event_id", name=op.f("uq_event_event_id")),
    )
    op.create_index(
        op.f("ix_event_aggregate_type_aggregate_id_version"),
        "event",
        ["aggregate_type", "aggregate_id", "version"],
        unique=False,
    )


def _node() -> None:
    op.create_table(
        "node",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("name_zh", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=80), nullable=False),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("is_home", sa.Boolean(), nullable=False),
        sa.Column("beds", sa.Text(), nullable=False, comment="JSON [{bed, label}] in the order of the wall"),
        sa.Column("limits", sa.Text(), nullable=False, comment="JSON [{measure, low, high}] of the node's alarms"),
        sa.Column("event_cursor", sa.BigInteger(), nullable=False),
        sa.Column("last_arrival_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "site", "node", name=op.f("pk_node")),
    )


def _person() -> None:
    op.create_table(
        "person",
        sa.Column("person_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("family_name", sa.String(length=80), nullable=False),
        sa.Column("given_name", sa.String(length=80), nullable=False),
        sa.Column("name_en", sa.String(length=160), nullable=False),
        sa.Column("gender", sa.String(length=10), nullable=False),
        sa.Column("birth_date", sa.String(length=10), nullable=False),
        sa.Column("identifiers", sa.Text(), nullable=False, comment="JSON [{system, value}]"),
        sa.Column("phone", sa.String(length=40), nullable=False),
        sa.Column("caregiver", sa.String(length=64), nullable=False),
        sa.Column("caregiver_calls", sa.String(length=40), nullable=False),
        sa.Column("allergies", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
    )
    op.create_index(op.f("ix_person_site"), "person", ["site"], unique=False)


def _session() -> None:
    op.create_table(
        "session",
        sa.Column("token_hash", sa.String(length=64), nullable=False, comment="SHA-256 of the cookie or bearer token"),
        sa.Column("kind", sa.String(length=10), nullable=False, comment="cookie, bearer or code"),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("csrf_token", sa.String(length=64), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
        sa.Column("extra", sa.Text(), nullable=False, comment="JSON; PKCE challenge and redirect of a code"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_session")),
    )


def _stream() -> None:
    op.create_table(
        "stream",
        sa.Column("id", row_id, autoincrement=True, nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False, comment="<device>/<kind>, unique within the node"),
        sa.Column("device", sa.String(length=40), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stream")),
        sa.UniqueConstraint("region", "site", "node", "name", name=op.f("uq_stream_region_site_node_name")),
    )


def _watermark() -> None:
    op.create_table(
        "watermark",
        sa.Column("stream_id", row_id, nullable=False),
        sa.Column(
            "epoch", sa.String(length=16), nullable=False, comment="64 bits as 16 hex digits: no signed overflow"
        ),
        sa.Column("contig", sa.BigInteger(), nullable=False),
        sa.Column("max", sa.BigInteger(), nullable=False),
        sa.Column("gaps", sa.Text(), nullable=False, comment="JSON [[first, last], ...], at most 1000 runs"),
        sa.Column("quarantined", sa.Boolean(), nullable=False, comment="a jump of over 10^6 numbers"),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "epoch", name=op.f("pk_watermark")),
    )
