"""Numbers that a node declares given up or damaged: counted for the watermark, kept, never taken for lost on the way.

In the transaction that stores the declaration.  What the hub has of them it keeps: only the missing ones count.
"""

from collections.abc import Collection, Iterable, MutableMapping
from dataclasses import dataclass

from sqlalchemy import Connection, Table, select
from telemed.numbers import epoch_text
from telemed.shed import Reason
from telemed.topics import NodeAddress
from telemed.v1 import shed_pb2

from cloud_hub.store import dialect
from cloud_hub.store.streams import Incoming, StreamKey, Streams
from cloud_hub.store.watermarks import Watermark

KEY = ("stream_id", "epoch", "first", "last")
StreamName = tuple[NodeAddress, str, int]


@dataclass(frozen=True, slots=True)
class Declared:
    """What became of one declaration."""

    address: NodeAddress
    stream: str
    reason: str
    missing: int
    """How many of its numbers the hub did not have."""


def declare(
    connection: Connection,
    table: Table,
    streams: Streams,
    fresh: Iterable[Incoming],
    marks: MutableMapping[StreamName, Watermark],
    now_ns: int,
) -> list[Declared]:
    """Take in the declarations among the records that are stored now for the first time.

    Args:
        connection: the transaction that stores them.
        table: where declared ranges are kept.
        streams: the database's streams and watermarks.
        fresh: the records; all but declarations are passed over.
        marks: gets the new watermark of each stream that a declaration is about, to be receipted.
        now_ns: the hub's clock.
    """
    return [
        _take(connection, table, streams, incoming.address, incoming.message, marks, now_ns)
        for incoming in fresh
        if type(incoming.message) is shed_pb2.Shed
    ]


def given_up(
    connection: Connection, table: Table, stream_ids: Collection[int], from_ns: int, to_ns: int
) -> list[tuple[int, int, bool]]:
    """Return what nodes gave up of streams for want of room in [from_ns, to_ns), the earliest first.

    Each with when its first and last came in (the node's clock) and whether something is left of it.  What came all
    the same, and what nobody knows the time of, is left out.
    """
    c = table.c
    query = (
        select(c.from_ns, c.to_ns, c.reduced_to)
        .where(c.stream_id.in_(list(stream_ids)), c.reason == Reason.DISK, c.missing > 0)
        .where(c.from_ns > 0, c.from_ns < to_ns, c.to_ns >= from_ns)
        .distinct()
        .order_by(c.from_ns, c.to_ns)
    )
    return [(row.from_ns, row.to_ns, bool(row.reduced_to)) for row in connection.execute(query)]


def _take(
    connection: Connection,
    table: Table,
    streams: Streams,
    address: NodeAddress,
    message: shed_pb2.Shed,
    marks: MutableMapping[StreamName, Watermark],
    now_ns: int,
) -> Declared:
    key: StreamKey = (streams.stream_id(connection, address, message.stream, now_ns), epoch_text(message.epoch))
    before = mark = streams.watermark(connection, key)
    rows = []
    for run in message.ranges:
        after = mark.plus_run(run.first, run.last)
        missing = max(0, after.accounted - mark.accounted)
        rows.append((*key, run.first, run.last, *_facts(message), missing, now_ns))
        mark = after
    dialect.insert_new(connection, table, rows, KEY)
    streams.shed(key, [(run.first, run.last) for run in message.ranges])
    if mark != before:
        streams.put(connection, {key: mark}, now_ns)
    marks[address, message.stream, message.epoch] = mark
    return Declared(address, message.stream, message.reason, max(0, mark.accounted - before.accounted))


def _facts(message: shed_pb2.Shed) -> tuple[str, str, int, int]:
    return message.reason, message.reduced_to, message.from_unix_ns, message.to_unix_ns
