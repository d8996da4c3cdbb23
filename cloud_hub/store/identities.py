"""Who somebody is at an identity provider, and the sessions that began there: plain functions on a connection."""

import json
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from cloud_hub.store.schema import identity
from cloud_hub.store.schema import session as session_table


@dataclass(frozen=True, slots=True)
class Identity:
    """An account's name at a provider; `issuer` and `subject` together never mean somebody else."""

    issuer: str
    subject: str
    username: str
    is_mapped: bool
    """True where role and sites follow the provider's claims; False where an administrator made the link."""


def identity_of(connection: Connection, issuer: str, subject: str) -> Identity | None:
    """Return whose account this is; None where nobody's."""
    mine = (identity.c.issuer == issuer, identity.c.subject == subject)
    row = connection.execute(select(identity).where(*mine)).first()
    return None if row is None else Identity(row.issuer, row.subject, row.username, row.is_mapped)


def link(connection: Connection, found: Identity, now_ns: int) -> None:
    """Say whose account an identity is; it must be nobody's yet."""
    connection.execute(
        insert(identity).values(
            issuer=found.issuer,
            subject=found.subject,
            username=found.username,
            is_mapped=found.is_mapped,
            made_ns=now_ns,
            seen_ns=now_ns,
        )
    )


def hear(connection: Connection, found: Identity, now_ns: int) -> None:
    """Note that the provider has vouched for an identity just now, and that it was let in."""
    mine = (identity.c.issuer == found.issuer, identity.c.subject == found.subject)
    connection.execute(update(identity).where(*mine).values(seen_ns=now_ns))


def is_unheard(connection: Connection, username: str, since_ns: int) -> bool:
    """True where an account follows a provider's claims and that provider has not vouched for it since then."""
    mapped = (identity.c.username == username, identity.c.is_mapped, identity.c.seen_ns < since_ns)
    return connection.execute(select(identity.c.subject).where(*mapped)).first() is not None


def unlink(connection: Connection, username: str) -> int:
    """Forget all identities of an account; return how many there were."""
    return connection.execute(delete(identity).where(identity.c.username == username)).rowcount


def end_sessions(connection: Connection, issuer: str, sid: str, username: str = "") -> int:
    """End browser sessions that began at a provider; return how many there were.

    Args:
        connection: to the care database.
        issuer: the provider.
        sid: its session; empty for all of the account.
        username: of the account; empty for whoever has that session.
    """
    query = select(session_table.c.token_hash, session_table.c.extra).where(session_table.c.kind == "cookie")
    if username:
        query = query.where(session_table.c.username == username)
    ended = [
        row.token_hash
        for row in connection.execute(query)
        if (extra := json.loads(row.extra)).get("issuer") == issuer and (not sid or extra.get("sid") == sid)
    ]
    connection.execute(delete(session_table).where(session_table.c.token_hash.in_(ended)))
    return len(ended)
