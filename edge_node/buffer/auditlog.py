"""The node's audit trail in the file of care: chained, append-only, never given up, and sent to the hub as records.

An entry and the record that carries it are stored by one commit.  Beside it are the signed heads of this trail, and
those of the hub's trail that are kept here as anchors.
"""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog
from telemed.audit import Entry, Head, Link, begin, chain, new_trail, sign
from telemed.audit_check import Fault, Finding, Walk
from telemed.audit_seal import Seal
from telemed.audit_wire import STREAM, entry_message, head_message
from telemed.v1 import audit_pb2
from telemed.wire import Kind, Stamp

from edge_node.buffer import outbox
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.file import LogFile
from edge_node.buffer.outbox import Batch

PAGE = 500
FAULT_ACTION = "audit-fault"
FULL_ANCHORS_NS = 2 * 86_400 * 10**9
"""So long every head of the hub is kept; of older ones the first of each hour."""
HOUR_NS = 3600 * 10**9
_FIELDS = "n, at_ns, actor, role, action, object, result, region, site, prev_hash, hash"
_HEAD = "trail, n, hash, at_ns, key, signature"
INSERT_ENTRY = f"INSERT INTO audit (trail, {_FIELDS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
SELECT_ENTRIES = f"SELECT trail, {_FIELDS} FROM audit WHERE n > ? ORDER BY n LIMIT ?"  # noqa: S608
SELECT_HASH = "SELECT hash FROM audit WHERE trail = ? AND n = ?"
SELECT_STATE = "SELECT trail, n, hash FROM audit ORDER BY n DESC LIMIT 1"
INSERT_HEAD = f"INSERT INTO audit_head ({_HEAD}, received_ns) VALUES (?,?,?,?,?,?,?)"  # noqa: S608
_OWN, _HUBS = "received_ns = 0", "received_ns > 0"
SELECT_HEADS = f"SELECT {_HEAD} FROM audit_head WHERE {_OWN} ORDER BY id"  # noqa: S608
SELECT_NEWEST_HEAD = f"SELECT {_HEAD} FROM audit_head WHERE {_OWN} ORDER BY id DESC LIMIT 1"  # noqa: S608
SELECT_ANCHORS = f"SELECT {_HEAD} FROM audit_head WHERE {_HUBS} ORDER BY id"  # noqa: S608
SELECT_NEWEST_ANCHOR = f"SELECT {_HEAD} FROM audit_head WHERE {_HUBS} ORDER BY id DESC LIMIT 1"  # noqa: S608
SELECT_ANCHORED = f"SELECT received_ns FROM audit_head WHERE {_HUBS} ORDER BY id DESC LIMIT 1"  # noqa: S608
THIN_ANCHORS = (
    "DELETE FROM audit_head WHERE received_ns > 0 AND received_ns < ?1 AND id NOT IN "
    "(SELECT min(id) FROM audit_head WHERE received_ns > 0 AND received_ns < ?1 GROUP BY trail, received_ns / ?2)"
)

log = structlog.get_logger(__name__)


class State(NamedTuple):
    """The last entry of the trail."""

    trail: str
    n: int
    hash: str


class AuditLog:
    """The trail of one node; called on the event loop, the file's own thread does the work."""

    def __init__(self, file: LogFile, clock: NodeClock) -> None:
        """Use the file of care, which is open."""
        self._file = file
        self._clock = clock

    async def append(self, entries: Sequence[Entry]) -> None:
        """Store entries in their order, and the records that carry them; flushed at once.

        Raises:
            BufferFailure: nothing of it is stored.
        """
        stamp = self._clock.stamp()
        await self._file.write(lambda batch: append(batch, stamp, entries), urgent=True, may_use_reserve=True)

    async def sign(self, seal: Seal) -> Fault | None:
        """Sign how far the trail has come if it grew since it was signed; return what does not verify of it.

        A head that cannot be noted beside its key is told; it is signed all the same.

        Raises:
            BufferFailure: the head is not stored.
        """
        now_ns, stamp = self._clock.now_ns(), self._clock.stamp()
        head, fault = await self._file.write(
            lambda batch: sign_head(batch, stamp, seal, now_ns), urgent=True, may_use_reserve=True
        )
        if head is not None:
            try:
                await asyncio.to_thread(seal.note, head)
            except OSError as error:
                log.warning("audit.head-not-noted", why=error.strerror)
        return fault

    async def keep_anchor(self, head: Head) -> None:
        """Keep a head of the hub's trail.

        Raises:
            BufferFailure: it is not stored.
        """
        now_ns = self._clock.now_ns()
        await self._file.write(lambda batch: keep_anchor(batch.connection, head, now_ns), may_use_reserve=True)

    async def newest_anchor(self) -> Head | None:
        """Return the head of the hub's trail that came last; None where none is kept."""
        return await self._file.read(newest_anchor)


def append(batch: Batch, stamp: Stamp, entries: Sequence[Entry]) -> None:
    """Chain entries to the trail, which begins with the first of them, in the transaction under way."""
    last = state(batch.connection) or _begin()
    for link in chain(last.trail, last.n, last.hash, entries):
        entry = link.entry
        said = (
            entry.at_ns,
            entry.actor,
            entry.role,
            entry.action,
            entry.target,
            entry.result,
            entry.region,
            entry.site,
        )
        batch.connection.execute(INSERT_ENTRY, (last.trail, link.n, *said, link.prev_hash, link.hash))
        _send(batch, stamp, audit_pb2.Audit(entry=entry_message(last.trail, link)))


def sign_head(batch: Batch, stamp: Stamp, seal: Seal, now_ns: int) -> tuple[Head | None, Fault | None]:
    """Follow what was added since the last head, then sign; what does not verify is written into the trail itself.

    Returns:
        The new head, None where nothing was added; and the first thing that is wrong, None where nothing is.
    """
    last, newest = state(batch.connection), newest_head(batch.connection)
    if last is None or (newest is not None and (newest.trail, newest.n, newest.hash) == last):
        return None, None
    fault = _since(batch.connection, newest, seal.last(), last)
    if fault is not None:
        entry = Entry(now_ns, "node", "system", FAULT_ACTION, f"trail/{last.trail}/{fault.n}", fault.finding)
        append(batch, stamp, [entry])
        last = state(batch.connection) or last
    head = sign(seal.key, last.trail, last.n, last.hash, now_ns)
    batch.connection.execute(INSERT_HEAD, (*_row(head), 0))
    _send(batch, stamp, audit_pb2.Audit(head=head_message(head)))
    return head, fault


def keep_anchor(connection: sqlite3.Connection, head: Head, now_ns: int) -> None:
    """Keep a head of the hub; the first of an hour lets go of old ones that lie close together."""
    last = connection.execute(SELECT_ANCHORED).fetchone()
    connection.execute(INSERT_HEAD, (*_row(head), now_ns))
    # All heads are looked through for it, on the thread that commits alarms' answers and care.
    if last is None or last[0] // HOUR_NS != now_ns // HOUR_NS:
        connection.execute(THIN_ANCHORS, (now_ns - FULL_ANCHORS_NS, HOUR_NS))


def state(connection: sqlite3.Connection) -> State | None:
    """Return the last entry; None before the first."""
    row = connection.execute(SELECT_STATE).fetchone()
    return None if row is None else State(*row)


def links(connection: sqlite3.Connection, trail: str, after: int = 0) -> Iterator[Link]:
    """Yield the entries after a number, in order; one that is said to be of another trail has no hash."""
    while rows := connection.execute(SELECT_ENTRIES, (after, PAGE)).fetchall():
        for whose, n, *said, prev_hash, hash_ in rows:
            yield Link(n, Entry(*said), prev_hash, hash_ if whose == trail else "")
        after = rows[-1][1]


def heads(connection: sqlite3.Connection) -> list[Head]:
    """Return the signed heads of this node, oldest first."""
    return [Head(*row) for row in connection.execute(SELECT_HEADS)]


def anchors(connection: sqlite3.Connection) -> list[Head]:
    """Return the heads of the hub that are kept here, oldest first."""
    return [Head(*row) for row in connection.execute(SELECT_ANCHORS)]


def newest_head(connection: sqlite3.Connection) -> Head | None:
    """Return the head that was signed last."""
    row = connection.execute(SELECT_NEWEST_HEAD).fetchone()
    return None if row is None else Head(*row)


def newest_anchor(connection: sqlite3.Connection) -> Head | None:
    """Return the head of the hub that came last."""
    row = connection.execute(SELECT_NEWEST_ANCHOR).fetchone()
    return None if row is None else Head(*row)


def _since(connection: sqlite3.Connection, newest: Head | None, noted: Head | None, last: State) -> Fault | None:
    for head in (newest, noted):
        if head is not None and head.trail == last.trail:
            row = connection.execute(SELECT_HASH, (head.trail, head.n)).fetchone()
            if row is None or row[0] != head.hash:
                return Fault(Finding.CUT if row is None else Finding.REWRITTEN, head.n)
        elif head is not None:
            return Fault(Finding.OTHER_TRAIL, head.n)
    walk = Walk(last.trail)
    if newest is not None:
        walk.resume(newest.n, newest.hash)
    for link in links(connection, last.trail, walk.n):
        fault = walk.take(link)
        if fault is not None:
            return fault
    return None


def _send(batch: Batch, stamp: Stamp, message: audit_pb2.Audit) -> None:
    outbox.append(batch, STREAM, Kind.AUDIT, stamp, message.SerializeToString())


def _begin() -> State:
    trail = new_trail()
    return State(trail, 0, begin(trail))


def _row(head: Head) -> tuple[str | int, ...]:
    return (head.trail, head.n, head.hash, head.at_ns, head.key, head.signature)
