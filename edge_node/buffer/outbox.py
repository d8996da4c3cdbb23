"""The numbered log of one file: append, read back, acknowledge (SQL alone, no threads).

A record's number is given inside the transaction that stores it (decision 1).
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace

from telemed.wire import Codec, Kind, Record, Stamp, pack, seal

from edge_node.buffer import failpoint

COLUMNS = "stream, epoch, seq, kind, schema, codec, wall_ns, mono_ns, boot, offset_ms, offset_error_ms, crc, payload"

SELECT_RUN = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq"  # noqa: S608
SELECT_STATE = "SELECT next_seq, acked FROM state WHERE stream = ? AND epoch = ?"
SELECT_WALL = "SELECT wall_ns FROM log WHERE stream = ? AND epoch = ? AND seq = ?"
SELECT_ENDS = "SELECT min(seq), max(seq) FROM log WHERE stream = ? AND epoch = ? AND seq > ?"
SELECT_NEXT_WALL = "SELECT wall_ns FROM log WHERE stream = ? AND epoch = ? AND seq >= ? ORDER BY seq LIMIT 1"
INSERT_RECORD = f"INSERT INTO log ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
UPSERT_STATE = (
    "INSERT INTO state (stream, epoch, next_seq, acked) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (stream, epoch) DO UPDATE SET next_seq = excluded.next_seq, acked = excluded.acked"
)


StreamKey = tuple[str, int]
"""Name of a stream and epoch of the file that gave out its numbers."""


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
    known: Mapping[StreamKey, StreamState]
    """States as of the work before this one."""
    staged: dict[StreamKey, StreamState]
    """States that this work changes; published after the commit."""
    appended: list[Record]
    """Records that this work stores; kept at hand after the commit, because they are sent next."""


def append(batch: Batch, stream: str, kind: Kind, stamp: Stamp, body: bytes) -> Record:
    """Store one record with the next number of its stream and return it."""
    state = _state(batch, (stream, batch.epoch))
    codec, payload = pack(body)
    record = seal(
        stream=stream, kind=kind, epoch=batch.epoch, seq=state.next_seq, stamp=stamp, codec=codec, payload=payload
    )
    batch.connection.execute(INSERT_RECORD, _row(record))
    batch.appended.append(record)
    failpoint.reach("after-insert")
    oldest_ns = stamp.wall_ns if state.waiting == 0 else state.oldest_ns
    _put(batch, replace(state, next_seq=state.next_seq + 1, oldest_ns=oldest_ns))
    return record


def acknowledge(batch: Batch, key: StreamKey, contig: int) -> None:
    """Set how far the hub has a stream; lower than before where the hub was restored from a backup.

    A number that was never given out is not acknowledged: it can only be of another node's making.
    """
    state = _state(batch, key)
    if contig >= state.next_seq or contig == state.acked:
        return
    _put(batch, replace(state, acked=contig, oldest_ns=_wall_ns(batch.connection, key, contig + 1)))


def read_run(connection: sqlite3.Connection, key: StreamKey, first: int, last: int) -> list[Record]:
    """Return the records first to last, both included, that are still there, in order."""
    rows = connection.execute(SELECT_RUN, (key[0], _hex(key[1]), first, last))
    return [record_of(row) for row in rows]


def first_since(connection: sqlite3.Connection, key: StreamKey, after: int, since_ns: int) -> int:
    """Return the lowest number over `after` that came in since then; 0 if there is none.

    Numbers rise with the time of arrival but for the odd clock that was set, so a few looks are enough.
    """
    row = connection.execute(SELECT_ENDS, (key[0], _hex(key[1]), after)).fetchone()
    if row[0] is None:
        return 0
    low, high = row
    if _next_wall_ns(connection, key, high) < since_ns:
        return 0
    while low < high:
        middle = (low + high) // 2
        if _next_wall_ns(connection, key, middle) < since_ns:
            low = middle + 1
        else:
            high = middle
    return int(low)


def load_states(connection: sqlite3.Connection) -> dict[StreamKey, StreamState]:
    """Return the state of every stream, those with an epoch of an earlier file too."""
    found = connection.execute("SELECT stream, epoch, next_seq, acked FROM state").fetchall()
    states = {}
    for stream, epoch, next_seq, acked in found:
        key = (stream, int(epoch, 16))
        states[key] = StreamState(*key, next_seq, acked, _wall_ns(connection, key, acked + 1))
    return states


def record_of(row: tuple[str, str, int, int, int, int, int, int, int, int, int, int, bytes]) -> Record:
    """Return the record that a row of COLUMNS holds."""
    stream, epoch, seq, kind, schema, codec, wall, mono, boot, offset, error_ms, crc, payload = row
    stamp = Stamp(wall, mono, boot, offset, error_ms)
    return Record(stream, kind, schema, Codec(codec), int(epoch, 16), seq, stamp, payload, crc)


def _state(batch: Batch, key: StreamKey) -> StreamState:
    known = batch.staged.get(key) or batch.known.get(key)
    if known is not None:
        return known
    row = batch.connection.execute(SELECT_STATE, (key[0], _hex(key[1]))).fetchone()
    if row is None:
        return StreamState(*key)
    next_seq, acked = row
    return StreamState(*key, next_seq, acked, _wall_ns(batch.connection, key, acked + 1))


def _put(batch: Batch, state: StreamState) -> None:
    batch.connection.execute(UPSERT_STATE, (state.stream, _hex(state.epoch), state.next_seq, state.acked))
    batch.staged[state.stream, state.epoch] = state


def _wall_ns(connection: sqlite3.Connection, key: StreamKey, seq: int) -> int:
    """When a record came in; 0 where it is not there."""
    row = connection.execute(SELECT_WALL, (key[0], _hex(key[1]), seq)).fetchone()
    return int(row[0]) if row else 0


def _next_wall_ns(connection: sqlite3.Connection, key: StreamKey, seq: int) -> int:
    """When the first record from this number on came in."""
    row = connection.execute(SELECT_NEXT_WALL, (key[0], _hex(key[1]), seq)).fetchone()
    return int(row[0]) if row else 0


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
