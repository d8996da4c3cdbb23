"""The sample store as first released: streams, records, watermarks, dead letters, trends."""

import sqlalchemy as sa
from alembic import op

revision = "samples_0001"
down_revision = None
branch_labels = None
depends_on = None

row_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _dead_letter()
    _record()
    _stream()
    _trend()
    _watermark()


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


def _record() -> None:
    op.create_table(
        "record",
        sa.Column("stream_id", row_id, nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column(
            "edge_day", sa.Integer(), nullable=False, comment="day of the record's own stamp, days since 1970, UTC"
        ),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("schema", sa.Integer(), nullable=False),
        sa.Column("codec", sa.Integer(), nullable=False),
        sa.Column("crc", sa.BigInteger(), nullable=False),
        sa.Column("wall_ns", sa.BigInteger(), nullable=False),
        sa.Column("mono_ns", sa.BigInteger(), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("offset_ms", sa.Integer(), nullable=False),
        sa.Column("offset_error_ms", sa.BigInteger(), nullable=False),
        sa.Column(
            "measured_ns",
            sa.BigInteger(),
            nullable=False,
            comment="measurement time of the payload; wall_ns if unreadable",
        ),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False, comment="packed, exactly as received"),
        sa.UniqueConstraint(
            "stream_id", "epoch", "seq", "edge_day", name=op.f("uq_record_stream_id_epoch_seq_edge_day")
        ),
        postgresql_partition_by="RANGE (edge_day)",
    )
    op.create_index(op.f("ix_record_stream_id_measured_ns"), "record", ["stream_id", "measured_ns"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        # Wrong clocks go here; a row in it is told to the operator.
        op.execute("CREATE TABLE record_default PARTITION OF record DEFAULT")


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


def _trend() -> None:
    op.create_table(
        "trend",
        sa.Column("stream_id", row_id, nullable=False),
        sa.Column("measure", sa.String(length=20), nullable=False),
        sa.Column("minute", sa.Integer(), nullable=False, comment="minutes since 1970, UTC, of the measurement time"),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("low", sa.String(length=24), nullable=False),
        sa.Column("high", sa.String(length=24), nullable=False),
        sa.Column("last", sa.String(length=24), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "measure", "minute", name=op.f("pk_trend")),
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
