"""The audit trails of the nodes: kept as they came, followed as they arrive, and anchored in the hub's own trail.

In the transaction that stores the record.  What does not verify is kept all the same; what was found is noted with
the trail and told.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update
from telemed.audit import RESULT_CHARS, Entry, Head, Link, begin
from telemed.audit_check import Fault, Finding, Walk
from telemed.audit_wire import head_of, link_of
from telemed.topics import NodeAddress
from telemed.v1 import audit_pb2

from cloud_hub.store import audit_trail, dialect
from cloud_hub.store.schema import edge_audit, edge_head, edge_trail

HEAD_ACTION = "edge-head"
"""Of the entry in the hub's own trail that anchors a head of a node: what it is about, and the hash as the result."""
ENTRY_KEY = ("region", "site", "node", "trail", "n", "hash")
HEAD_KEY = ("region", "site", "node", "trail", "n", "at_ns", "signature")
PAGE = 1000


@dataclass(frozen=True, slots=True)
class EdgeTrail:
    """One trail of a node, and how far it was followed as it came in."""

    address: NodeAddress
    trail: str
    key: str
    n: int
    hash: str
    fault: str
    fault_n: int


def trails(connection: Connection, region: str) -> list[EdgeTrail]:
    """Return all trails of a region, by site, node and age; last those of which only entries are left."""
    c = edge_trail.c
    query = select(edge_trail).where(c.region == region).order_by(c.site, c.node, c.began_ns, c.trail)
    found = [_trail(row) for row in connection.execute(query)]
    known = {(one.address, one.trail) for one in found}
    rows = edge_audit.c
    names = select(rows.site, rows.node, rows.trail).where(rows.region == region).distinct()
    for site, node, trail in connection.execute(names.order_by(rows.site, rows.node, rows.trail)):
        address = NodeAddress(region, site, node)
        if (address, trail) not in known:
            found.append(EdgeTrail(address, trail, "", 0, begin(trail), Finding.STATE, 0))
    return found


def links(connection: Connection, address: NodeAddress, trail: str) -> Iterator[Link]:
    """Yield the entries of one trail in order; where there are two versions of one, both."""
    c = edge_audit.c
    after: tuple[int, str] = (0, "")
    where = _of(edge_audit, address, trail)
    while True:
        later = (c.n > after[0]) | ((c.n == after[0]) & (c.hash > after[1]))
        rows = connection.execute(select(edge_audit).where(*where, later).order_by(c.n, c.hash).limit(PAGE)).all()
        for row in rows:
            yield _link(row)
        if len(rows) < PAGE:
            return
        after = (rows[-1].n, rows[-1].hash)


def heads(connection: Connection, address: NodeAddress, trail: str) -> list[Head]:
    """Return the signed heads of one trail, oldest first."""
    query = select(edge_head).where(*_of(edge_head, address, trail)).order_by(edge_head.c.n, edge_head.c.at_ns)
    return [Head(row.trail, row.n, row.hash, row.at_ns, row.key, row.signature) for row in connection.execute(query)]


def head_target(trail: str, n: int) -> str:
    """Return what the entry about a head is about."""
    return f"trail/{trail}/{n}"


def take_entry(
    connection: Connection, address: NodeAddress, message: audit_pb2.AuditEntry, received_ns: int
) -> Fault | None:
    """Keep an entry and follow the trail from where it was; return what is wrong, None where nothing is known to be."""
    known = _known(connection, address, message.trail, received_ns)
    dialect.insert_new(connection, edge_audit, [_row(address, message, received_ns)], ENTRY_KEY)
    if message.n <= known.n:
        is_same = _hashes(connection, known, message.n) == {message.hash}
        return None if is_same else _noted(connection, known, Fault(Finding.REWRITTEN, message.n))
    walk = Walk(known.trail)
    walk.resume(known.n, known.hash)
    fault = _go_on(connection, known, walk)
    if walk.n != known.n:
        where = _of(edge_trail, address, known.trail)
        connection.execute(update(edge_trail).where(*where).values(n=walk.n, hash=walk.hash))
    return None if fault is None else _noted(connection, known, fault)


def take_head(
    connection: Connection, address: NodeAddress, message: audit_pb2.AuditHead, received_ns: int
) -> Fault | None:
    """Keep a signed head and write it into the hub's own trail, so that the hub cannot change it later either."""
    head = head_of(message)
    known = _known(connection, address, head.trail, received_ns)
    row = (*_place(address), head.trail, head.n, head.at_ns, head.signature, head.hash, head.key, received_ns)
    if dialect.insert_new(connection, edge_head, [row], HEAD_KEY):
        _write(connection, address, HEAD_ACTION, head_target(head.trail, head.n), head.hash, received_ns)
    if not head.is_genuine or known.key not in ("", head.key):
        return _noted(connection, known, Fault(Finding.HEAD_FORGED, head.n))
    if not known.key:
        connection.execute(update(edge_trail).where(*_of(edge_trail, address, head.trail)).values(key=head.key))
    if head.n <= known.n and head.hash not in _hashes(connection, known, head.n):
        return _noted(connection, known, Fault(Finding.REWRITTEN, head.n))
    return None


def _go_on(connection: Connection, known: EdgeTrail, walk: Walk) -> Fault | None:
    """Follow the trail over what is there; a hole may still be filled by what is on its way."""
    c = edge_audit.c
    while True:
        where = (*_of(edge_audit, known.address, known.trail), c.n == walk.n + 1)
        rows = connection.execute(select(edge_audit).where(*where).order_by(c.received_ns)).all()
        if not rows:
            return None
        if len(rows) > 1:
            return Fault(Finding.REWRITTEN, walk.n + 1)
        fault = walk.take(_link(rows[0]))
        if fault is not None:
            return fault


def _known(connection: Connection, address: NodeAddress, trail: str, now_ns: int) -> EdgeTrail:
    """Return a trail of a node; one that was never heard of begins now, and that is told in the hub's own trail."""
    row = connection.execute(select(edge_trail).where(*_of(edge_trail, address, trail))).first()
    if row is not None:
        return _trail(row)
    c = edge_trail.c
    mine = (c.region == address.region, c.site == address.site, c.node == address.node)
    is_another = connection.execute(select(c.trail).where(*mine).limit(1)).first() is not None
    values = {"region": address.region, "site": address.site, "node": address.node, "trail": trail}
    connection.execute(insert(edge_trail).values(**values, began_ns=now_ns, hash=begin(trail)))
    _write(connection, address, "edge-trail", f"trail/{trail}", "another" if is_another else "first", now_ns)
    return EdgeTrail(address, trail, "", 0, begin(trail), "", 0)


def _noted(connection: Connection, known: EdgeTrail, fault: Fault) -> Fault:
    if not known.fault:
        where = _of(edge_trail, known.address, known.trail)
        connection.execute(update(edge_trail).where(*where).values(fault=fault.finding, fault_n=fault.n))
    return fault


def _write(connection: Connection, address: NodeAddress, action: str, target: str, result: str, now_ns: int) -> None:
    entry = Entry(now_ns, address.node, "node", action, target, result[:RESULT_CHARS], address.region, address.site)
    audit_trail.append(connection, [entry])


def _hashes(connection: Connection, known: EdgeTrail, n: int) -> set[str]:
    where = (*_of(edge_audit, known.address, known.trail), edge_audit.c.n == n)
    return set(connection.execute(select(edge_audit.c.hash).where(*where)).scalars())


def _of(table: Any, address: NodeAddress, trail: str) -> tuple[Any, ...]:
    c = table.c
    return (c.region == address.region, c.site == address.site, c.node == address.node, c.trail == trail)


def _place(address: NodeAddress) -> tuple[str, str, str]:
    return (address.region, address.site, address.node)


def _row(address: NodeAddress, message: audit_pb2.AuditEntry, received_ns: int) -> dialect.Row:
    link = link_of(message)
    entry = link.entry
    said = (entry.at_ns, entry.actor, entry.role, entry.action, entry.target, entry.result, entry.region, entry.site)
    return (*_place(address), message.trail, link.n, link.hash, link.prev_hash, *said, received_ns)


def _link(row: Row[Any]) -> Link:
    said = (row.at_ns, row.actor, row.role, row.action, row.object, row.result, row.entry_region, row.entry_site)
    return Link(row.n, Entry(*said), row.prev_hash, row.hash)


def _trail(row: Row[Any]) -> EdgeTrail:
    address = NodeAddress(row.region, row.site, row.node)
    return EdgeTrail(address, row.trail, row.key, row.n, row.hash, row.fault, row.fault_n)
