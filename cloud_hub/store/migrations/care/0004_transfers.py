"""Files that nodes send in pieces, blobs that lie whole in the folder, and what nodes may fetch."""

import sqlalchemy as sa
from alembic import op

revision = "care_0004"
down_revision = "care_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _transfer()
    _blob()
    _release()


def _transfer() -> None:
    op.create_table(
        "transfer",
        sa.Column("transfer_id", sa.String(length=36), nullable=False),
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False, comment="of all chunk hashes put together"),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False, comment="for people; never a path"),
        sa.Column("group_id", sa.String(length=64), nullable=False),
        sa.Column("is_preview", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False, comment="receiving, complete, refused or withdrawn"),
        sa.Column("code", sa.String(length=40), nullable=False, comment="why it was refused"),
        sa.Column(
            "chunk_hashes",
            sa.LargeBinary(),
            nullable=False,
            comment="32 bytes a chunk; empty until sent, and once complete",
        ),
        sa.Column(
            "have",
            sa.LargeBinary(),
            nullable=False,
            comment="bitmap of chunks that are synced to disk; empty once complete",
        ),
        sa.Column("corrupt", sa.Text(), nullable=False, comment="JSON {chunk: how often it did not match its hash}"),
        sa.Column("offered_ns", sa.BigInteger(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
        sa.Column("completed_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("transfer_id", name=op.f("pk_transfer")),
        sa.UniqueConstraint(
            "region", "site", "node", "sha256", "group_id", name=op.f("uq_transfer_region_site_node_sha256_group_id")
        ),
    )
    op.create_index(op.f("ix_transfer_region_site_sha256"), "transfer", ["region", "site", "sha256"], unique=False)
    op.create_index(op.f("ix_transfer_region_site_group_id"), "transfer", ["region", "site", "group_id"], unique=False)
    op.create_index(op.f("ix_transfer_state_updated_ns"), "transfer", ["state", "updated_ns"], unique=False)


def _blob() -> None:
    op.create_table(
        "blob",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunk_hashes", sa.LargeBinary(), nullable=False, comment="32 bytes a chunk"),
        sa.Column("stored_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blob")),
    )


def _release() -> None:
    op.create_table(
        "release",
        sa.Column("region", sa.String(length=40), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("node", sa.String(length=40), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("released_ns", sa.BigInteger(), nullable=False),
        sa.Column(
            "held_ns",
            sa.BigInteger(),
            nullable=False,
            comment="when the node first said that it has it whole",
        ),
        sa.PrimaryKeyConstraint("region", "site", "node", "sha256", name=op.f("pk_release")),
    )
