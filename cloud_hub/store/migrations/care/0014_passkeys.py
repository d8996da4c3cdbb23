"""Passkeys and security keys (WebAuthn)."""

import sqlalchemy as sa
from alembic import op

revision = "care_0014"
down_revision = "care_0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "passkey",
        sa.Column("key_id", sa.String(length=64), nullable=False, comment="SHA-256 of the credential's id"),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False, comment="COSE"),
        sa.Column("sign_count", sa.BigInteger(), nullable=False, comment="0 where the key does not count"),
        sa.Column("user_handle", sa.LargeBinary(), nullable=False, comment="the account as the key knows it: random"),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("transports", sa.Text(), nullable=False, comment="JSON list, as the browser told"),
        sa.Column("made_ns", sa.BigInteger(), nullable=False),
        sa.Column("used_ns", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_passkey")),
    )
    op.create_index(op.f("ix_passkey_username"), "passkey", ["username"])
