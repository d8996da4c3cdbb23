"""Tokens and certificates of nodes in the care database: plain functions on a connection."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, or_, select, tuple_, update
from telemed.topics import NodeAddress

from cloud_hub.store.schema import node_certificate, node_token


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token; found by the hash of its secret."""

    secret_sha256: str
    address: NodeAddress
    created_ns: int
    ends_ns: int
    created_by: str
    key_sha256: str = ""
    """Of the key that used it first; empty before."""


@dataclass(frozen=True, slots=True)
class CertificateRow:
    """A certificate that a node got."""

    serial: str
    address: NodeAddress
    key_sha256: str
    issued_ns: int
    ends_ns: int
    next_key_sha256: str = ""
    """Of the key that it was renewed for; empty before."""
    revoked_ns: int = 0
    reason: str = ""


def add_token(connection: Connection, row: TokenRow) -> None:
    """Insert a token; those that have ended long ago are swept out on the way."""
    connection.execute(delete(node_token).where(node_token.c.ends_ns < row.created_ns - 24 * 3600 * 10**9))
    connection.execute(
        insert(node_token).values(
            secret_sha256=row.secret_sha256,
            **_where(row.address),
            created_ns=row.created_ns,
            ends_ns=row.ends_ns,
            created_by=row.created_by[:64],
            key_sha256=row.key_sha256,
        )
    )


def token_of(connection: Connection, secret_sha256: str) -> TokenRow | None:
    """Return the token with this hash, ended or not."""
    row = connection.execute(select(node_token).where(node_token.c.secret_sha256 == secret_sha256)).first()
    if row is None:
        return None
    return TokenRow(secret_sha256, _address(row), row.created_ns, row.ends_ns, row.created_by, row.key_sha256)


def bind_token(connection: Connection, secret_sha256: str, key_sha256: str) -> None:
    """Note the key that used a token first."""
    where = node_token.c.secret_sha256 == secret_sha256
    connection.execute(update(node_token).where(where).values(key_sha256=key_sha256))


def add(connection: Connection, row: CertificateRow, ended_before_ns: int) -> None:
    """Insert a certificate; those that had ended by then are swept out on the way."""
    connection.execute(delete(node_certificate).where(node_certificate.c.ends_ns < ended_before_ns))
    connection.execute(
        insert(node_certificate).values(
            serial=row.serial,
            **_where(row.address),
            key_sha256=row.key_sha256,
            issued_ns=row.issued_ns,
            ends_ns=row.ends_ns,
            next_key_sha256=row.next_key_sha256,
            revoked_ns=row.revoked_ns,
            reason=row.reason,
        )
    )


def of_serial(connection: Connection, serial: str) -> CertificateRow | None:
    """Return the certificate of this number."""
    row = connection.execute(select(node_certificate).where(node_certificate.c.serial == serial)).first()
    return None if row is None else _certificate(row)


def of_region(connection: Connection, region: str) -> list[CertificateRow]:
    """Return all certificates of a region, by node, the newest of each first."""
    table = node_certificate
    query = select(table).where(table.c.region == region).order_by(table.c.site, table.c.node, table.c.issued_ns.desc())
    return [_certificate(row) for row in connection.execute(query)]


def latest_ns(connection: Connection, region: str) -> int:
    """Return when the latest certificate of a region was issued; 0: none was."""
    table = node_certificate
    query = select(func.max(table.c.issued_ns)).where(table.c.region == region)
    return connection.execute(query).scalar_one() or 0


def newest(connection: Connection, region: str) -> list[CertificateRow]:
    """Return the newest certificate of each node of a region, by node."""
    table, later = node_certificate, node_certificate.alias()
    same = [later.c[name] == table.c[name] for name in ("region", "site", "node")]
    is_later = tuple_(later.c.issued_ns, later.c.serial) > tuple_(table.c.issued_ns, table.c.serial)
    query = select(table).where(table.c.region == region, ~exists().where(*same, is_later))
    return [_certificate(row) for row in connection.execute(query.order_by(table.c.site, table.c.node))]


def live_nodes(connection: Connection, region: str, now_ns: int) -> list[NodeAddress]:
    """Return the nodes of a region that have a certificate which is neither revoked nor over."""
    table = node_certificate
    where = (table.c.region == region, table.c.revoked_ns == 0, table.c.ends_ns > now_ns)
    query = select(table.c.region, table.c.site, table.c.node).where(*where).distinct()
    return [NodeAddress(*row) for row in connection.execute(query.order_by(table.c.site, table.c.node))]


def elsewhere(connection: Connection, address: NodeAddress, ended_before_ns: int) -> str:
    """Return another site with a certificate of this name, not revoked, that had not ended by then; else empty."""
    table = node_certificate
    name = (table.c.region == address.region, table.c.node == address.node, table.c.site != address.site)
    query = select(table.c.site).where(*name, table.c.revoked_ns == 0, table.c.ends_ns >= ended_before_ns)
    return connection.execute(query.limit(1)).scalar_one_or_none() or ""


def note_renewal(connection: Connection, serial: str, next_key_sha256: str) -> None:
    """Note the key that a certificate was renewed for."""
    where = node_certificate.c.serial == serial
    connection.execute(update(node_certificate).where(where).values(next_key_sha256=next_key_sha256))


def revoke(connection: Connection, address: NodeAddress, now_ns: int, reason: str, keep_key_sha256: str = "") -> int:
    """Revoke the certificates of a node but those of one key; return how many were not revoked before."""
    table = node_certificate
    mine = (table.c.region == address.region, table.c.site == address.site, table.c.node == address.node)
    where = (*mine, table.c.revoked_ns == 0, table.c.key_sha256 != keep_key_sha256)
    return connection.execute(update(table).where(*where).values(revoked_ns=now_ns, reason=reason[:40])).rowcount


def drop_tokens(connection: Connection, address: NodeAddress) -> None:
    """Delete all tokens of a node, used or not."""
    table = node_token
    mine = (table.c.region == address.region, table.c.site == address.site, table.c.node == address.node)
    connection.execute(delete(table).where(*mine))


def denied(connection: Connection, region: str, ended_before_ns: int, never_named: str) -> dict[str, NodeAddress]:
    """Return the certificates that are worth nothing and had not ended by then: serial number -> node.

    They are revoked, or of a node with the name that none may have.
    """
    table = node_certificate
    is_denied = or_(table.c.revoked_ns > 0, table.c.node == never_named)
    where = (table.c.region == region, is_denied, table.c.ends_ns >= ended_before_ns)
    return {row.serial: _address(row) for row in connection.execute(select(table).where(*where))}


def _where(address: NodeAddress) -> dict[str, str]:
    return {"region": address.region, "site": address.site, "node": address.node}


def _address(row: Row[Any]) -> NodeAddress:
    return NodeAddress(row.region, row.site, row.node)


def _certificate(row: Row[Any]) -> CertificateRow:
    return CertificateRow(
        row.serial,
        _address(row),
        row.key_sha256,
        row.issued_ns,
        row.ends_ns,
        row.next_key_sha256,
        row.revoked_ns,
        row.reason,
    )
