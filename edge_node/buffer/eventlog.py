"""The site's event log as the hub ordered it, and what this node proposed and has not got back (decision 5)."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator

import structlog
from telemed import erasure
from telemed.v1 import event_pb2
from telemed.wire import Kind, Stamp

from edge_node.buffer import outbox
from edge_node.buffer.keyring import CARE_SCOPE, Place
from edge_node.buffer.outbox import Batch
from edge_node.buffer.sealing import LOCKED

log = structlog.get_logger(__name__)

CARE_STREAM = "node/care"
PLACE = Place(CARE_SCOPE, 0)
ABOUT_EVENT, ABOUT_PENDING = "'event ' || site_seq", "'pending ' || event_id"
SELECT_CURSOR = "SELECT max(site_seq) FROM event"
SELECT_FIRST_LOCKED = f"SELECT min(site_seq) FROM event WHERE opened({ABOUT_EVENT}, body) IS {LOCKED}"  # noqa: S608
SELECT_KNOWN = (
    "SELECT EXISTS (SELECT 1 FROM pending WHERE event_id = ?) OR EXISTS (SELECT 1 FROM event WHERE event_id = ?)"
)
INSERT_EVENT = "INSERT INTO event (site_seq, event_id, aggregate_type, aggregate_id, body) VALUES (?, ?, ?, ?, ?)"
REPLACE_EVENT = (
    f"{INSERT_EVENT} ON CONFLICT (site_seq) DO UPDATE SET event_id = excluded.event_id, "
    "aggregate_type = excluded.aggregate_type, aggregate_id = excluded.aggregate_id, body = excluded.body"
)
INSERT_PENDING = "INSERT INTO pending (event_id, body) VALUES (?, ?)"
DELETE_PENDING = "DELETE FROM pending WHERE event_id = ?"
UPDATE_BODY = "UPDATE event SET body = ? WHERE site_seq = ?"
SELECT_BY_TYPE = (
    f"SELECT site_seq, opened({ABOUT_EVENT}, body) FROM event "  # noqa: S608
    "WHERE aggregate_type = ? AND site_seq <= ? ORDER BY site_seq"
)
SELECT_ALL = f"SELECT site_seq, opened({ABOUT_EVENT}, body) FROM event WHERE site_seq <= ? ORDER BY site_seq"  # noqa: S608
SELECT_PENDING = f"SELECT event_id, opened({ABOUT_PENDING}, body) FROM pending ORDER BY id"  # noqa: S608


def propose(batch: Batch, stamp: Stamp, event: event_pb2.Event) -> None:
    """Put an event into the outbox and among the pending ones; an event known already is left as it is."""
    (known,) = batch.connection.execute(SELECT_KNOWN, (event.event_id, event.event_id)).fetchone()
    if known:
        return
    body = event.SerializeToString()
    outbox.append(batch, CARE_STREAM, Kind.EVENT, stamp, body)
    stored = batch.sealing.seal(PLACE, body, f"pending {event.event_id}")
    batch.connection.execute(INSERT_PENDING, (event.event_id, stored))


def apply_page(batch: Batch, page: event_pb2.EventPage) -> list[event_pb2.OrderedEvent]:
    """Store the events of a page that come next, in order; stop at a gap, leave out what is known.

    Returns:
        Those newly stored.  An event that came back, ordered or refused, is no longer pending.
    """
    reached = cursor(batch.connection)
    applied = []
    for ordered in sorted(page.events, key=lambda each: each.site_seq):
        if ordered.site_seq <= reached:
            continue
        if ordered.site_seq != reached + 1:
            break
        event = ordered.event
        values = (ordered.site_seq, event.event_id, event.aggregate_type, event.aggregate_id)
        stored = batch.sealing.seal(PLACE, ordered.SerializeToString(), f"event {ordered.site_seq}")
        batch.connection.execute(REPLACE_EVENT, (*values, stored))
        batch.connection.execute(DELETE_PENDING, (event.event_id,))
        applied.append(ordered)
        reached = ordered.site_seq
    _erase(batch, [ordered for ordered in applied if is_erasure(ordered)])
    return applied


def is_erasure(ordered: event_pb2.OrderedEvent) -> bool:
    """Return whether an event took a person out of the log."""
    return ordered.event.WhichOneof("body") == "person_erased" and not ordered.refused


def left_by(
    erasures: Collection[event_pb2.OrderedEvent], log_: Iterable[event_pb2.OrderedEvent]
) -> Iterator[event_pb2.OrderedEvent | None]:
    """Yield for each event of the log what is left of it by these erasures; None where it stays as it is.

    One look at the log however many they are: a node that starts has all of them before it.
    """
    numbers = [number for row in erasures for number in row.event.person_erased.emptied]
    return erasure.about(log_, {row.event.aggregate_id for row in erasures}, numbers)


def _erase(batch: Batch, erasures: Collection[event_pb2.OrderedEvent]) -> None:
    """Take every word about some persons out of what is stored; numbers and versions stay what they were."""
    if not erasures:
        return
    with outbox.overwriting(batch.connection):
        for ordered in left_by(erasures, ordered_events(batch.connection, "")):
            if ordered is not None:
                stored = batch.sealing.seal(PLACE, ordered.SerializeToString(), f"event {ordered.site_seq}")
                batch.connection.execute(UPDATE_BODY, (stored, ordered.site_seq))


def cursor(connection: sqlite3.Connection) -> int:
    """Return the last site_seq up to which everything is stored and can be read; 0 at first.

    What cannot be read because its key is not there is asked for again: the hub has it, and says the same of it.
    """
    if connection.execute("SELECT has_locked()").fetchone()[0]:
        (locked,) = connection.execute(SELECT_FIRST_LOCKED).fetchone()
        if locked is not None:
            return int(locked) - 1
    (reached,) = connection.execute(SELECT_CURSOR).fetchone()
    return reached or 0


def ordered_events(connection: sqlite3.Connection, aggregate_type: str) -> list[event_pb2.OrderedEvent]:
    """Return the log in order, up to what cannot be read, of one aggregate type or, for "", of all."""
    upto = cursor(connection)
    rows = connection.execute(*((SELECT_BY_TYPE, (aggregate_type, upto)) if aggregate_type else (SELECT_ALL, (upto,))))
    return [event_pb2.OrderedEvent.FromString(body) for number, body in rows if _is_readable(number, body)]


def pending_events(connection: sqlite3.Connection) -> list[event_pb2.Event]:
    """Return what was proposed and has not come back, in the order of proposing."""
    rows = connection.execute(SELECT_PENDING)
    return [event_pb2.Event.FromString(body) for name, body in rows if _is_readable(name, body)]


def _is_readable(name: int | str, body: object) -> bool:
    if body is None:
        log.error("buffer.event-unreadable", which=name)
    return isinstance(body, bytes)
