"""The audit trail becomes a chain with signed heads; what was written before is taken into it as it stands.

What happened to those rows before this migration cannot be seen by it.
"""

import sqlalchemy as sa
from alembic import op
from telemed.audit import Entry, begin, chain, new_trail

revision = "care_0009"
down_revision = "care_0008"
branch_labels = None
depends_on = None

PAGE = 1000
APPEND_ONLY = ("audit_head", "edge_audit", "edge_head")
FIELDS = ("at_ns", "actor", "role", "action", "object", "result", "region", "site")


def upgrade() -> None:
    """Add the columns, make the tables, link the rows."""
    _unlock("audit")
    for name in ("prev_hash", "hash"):
        op.add_column("audit", sa.Column(name, sa.String(length=64), nullable=False, server_default=""))
    _make_own()
    _make_edge()
    _link_rows()
    op.create_index(op.f("ix_audit_at_ns"), "audit", ["at_ns"])
    op.create_index(op.f("ix_audit_object"), "audit", ["object"])
    for table in ("audit", *APPEND_ONLY):
        _lock(table)


def _link_rows() -> None:
    connection = op.get_bind()
    trail = new_trail()
    n, last, after = 0, begin(trail), 0
    select = sa.text(f"SELECT id, {', '.join(FIELDS)} FROM audit WHERE id > :after ORDER BY id LIMIT {PAGE}")  # noqa: S608
    sets = ", ".join(f"{name} = :{name}" for name in ("id", *FIELDS, "prev_hash", "hash"))
    put = sa.text(f"UPDATE audit SET {sets} WHERE id = :was")  # noqa: S608
    while rows := connection.execute(select, {"after": after}).all():
        links = chain(trail, n, last, [Entry(*row[1:]) for row in rows])
        for row, link in zip(rows, links, strict=True):
            entry = link.entry
            values = (entry.at_ns, entry.actor, entry.role, entry.action, entry.target, entry.result)
            fields = dict(zip(FIELDS, (*values, entry.region, entry.site), strict=True))
            linked = {"id": link.n, "prev_hash": link.prev_hash, "hash": link.hash, "was": row[0]}
            connection.execute(put, fields | linked)
        n, last, after = links[-1].n, links[-1].hash, rows[-1][0]
    connection.execute(
        sa.text("INSERT INTO audit_chain (id, trail, n, hash) VALUES (1, :trail, :n, :hash)"),
        {"trail": trail, "n": n, "hash": last},
    )


def _make_own() -> None:
    op.create_table(
        "audit_chain",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("trail", sa.String(length=32), nullable=False, comment="name of the trail"),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_chain")),
    )
    op.create_table(
        "audit_head",
        sa.Column("trail", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("trail", "n", "at_ns", name=op.f("pk_audit_head")),
    )


def _owner() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(length=40), nullable=False) for name in ("region", "site", "node")]


def _make_edge() -> None:
    op.create_table(
        "edge_trail",
        *_owner(),
        sa.Column("trail", sa.String(length=32), nullable=False),
        sa.Column("began_ns", sa.BigInteger(), nullable=False, comment="when the first entry of it arrived"),
        sa.Column("key", sa.String(length=64), nullable=False, comment="that signed its first head; no other counts"),
        sa.Column("n", sa.BigInteger(), nullable=False, comment="verified from 1 up to here"),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("fault", sa.String(length=40), nullable=False, comment="what was found on arrival, the first of it"),
        sa.Column("fault_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "site", "node", "trail", name=op.f("pk_edge_trail")),
    )
    op.create_table(
        "edge_audit",
        *_owner(),
        sa.Column("trail", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False, comment="two versions of an entry are both kept"),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("action", sa.String(length=40), nullable=False),
        sa.Column("object", sa.String(length=120), nullable=False),
        sa.Column("result", sa.String(length=40), nullable=False),
        sa.Column("entry_region", sa.String(length=40), nullable=False, comment="as the node wrote it"),
        sa.Column("entry_site", sa.String(length=40), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("region", "site", "node", "trail", "n", "hash", name=op.f("pk_edge_audit")),
    )
    op.create_index(op.f("ix_edge_audit_region_at_ns"), "edge_audit", ["region", "at_ns"])
    op.create_index(op.f("ix_edge_audit_object"), "edge_audit", ["object"])
    op.create_table(
        "edge_head",
        *_owner(),
        sa.Column("trail", sa.String(length=32), nullable=False),
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at_ns", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "region", "site", "node", "trail", "n", "at_ns", "signature", name=op.f("pk_edge_head")
        ),
    )


def _unlock(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for what in ("update", "delete"):
            op.execute(f"DROP TRIGGER {table}_no_{what}")
        return
    op.execute(f"DROP TRIGGER {table}_no_change ON {table}")


def _lock(table: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()"
    )
