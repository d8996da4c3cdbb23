"""The numbered log of one file: append, read back, acknowledge (SQL alone, no threads).

A record's number is given inside the transaction that stores it (decision 1).
"""

import sqlite3
from dataclasses import dataclass, replace

from telemed.wire import Codec, Kind, Record, Stamp, pack, seal

from edge_node.buffer import failpoint

COLUMNS = "stream, epoch, seq, kind, schema, codec, wall_ns, mono_ns, boot, offset_ms, offset_error_ms, crc, payload"

SELECT_RUN = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq"  # noqa: S608
SELECT_STATE = "SELECT next_seq, acked FROM state WHERE stream = ? AND epoch = ?"
SELECT_WALL = "SELECT wall_ns FROM log WHERE stream = ? AND epoch = ? AND seq = ?"
INSERT_RECORD = f"INSERT INTO log ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
UPSERT_STATE = (
    "INSERT INTO state (stream, epoch, next_seq, acked) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (stream, epoch) DO UPDATE SET next_seq = excluded.next_seq, acked = excluded.acked"
)


@dataclass(frozen=True, slots=True)
class StreamState:
    """How far a stream has come."""

    stream: str
    epoch: int
    next_seq: int = 1
    """Number that the next record gets."""
    acked: int = 0
    """Every record up to this one is committed at the hub."""
    oldest_ns: int = 0
    """When the oldest record that is not acked came in, wall clock; 0 = none waits."""

    @property
    def waiting(self) -> int:
        """Number of records that the hub has not acknowledged."""
        return self.next_seq - 1 - self.acked


@dataclass(frozen=True, slots=True)
class Batch:
    """The writer's open transaction, as a piece of work sees it."""

    connection: sqlite3.Connection
    epoch: int
    staged: dict[str, StreamState]
    """States that this work changes; published after the commit."""


def append(batch: Batch, stream: str, kind: Kind, stamp: Stamp, body: bytes) -> Record:
    """Store one record with the next number of its stream and return it."""
    state = _state(batch, stream)
    codec, payload = pack(body)
    record = seal(
        stream=stream, kind=kind, epoch=batch.epoch, seq=state.next_seq, stamp=stamp, codec=codec, payload=payload
    )
    batch.connection.execute(INSERT_RECORD, _row(record))
    failpoint.reach("after-insert")
    oldest_ns = stamp.wall_ns if state.waiting == 0 else state.oldest_ns
    _put(batch, replace(state, next_seq=state.next_seq + 1, oldest_ns=oldest_ns))
    return record


def acknowledge(batch: Batch, stream: str, contig: int) -> None:
    """Set how far the hub has a stream; lower than before where the hub was restored from a backup.

    A number that was never given out is not acknowledged: it can only be of another node's making.
    """
    state = _state(batch, stream)
    if contig >= state.next_seq or contig == state.acked:
        return
    row = batch.connection.execute(SELECT_WALL, (stream, _hex(batch.epoch), contig + 1)).fetchone()
    _put(batch, replace(state, acked=contig, oldest_ns=row[0] if row else 0))


def read_run(connection: sqlite3.Connection, stream: str, epoch: int, first: int, last: int) -> list[Record]:
    """Return the records first to last, both included, that are still there, in order."""
    rows = connection.execute(SELECT_RUN, (stream, _hex(epoch), first, last))
    return [record_of(row) for row in rows]


def load_states(connection: sqlite3.Connection, epoch: int) -> dict[str, StreamState]:
    """Return the state of every stream of this epoch."""
    found = connection.execute("SELECT stream, next_seq, acked FROM state WHERE epoch = ?", (_hex(epoch),)).fetchall()
    states = {}
    for stream, next_seq, acked in found:
        row = connection.execute(SELECT_WALL, (stream, _hex(epoch), acked + 1)).fetchone()
        states[stream] = StreamState(stream, epoch, next_seq, acked, row[0] if row else 0)
    return states


def record_of(row: tuple[str, str, int, int, int, int, int, int, int, int, int, int, bytes]) -> Record:
    """Return the record that a row of COLUMNS holds."""
    stream, epoch, seq, kind, schema, codec, wall, mono, boot, offset, error_ms, crc, payload = row
    stamp = Stamp(wall, mono, boot, offset, error_ms)
    return Record(stream, kind, schema, Codec(codec), int(epoch, 16), seq, stamp, payload, crc)


def _state(batch: Batch, stream: str) -> StreamState:
    if stream in batch.staged:
        return batch.staged[stream]
    row = batch.connection.execute(SELECT_STATE, (stream, _hex(batch.epoch))).fetchone()
    if row is None:
        return StreamState(stream, batch.epoch)
    next_seq, acked = row
    oldest = batch.connection.execute(SELECT_WALL, (stream, _hex(batch.epoch), acked + 1)).fetchone()
    return StreamState(stream, batch.epoch, next_seq, acked, oldest[0] if oldest else 0)


def _put(batch: Batch, state: StreamState) -> None:
    batch.connection.execute(UPSERT_STATE, (state.stream, _hex(state.epoch), state.next_seq, state.acked))
    batch.staged[state.stream] = state


def _row(record: Record) -> tuple[str | int | bytes, ...]:
    stamp = record.stamp
    return (
        record.stream,
        _hex(record.epoch),
        record.seq,
        record.kind,
        record.schema,
        record.codec,
        stamp.wall_ns,
        stamp.mono_ns,
        stamp.boot,
        stamp.offset_ms,
        stamp.offset_error_ms,
        record.crc,
        record.payload,
    )


def _hex(epoch: int) -> str:
    return f"{epoch:016x}"
