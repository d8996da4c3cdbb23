"""Numbers given up: the declaration is stored in the transaction that deletes the rows, and travels as a record.

Nothing of a stream ends without one, so that the hub can tell what was given up from what was lost.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable
from telemed.numbers import Run, epoch_text
from telemed.shed import RANGES_LIMIT, Reason, may_declare, stream_for
from telemed.v1 import shed_pb2, uplink_pb2
from telemed.wire import Kind, Stamp

from edge_node.buffer import outbox
from edge_node.buffer.outbox import Batch, Gone, StreamKey, StreamState
from edge_node.buffer.thinning import Reduced

SHED_KIND = "shed"
"""Last part of the name of the stream of declarations about measurements."""
EXTEND_SHED = "UPDATE shed SET last = ?, at_ns = ? WHERE stream = ? AND epoch = ? AND last = ?"
INSERT_SHED = (
    "INSERT INTO shed (stream, epoch, first, last, at_ns) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (stream, epoch, first) DO UPDATE SET last = max(last, excluded.last)"
)


class GivenUp(NamedTuple):
    """Numbers of one stream and why they are given up."""

    key: StreamKey
    runs: Sequence[Run]
    """Ascending and disjoint."""
    reason: Reason
    acked: int
    """How far the hub has the stream."""
    from_ns: int = 0
    """When the first and the last of them came in; 0 = not known."""
    to_ns: int = 0


def shed(batch: Batch, stamp: Stamp, given_up: GivenUp, reduced: Sequence[Reduced] = ()) -> None:
    """Delete rows, store what is left of them, and declare it, all in one transaction."""
    key = given_up.key
    with outbox.freeing(batch):
        # First, so that the pages that this empties are there for the rest.
        for run in given_up.runs:
            outbox.delete_run(batch.connection, key, run)
        for each in reduced:
            outbox.append(batch, each.stream, each.kind, each.stamp, each.body)
        declare(batch, stamp, given_up, reduced[0].stream if reduced else "")


def declare(batch: Batch, stamp: Stamp, given_up: GivenUp, reduced_to: str = "") -> None:
    """Store the declaration that these numbers will never come."""
    key = given_up.key
    for at in range(0, len(given_up.runs), RANGES_LIMIT):
        message = shed_pb2.Shed(
            stream=key.stream,
            epoch=key.epoch,
            reason=given_up.reason,
            from_unix_ns=given_up.from_ns,
            to_unix_ns=given_up.to_ns,
            reduced_to=reduced_to,
        )
        some = given_up.runs[at : at + RANGES_LIMIT]
        message.ranges.extend(uplink_pb2.SeqRange(first=first, last=last) for first, last in some)
        outbox.append(batch, stream_for(key.stream), Kind.SHED, stamp, message.SerializeToString())
    for run in given_up.runs:
        _note(batch.connection, key, run, stamp.wall_ns)
    oldest_ns = outbox.arrived_ns(batch.connection, key, given_up.acked + 1)
    batch.shed.append(Gone(key, list(given_up.runs), oldest_ns, given_up.reason is Reason.DISK))


def last_for_room(connection: sqlite3.Connection, states: Iterable[StreamState]) -> dict[StreamKey, int]:
    """Return the last number of each stream that was given up for want of room, by declarations not yet receipted."""
    found: dict[StreamKey, int] = {}
    for state in states:
        if state.key.kind == SHED_KIND and state.waiting > 0:
            for message in _declarations(connection, state):
                key = StreamKey(message.stream, message.epoch)
                found[key] = max(found.get(key, 0), *(run.last for run in message.ranges))
    return found


def _declarations(connection: sqlite3.Connection, state: StreamState) -> Iterator[shed_pb2.Shed]:
    for record in outbox.read_run(connection, state.key, state.acked + 1, state.next_seq - 1):
        with contextlib.suppress(PayloadUnreadable, DecodeError, TypeError):
            message = shed_pb2.Shed.FromString(record.body())
            if message.reason == Reason.DISK and may_declare(record.stream, message.stream, message.reason):
                yield message


def _note(connection: sqlite3.Connection, key: StreamKey, run: Run, at_ns: int) -> None:
    epoch = epoch_text(key.epoch)
    extended = connection.execute(EXTEND_SHED, (run[1], at_ns, key.stream, epoch, run[0] - 1))
    if not extended.rowcount:
        connection.execute(INSERT_SHED, (key.stream, epoch, *run, at_ns))
