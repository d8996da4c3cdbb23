"""The site's event log as the hub ordered it, and what this node proposed and has not got back (decision 5)."""

import sqlite3

from telemed.v1 import event_pb2
from telemed.wire import Kind, Stamp

from edge_node.buffer import outbox
from edge_node.buffer.outbox import Batch

CARE_STREAM = "node/care"
SELECT_CURSOR = "SELECT max(site_seq) FROM event"
SELECT_KNOWN = (
    "SELECT EXISTS (SELECT 1 FROM pending WHERE event_id = ?) OR EXISTS (SELECT 1 FROM event WHERE event_id = ?)"
)
INSERT_EVENT = "INSERT INTO event (site_seq, event_id, aggregate_type, aggregate_id, body) VALUES (?, ?, ?, ?, ?)"
INSERT_PENDING = "INSERT INTO pending (event_id, body) VALUES (?, ?)"
DELETE_PENDING = "DELETE FROM pending WHERE event_id = ?"
SELECT_BY_TYPE = "SELECT body FROM event WHERE aggregate_type = ? ORDER BY site_seq"


def propose(batch: Batch, stamp: Stamp, event: event_pb2.Event) -> None:
    """Put an event into the outbox and among the pending ones; an event known already is left as it is."""
    (known,) = batch.connection.execute(SELECT_KNOWN, (event.event_id, event.event_id)).fetchone()
    if known:
        return
    body = event.SerializeToString()
    outbox.append(batch, CARE_STREAM, Kind.EVENT, stamp, body)
    batch.connection.execute(INSERT_PENDING, (event.event_id, body))


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
        batch.connection.execute(INSERT_EVENT, (*values, ordered.SerializeToString()))
        batch.connection.execute(DELETE_PENDING, (event.event_id,))
        applied.append(ordered)
        reached = ordered.site_seq
    return applied


def cursor(connection: sqlite3.Connection) -> int:
    """Return the last site_seq that is stored; 0 at first."""
    (reached,) = connection.execute(SELECT_CURSOR).fetchone()
    return reached or 0


def ordered_events(connection: sqlite3.Connection, aggregate_type: str) -> list[event_pb2.OrderedEvent]:
    """Return the log in order, of one aggregate type or, for "", of all."""
    if aggregate_type:
        rows = connection.execute(SELECT_BY_TYPE, (aggregate_type,))
    else:
        rows = connection.execute("SELECT body FROM event ORDER BY site_seq")
    return [event_pb2.OrderedEvent.FromString(body) for (body,) in rows]


def pending_events(connection: sqlite3.Connection) -> list[event_pb2.Event]:
    """Return what was proposed and has not come back, in the order of proposing."""
    rows = connection.execute("SELECT body FROM pending ORDER BY id")
    return [event_pb2.Event.FromString(body) for (body,) in rows]
