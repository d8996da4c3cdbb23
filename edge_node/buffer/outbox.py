"""The numbered log of one file: append, read back, acknowledge (SQL alone, no threads).

A record's number is given inside the transaction that stores it (decision 1).
"""

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from telemed.numbers import Run, epoch_text
from telemed.topics import CLASS_OF
from telemed.wire import Codec, Kind, Record, Stamp, is_sound, pack, seal

from edge_node.buffer import failpoint
from edge_node.buffer.keyring import Place
from edge_node.buffer.sealing import LOCKED, Sealing, day_of

_HEAD = "stream, epoch, seq, kind, schema, codec, wall_ns, mono_ns, boot, offset_ms, offset_error_ms, crc"
STORED = f"{_HEAD}, payload"
"""A row as it is stored."""
ABOUT = "'log ' || stream || ' ' || epoch || ' ' || seq"
COLUMNS = f"{_HEAD}, opened({ABOUT}, payload)"
"""What `record_of` makes a record of; `opened` is there on the connections of a `LogFile`."""
SEALED_CRC = -1
"""Stands for the checksum where that is sealed with the payload: in the open it would tell a thief whose guess at the
values is right.  It is made once over what was packed, as ever, and is what goes over the wire."""

SELECT_RUN = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ? ORDER BY seq"  # noqa: S608
SELECT_NEXT = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq LIMIT ?"  # noqa: S608
LOOK_AHEAD_ROWS = 256
SELECT_JUMPS = (
    "SELECT seq, following FROM (SELECT seq, lead(seq, 1, ?) OVER (ORDER BY seq) AS following FROM log "
    "WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ?) WHERE following > seq + 1"
)
SELECT_WALL = (
    "SELECT wall_ns FROM log WHERE stream = ? AND epoch = ? AND seq >= ? AND typeof(wall_ns) = 'integer' "
    "ORDER BY seq LIMIT 1"
)
SELECT_NEWEST_WALL = "SELECT wall_ns FROM log WHERE typeof(wall_ns) = 'integer' ORDER BY id DESC LIMIT 1"
SELECT_ENDS = "SELECT min(seq), max(seq) FROM log WHERE stream = ? AND epoch = ? AND seq > ?"
SELECT_NEXT_STREAM = "SELECT stream, epoch FROM log WHERE (stream, epoch) > (?, ?) ORDER BY stream, epoch LIMIT 1"
INSERT_RECORD = f"INSERT INTO log ({STORED}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
INSERT_KEYED = f"INSERT INTO log ({STORED}, key) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"  # noqa: S608
RENUMBER = (
    "UPDATE log SET epoch = ?, seq = ?, schema = ?, crc = ?, payload = ? WHERE stream = ? AND epoch = ? AND seq = ?"
)
SECURE_DELETE = ("OFF", "ON", "FAST")
"""What SQLite calls the values of that pragma, by what it answers."""
UNREADABLE_CODEC = 255
"""Of a record whose row the disk has changed: whoever opens it finds that it cannot be read."""
LOCKED_CODEC = 254
"""Of a record whose key is not there: it waits until it is."""
_CRC = struct.Struct(">I")
SELECT_STATES = "SELECT stream, epoch, next_seq, acked FROM state ORDER BY rowid"
SELECT_SHED = "SELECT stream, epoch, first, last FROM shed ORDER BY stream, epoch, first"
SELECT_SHED_FROM = "SELECT first, last FROM shed WHERE stream = ? AND epoch = ? AND last >= ? ORDER BY first"
DELETE_SHED = "DELETE FROM shed WHERE stream = ? AND epoch = ? AND last <= ?"
SELECT_LATER = (
    "SELECT 1 FROM state WHERE stream = ?1 AND acked > 0 "
    "AND rowid > (SELECT rowid FROM state WHERE stream = ?1 AND epoch = ?2)"
)
DELETE_RUN = "DELETE FROM log WHERE stream = ? AND epoch = ? AND seq BETWEEN ? AND ?"
UPSERT_STATE = (
    "INSERT INTO state (stream, epoch, next_seq, acked) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (stream, epoch) DO UPDATE SET next_seq = excluded.next_seq, acked = excluded.acked"
)


class StreamKey(NamedTuple):
    """Name of a stream and epoch of the file that gave out its numbers."""

    stream: str
    epoch: int

    @property
    def kind(self) -> str:
        """Last part of the name: what the stream carries."""
        return self.stream.rpartition("/")[2]


class StreamState(NamedTuple):
    """How far a stream has come."""

    stream: str
    epoch: int
    next_seq: int = 1
    """Number that the next record gets."""
    acked: int = 0
    """Every record up to this one is committed at the hub."""
    oldest_ns: int = 0
    """When the oldest record that is not acked came in, wall clock; 0 = none waits."""
    gone: int = 0
    """How many of the numbers that are not acked were declared given up: nothing waits under them."""
    is_closed: bool = False
    """Whether its epoch is over: no more numbers are given out, and those of a former self may be at the hub."""

    @property
    def key(self) -> StreamKey:
        """Name and epoch."""
        return StreamKey(self.stream, self.epoch)

    @property
    def waiting(self) -> int:
        """Number of records that the hub has not acknowledged."""
        return self.next_seq - 1 - self.acked - self.gone

    def with_record(self, record: Record) -> "StreamState":
        """Return the state after this record was stored."""
        stream, epoch, next_seq, acked, oldest_ns, gone, is_closed = self
        oldest_ns = oldest_ns if next_seq - 1 - acked - gone else record.stamp.wall_ns
        return StreamState(stream, epoch, record.seq + 1, acked, oldest_ns, gone, is_closed)


class Gone(NamedTuple):
    """Runs of a stream that were declared given up, and what is left of it."""

    key: StreamKey
    runs: list[Run]
    oldest_ns: int
    """When the oldest record came in that still waits; 0 = none does."""
    is_for_room: bool = False
    """Whether there was too little room for them."""


@dataclass(slots=True)
class Numbers:
    """The next number of each stream of a file, as the writer gives them out."""

    epoch: int
    given: dict[str, int] = field(default_factory=dict)
    """Stream of this epoch -> next number, as of the last commit."""

    def begin(self, epoch: int) -> None:
        """Number everything from 1 on, under another epoch."""
        self.epoch = epoch
        self.given.clear()


@dataclass(slots=True)
class Batch:
    """The writer's open transaction, as a piece of work sees it."""

    connection: sqlite3.Connection
    numbers: Numbers
    sealing: Sealing
    taken: dict[str, int] = field(default_factory=dict)
    """Next numbers as this transaction changes them."""
    appended: list[Record] = field(default_factory=list)
    """Records that this work stores; published after the commit."""
    shed: list["Gone"] = field(default_factory=list)
    """Runs that this work declares given up; published after the commit."""
    freed_pages: int = 0
    """How many pages this work emptied, so that a clean-up does not hide what came in."""
    after_commit: list[Callable[[], None]] = field(default_factory=list)
    """Called in the writer's thread, once what this work did is committed."""

    @property
    def epoch(self) -> int:
        """Epoch of the file."""
        return self.numbers.epoch


@contextlib.contextmanager
def freeing(batch: Batch) -> Iterator[None]:
    """Count the pages that the work inside empties, less those that it fills."""
    before = used_pages(batch.connection)
    yield
    batch.freed_pages += before - used_pages(batch.connection)


def used_pages(connection: sqlite3.Connection) -> int:
    """Return how many pages of the file hold something, in the transaction under way."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(pages - free)


def append(batch: Batch, stream: str, kind: Kind, stamp: Stamp, body: bytes, key: bytes | None = None) -> Record:
    """Store one record with the next number of its stream and return it.

    Args:
        batch: the open transaction.
        stream: name of the stream.
        kind: what the body is.
        stamp: when it came in.
        body: the payload, not packed.
        key: what the message is known by that brought it, for its first record.
    """
    seq = batch.taken.get(stream) or batch.numbers.given.get(stream, 1)
    codec, payload = pack(body)
    record = seal(stream=stream, kind=kind, epoch=batch.epoch, seq=seq, stamp=stamp, codec=codec, payload=payload)
    if key is None:
        batch.connection.execute(INSERT_RECORD, _row(record, batch.sealing))
    else:
        batch.connection.execute(INSERT_KEYED, (*_row(record, batch.sealing), key))
    batch.taken[stream] = seq + 1
    batch.appended.append(record)
    failpoint.reach("after-insert")
    return record


def renumber(batch: Batch, record: Record) -> None:
    """Give a record the next number of its stream in place of its own."""
    seq = batch.taken.get(record.stream) or batch.numbers.given.get(record.stream, 1)
    fresh = seal(
        stream=record.stream, kind=Kind(record.kind), epoch=batch.epoch, seq=seq, stamp=record.stamp,
        codec=Codec(record.codec), payload=record.payload,
    )  # fmt: skip
    where = (record.stream, epoch_text(record.epoch), record.seq)
    stored = sealed(fresh, batch.sealing)
    batch.connection.execute(RENUMBER, (epoch_text(fresh.epoch), fresh.seq, fresh.schema, *stored, *where))
    batch.taken[record.stream] = seq + 1
    batch.appended.append(fresh)


def save(batch: Batch, states: Iterable[StreamState]) -> None:
    """Write down how far streams have come; declared runs that the hub has receipted need not be known any more."""
    rows = [(state.stream, epoch_text(state.epoch), state.next_seq, state.acked) for state in states]
    batch.connection.executemany(UPSERT_STATE, rows)
    batch.connection.executemany(DELETE_SHED, [(stream, epoch, acked) for stream, epoch, _, acked in rows])


def forget(batch: Batch, keys: Iterable[StreamKey]) -> list[StreamKey]:
    """Delete the states of streams that have no records any more; return which those are.

    What is known of the newest epoch that the hub has of a stream stays: it shows that its numbers go on from there.
    """
    gone = []
    for key in keys:
        where = (key.stream, epoch_text(key.epoch))
        (first, _) = batch.connection.execute(SELECT_ENDS, (*where, 0)).fetchone()
        if first is None and batch.connection.execute(SELECT_LATER, where).fetchone():
            batch.connection.execute("DELETE FROM state WHERE stream = ? AND epoch = ?", where)
            gone.append(key)
    return gone


def read_run(connection: sqlite3.Connection, key: StreamKey, first: int, last: int) -> list[Record]:
    """Return the records first to last, both included, that are still there, in order; if none is, the next one."""
    rows = connection.execute(SELECT_RUN, (key.stream, epoch_text(key.epoch), first, last)).fetchall()
    rows = rows or connection.execute(SELECT_NEXT, (key.stream, epoch_text(key.epoch), last, 1)).fetchall()
    return [record_of(row) for row in rows]


class Sound(NamedTuple):
    """What a reading found that may be sent."""

    records: list[Record]
    has_damaged: bool
    """Whether it passed over records whose checksum fails; those whose key is not there are no damage."""


def read_sound(connection: sqlite3.Connection, key: StreamKey, first: int, last: int) -> Sound:
    """Return the sound records first to last, both included, in order; if none is, the next sound one."""
    found = read_run(connection, key, first, last)
    sound = [record for record in found if is_sound(record)]
    has_damaged = any(not is_sound(record) and not is_locked(record) for record in found)
    while found and not sound:
        where = (key.stream, epoch_text(key.epoch), found[-1].seq, LOOK_AHEAD_ROWS)
        found = [record_of(row) for row in connection.execute(SELECT_NEXT, where)]
        sound = [record for record in found if is_sound(record)][:1]
    return Sound(sound, has_damaged)


@contextlib.contextmanager
def overwriting(connection: sqlite3.Connection) -> Iterator[None]:
    """Have what is deleted or replaced meanwhile be overwritten, not only given free; then it is as it was before."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {SECURE_DELETE[before]}").fetchone()


def delete_run(connection: sqlite3.Connection, key: StreamKey, run: Run) -> int:
    """Delete the records of a run; return how many there were."""
    return connection.execute(DELETE_RUN, (key.stream, epoch_text(key.epoch), *run)).rowcount


def undeclared(connection: sqlite3.Connection, key: StreamKey, first: int, last: int) -> list[Run]:
    """Return the runs between first and last, both included, of which there is neither a record nor a declaration.

    A declaration that the hub has receipted is not known any more.
    """
    # In this order: what is declared in between is then left out.
    left = missing(connection, key, first, last)
    for low, high in connection.execute(SELECT_SHED_FROM, (key.stream, epoch_text(key.epoch), first)):
        parts = [((a, min(b, low - 1)), (max(a, high + 1), b)) for a, b in left]
        left = [run for pair in parts for run in pair if run[0] <= run[1]]
    return left


def missing(connection: sqlite3.Connection, key: StreamKey, first: int, last: int) -> list[Run]:
    """Return the runs of numbers between first and last, both included, of which there is no record."""
    if first > last:
        return []
    (begin, _) = connection.execute(SELECT_ENDS, (key.stream, epoch_text(key.epoch), first - 1)).fetchone()
    if begin is None or begin > last:
        return [(first, last)]
    jumps = connection.execute(SELECT_JUMPS, (last + 1, key.stream, epoch_text(key.epoch), first, last))
    head = [(first, begin - 1)] if begin > first else []
    return head + [(seq + 1, following - 1) for seq, following in jumps]


def arrived_ns(connection: sqlite3.Connection, key: StreamKey, seq: int) -> int:
    """Return when the first record from this number on came in; 0 where there is none."""
    row = connection.execute(SELECT_WALL, (key.stream, epoch_text(key.epoch), seq)).fetchone()
    return int(row[0]) if row else 0


def newest_ns(connection: sqlite3.Connection) -> int:
    """Return when the newest record of the file came in; 0 where there is none."""
    row = connection.execute(SELECT_NEWEST_WALL).fetchone()
    return int(row[0]) if row else 0


def first_since(connection: sqlite3.Connection, key: StreamKey, after: int, since_ns: int) -> int:
    """Return the lowest number over `after` that came in since then; 0 if there is none.

    Numbers rise with the time of arrival but for the odd clock that was set, so a few looks are enough.
    """
    low, high = connection.execute(SELECT_ENDS, (key.stream, epoch_text(key.epoch), after)).fetchone()
    if low is None or arrived_ns(connection, key, high) < since_ns:
        return 0
    while low < high:
        middle = (low + high) // 2
        if arrived_ns(connection, key, middle) < since_ns:
            low = middle + 1
        else:
            high = middle
    return int(low)


def load_states(connection: sqlite3.Connection) -> dict[StreamKey, StreamState]:
    """Return the state of every stream, those of earlier epochs too, in the order in which they were written down.

    What was written down last may be some seconds old: the log itself says which number was the last, and so do the
    declarations where the log has been emptied since.  Rows whose name is none are damaged, and passed over.
    """
    saved = {}
    for stream, epoch, next_seq, acked in connection.execute(SELECT_STATES):
        found = _key(stream, epoch)
        if found is not None:
            saved[found] = (next_seq, acked)
    shed = load_shed(connection)
    states = {}
    for key in dict.fromkeys([*saved, *_logged(connection), *shed]):
        next_seq, acked = saved.get(key, (1, 0))
        (_, last) = connection.execute(SELECT_ENDS, (key.stream, epoch_text(key.epoch), 0)).fetchone()
        declared = max((run[1] for run in shed.get(key, [])), default=0)
        next_seq = max(_number(next_seq), _number(last) + 1, declared + 1)
        acked = min(_number(acked), next_seq - 1)
        states[key] = StreamState(*key, next_seq, acked, arrived_ns(connection, key, acked + 1))
    return states


def load_shed(connection: sqlite3.Connection) -> dict[StreamKey, list[Run]]:
    """Return the declared runs of each stream, ascending."""
    found: dict[StreamKey, list[Run]] = {}
    for stream, epoch, first, last in connection.execute(SELECT_SHED):
        key = _key(stream, epoch)
        if key is not None:
            found.setdefault(key, []).append((first, last))
    return found


def record_of(row: tuple[Any, ...]) -> Record:
    """Return the record that a row of COLUMNS holds; where the disk changed what a column is, one that is not sound."""
    stream, epoch, seq, kind, schema, codec, wall, mono, boot, offset, error_ms, crc, payload = row
    if crc == SEALED_CRC and type(payload) is bytes and len(payload) >= _CRC.size:
        (crc,), payload = _CRC.unpack_from(payload), payload[_CRC.size :]
    numbers = (seq, kind, schema, codec, wall, mono, boot, offset, error_ms, crc)
    if type(payload) is not bytes or any(type(number) is not int for number in numbers):
        nowhere, why = Stamp(0, 0, 0), LOCKED_CODEC if payload == LOCKED else UNREADABLE_CODEC
        return Record(stream, 0, 0, why, _epoch_number(epoch), _number(seq), nowhere, b"", 0)
    stamp = Stamp(wall, mono, boot, offset, error_ms)
    return Record(stream, kind, schema, codec, _epoch_number(epoch), seq, stamp, payload, crc)


def is_locked(record: Record) -> bool:
    """Return whether the key of a record is not there, so that nobody can say whether it is sound."""
    return record.codec == LOCKED_CODEC


def opened_row(row: Sequence[Any], sealing: Sealing) -> Record:
    """Return the record that a row of STORED holds."""
    stream, epoch, seq = row[:3]
    return record_of((*row[:-1], sealing.opened(f"log {stream} {epoch} {seq}", row[-1])))


def sealed(record: Record, sealing: Sealing) -> tuple[int, bytes]:
    """Return checksum and payload of a record as they are stored."""
    if not sealing.is_on:
        return record.crc, record.payload
    place = Place(record.stream.rpartition("/")[0], day_of(record.stamp.wall_ns))
    about = f"log {record.stream} {epoch_text(record.epoch)} {record.seq}"
    return SEALED_CRC, sealing.seal(place, with_crc(record.crc, record.payload), about)


def is_checksum(crc: object) -> bool:
    """Return whether a column holds what can be a checksum."""
    return isinstance(crc, int) and 0 <= crc < 2**32


def with_crc(crc: int, payload: bytes) -> bytes:
    """Return what is sealed of a row: its payload, and in front of it the checksum."""
    return _CRC.pack(crc) + payload


def numbers_of(epoch: int, states: Mapping[StreamKey, StreamState]) -> Numbers:
    """Return the numbers that a file of this epoch gives out next."""
    return Numbers(epoch, {key.stream: state.next_seq for key, state in states.items() if key.epoch == epoch})


def _logged(connection: sqlite3.Connection) -> Iterable[StreamKey]:
    """Yield the streams that the log has records of, by a look for each, not by reading it all."""
    found = ("", "")
    while row := connection.execute(SELECT_NEXT_STREAM, found).fetchone():
        found = (row[0], row[1])
        key = _key(*found)
        if key is not None:
            yield key


def _key(stream: str, epoch: str) -> StreamKey | None:
    """Return the key of a stream as a table names it; None where the disk has damaged the name."""
    number = _epoch_number(epoch)
    if number < 0 or not isinstance(stream, str):
        return None
    key = StreamKey(stream, number)
    return key if key.kind in CLASS_OF else None


def _epoch_number(text: str) -> int:
    """Return the epoch that a table holds as text; -1, which no record can have, where the disk has damaged it."""
    try:
        number = int(text, 16)
        return number if epoch_text(number) == text else -1
    except (ValueError, TypeError):
        return -1


def _row(record: Record, sealing: Sealing) -> tuple[str | int | bytes, ...]:
    return (
        record.stream,
        epoch_text(record.epoch),
        record.seq,
        record.kind,
        record.schema,
        record.codec,
        *record.stamp,
        *sealed(record, sealing),
    )


def _number(value: object) -> int:
    """Return a column that holds a whole number; 0 where there is none, or where the disk made something else of it."""
    return value if isinstance(value, int) else 0
