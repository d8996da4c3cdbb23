"""The hub's audit trail in the care database: entries are chained in the transaction of what they tell of.

Plain functions on a connection.  The writer of the database is one; on PostgreSQL, where another process may write
too, whoever appends holds the lock of the one row of `audit_chain` until its commit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from telemed.audit import Entry, Head, Link, chain

from cloud_hub.store.schema import audit, audit_chain, audit_head

PAGE = 1000


@dataclass(frozen=True, slots=True)
class State:
    """What is noted as the last entry of the trail."""

    trail: str
    n: int
    hash: str


def state(connection: Connection) -> State:
    """Return the last entry as it is noted."""
    return State(*connection.execute(_STATE).one())


def hold(connection: Connection) -> State:
    """Wait for whoever writes the trail, keep others from it until the commit, and return the last entry as noted.

    For work that must not overlap: to be called before anything else is read, which is then as the one before left it.
    """
    return State(*connection.execute(_STATE.with_for_update()).one())


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Append entries in their order, each linked to the one before."""
    if not entries:
        return
    last = hold(connection)
    links = chain(last.trail, last.n, last.hash, entries)
    connection.execute(insert(audit), [_values(link) for link in links])
    connection.execute(update(audit_chain).values(n=links[-1].n, hash=links[-1].hash))


def links(connection: Connection, after: int = 0) -> Iterator[Link]:
    """Yield the entries after a number, in order."""
    while True:
        rows = connection.execute(select(audit).where(audit.c.id > after).order_by(audit.c.id).limit(PAGE)).all()
        for row in rows:
            yield _link(row)
        if len(rows) < PAGE:
            return
        after = rows[-1].id


def hash_at(connection: Connection, n: int) -> str | None:
    """Return the hash of one entry, None where there is none."""
    return connection.execute(select(audit.c.hash).where(audit.c.id == n)).scalar_one_or_none()


def heads(connection: Connection) -> list[Head]:
    """Return the signed heads, oldest first."""
    return [_head(row) for row in connection.execute(select(audit_head).order_by(audit_head.c.n, audit_head.c.at_ns))]


def newest_head(connection: Connection) -> Head | None:
    """Return the head that was signed last."""
    query = select(audit_head).order_by(audit_head.c.at_ns.desc(), audit_head.c.n.desc()).limit(1)
    row = connection.execute(query).first()
    return None if row is None else _head(row)


def save_head(connection: Connection, head: Head) -> None:
    """Keep a signed head."""
    connection.execute(
        insert(audit_head).values(
            trail=head.trail, n=head.n, at_ns=head.at_ns, hash=head.hash, key=head.key, signature=head.signature
        )
    )


_STATE = select(audit_chain.c.trail, audit_chain.c.n, audit_chain.c.hash)


def _values(link: Link) -> dict[str, object]:
    entry = link.entry
    return {
        "id": link.n,
        "at_ns": entry.at_ns,
        "actor": entry.actor,
        "role": entry.role,
        "action": entry.action,
        "object": entry.target,
        "result": entry.result,
        "region": entry.region,
        "site": entry.site,
        "prev_hash": link.prev_hash,
        "hash": link.hash,
    }


def _link(row: Row[Any]) -> Link:
    entry = Entry(row.at_ns, row.actor, row.role, row.action, row.object, row.result, row.region, row.site)
    return Link(row.id, entry, row.prev_hash, row.hash)


def _head(row: Row[Any]) -> Head:
    return Head(row.trail, row.n, row.hash, row.at_ns, row.key, row.signature)
