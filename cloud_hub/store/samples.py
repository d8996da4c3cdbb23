"""Measurements as received: taking in, and reading by stream and measurement time.

All functions take a connection; those that write run in the writer thread, in one transaction with the
watermark.  A record is stored once, whatever way and however often it arrives.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from sqlalchemy import Connection, Row, func, select
from telemed.errors import PayloadUnreadable
from telemed.numbers import epoch_text
from telemed.topics import NodeAddress
from telemed.v1 import sample_pb2
from telemed.wire import SCHEMA, Kind, Record, Stamp

from cloud_hub.store import dialect
from cloud_hub.store.boot_clocks import is_unknown
from cloud_hub.store.intake import Ledger
from cloud_hub.store.schema import record, samples_dead_letter, samples_shed, samples_stream, samples_watermark
from cloud_hub.store.streams import Incoming, StreamKey, Streams

_NS_PER_DAY = 86_400 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class StoredStream:
    """A stream that something arrived of."""

    id: int
    address: NodeAddress
    name: str
    device: str

    @property
    def kind(self) -> str:
        """Last part of the name: "numeric" or "wave"."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as stored, with the stream it belongs to and both of its times."""

    stream_id: int
    measured_ns: int
    received_ns: int
    record: Record
    """Its stream name is empty: `stream_id` says which."""
    shift_ns: int = 0
    """By how much `measured_ns` was corrected; what the payload says is the time as it came."""


class SampleLedger(Ledger):
    """The sample store as the intake sees it."""

    def __init__(self) -> None:
        streams = Streams(samples_stream, samples_watermark, samples_shed)
        super().__init__(streams, record, samples_dead_letter, samples_shed)

    def row(self, incoming: Incoming, key: StreamKey, received_ns: int) -> dialect.Row:
        """Return the row to store for a record."""
        item, stamp = incoming.record, incoming.record.stamp
        return (
            *key,
            item.seq,
            stamp.wall_ns // _NS_PER_DAY,
            item.kind,
            item.schema,
            item.codec,
            item.crc,
            stamp.wall_ns,
            stamp.mono_ns,
            stamp.boot,
            stamp.offset_ms,
            stamp.offset_error_ms,
            incoming.measured_ns,
            received_ns,
            item.payload,
            None if is_unknown(stamp) else 0,
        )


def streams_of(connection: Connection, site: str, devices: Sequence[str] = ()) -> list[StoredStream]:
    """Return the streams of a site, of these devices only if any are named."""
    c = samples_stream.c
    query = select(samples_stream).where(c.site == site).order_by(c.id)
    if devices:
        query = query.where(c.device.in_(list(devices)))
    return [
        StoredStream(row.id, NodeAddress(row.region, row.site, row.node), row.name, row.device)
        for row in connection.execute(query)
    ]


def records_between(
    connection: Connection,
    stream_ids: Sequence[int],
    from_ns: int,
    to_ns: int,
    limit: int,
    newest_first: bool = False,
) -> list[StoredRecord]:
    """Return records measured in [from_ns, to_ns), by measurement time, then number; at most `limit`."""
    c = record.c
    order = (c.measured_ns.desc(), c.seq.desc()) if newest_first else (c.measured_ns, c.seq)
    query = (
        select(record)
        .where(c.stream_id.in_(list(stream_ids)), c.measured_ns >= from_ns, c.measured_ns < to_ns)
        .order_by(*order)
        .limit(limit)
    )
    return [_stored(row) for row in connection.execute(query)]


def newest_of(
    connection: Connection, stream_ids: Sequence[int], limit: int = 1, before_ns: int | None = None
) -> list[StoredRecord]:
    """Return the `limit` newest records of each stream by measurement time, newest first within a stream.

    Args:
        connection: any.
        stream_ids: streams to look at.
        limit: records of each stream.
        before_ns: only what was measured before this, if given; a device with a clock in the future
            would otherwise hide the rest.
    """
    c = record.c
    found: list[StoredRecord] = []
    for stream_id in stream_ids:
        query = select(record).where(c.stream_id == stream_id).order_by(c.measured_ns.desc(), c.seq.desc())
        if before_ns is not None:
            query = query.where(c.measured_ns < before_ns)
        found.extend(_stored(row) for row in connection.execute(query.limit(limit)))
    return found


def records_after(
    connection: Connection, after: int, kinds: Sequence[Kind], limit: int
) -> list[tuple[int, StoredRecord]]:
    """Return (arrival, record) of the records of some kinds that arrived after that one, in order; at most `limit`."""
    arrival = dialect.arrival(connection, record)
    is_wanted = record.c.kind.in_([int(kind) for kind in kinds])
    query = select(arrival, record).where(arrival > after, is_wanted).order_by(arrival).limit(limit)
    return [(row[0], _stored(row)) for row in connection.execute(query)]


def last_arrival(connection: Connection) -> int:
    """Return the arrival of the newest record, 0 if there is none."""
    newest = select(func.max(dialect.arrival(connection, record))).select_from(record)
    return connection.execute(newest).scalar_one() or 0


def numeric_set(stored: StoredRecord) -> sample_pb2.NumericSet | None:
    """Return what a stored record holds, at its corrected time; None where it is no numeric set that can be read."""
    if stored.record.kind != Kind.NUMERIC_SET or stored.record.schema != SCHEMA:
        return None
    try:
        sample = sample_pb2.NumericSet.FromString(stored.record.body())
    except (PayloadUnreadable, DecodeError):
        return None
    if stored.shift_ns:
        sample.measured_at_unix_ns = stored.measured_ns
        for value in sample.values:
            # Zero stands for the time of the set.
            value.measured_at_unix_ns = max(0, value.measured_at_unix_ns + stored.shift_ns) * bool(
                value.measured_at_unix_ns
            )
    return sample


def waveform_set(stored: StoredRecord) -> sample_pb2.WaveformSet | None:
    """Return what a stored record holds, at its corrected time; None where it is no waves that can be read."""
    if stored.record.kind != Kind.WAVEFORM_SET or stored.record.schema != SCHEMA:
        return None
    try:
        sample = sample_pb2.WaveformSet.FromString(stored.record.body())
    except (PayloadUnreadable, DecodeError):
        return None
    if stored.shift_ns:
        sample.measured_at_unix_ns = stored.measured_ns
    return sample


def minute_set(stored: StoredRecord) -> sample_pb2.MinuteSet | None:
    """Return what a stored record holds, at its corrected time; None where it is no minute that can be read."""
    if stored.record.kind != Kind.MINUTE_SET or stored.record.schema != SCHEMA:
        return None
    try:
        sample = sample_pb2.MinuteSet.FromString(stored.record.body())
    except (PayloadUnreadable, DecodeError):
        return None
    if stored.shift_ns:
        sample.minute_unix_ns = stored.measured_ns
        for value in sample.values:
            value.last_unix_ns = max(0, value.last_unix_ns + stored.shift_ns)
    return sample


def record_by_key(connection: Connection, stream_id: int, epoch: int, seq: int) -> StoredRecord | None:
    """Return one record by its identity, None if it is not stored."""
    c = record.c
    query = select(record).where(c.stream_id == stream_id, c.epoch == epoch_text(epoch), c.seq == seq)
    row = connection.execute(query).first()
    return None if row is None else _stored(row)


def _stored(row: Row[Any]) -> StoredRecord:
    stamp = Stamp(row.wall_ns, row.mono_ns, row.boot, row.offset_ms, row.offset_error_ms)
    item = Record("", row.kind, row.schema, row.codec, int(row.epoch, 16), row.seq, stamp, row.payload, row.crc)
    return StoredRecord(row.stream_id, row.measured_ns, row.received_ns, item, row.shift_ns or 0)
