"""Records and messages that are kept as they came, and taking one person out of them; plain functions on a connection.

That there was a record stays, with its number, its times and, where its message can be read, who made it.  The checksum
stays too, so that it is known when it comes again, and `mark` is what the nightly comparison knows it by.  Of what
cannot be read nobody can say whom it is about: what came since the person first came goes, whoever it was about.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from sqlalchemy import Connection, Row, Table, select, tuple_, update
from telemed import erasure
from telemed.errors import PayloadUnreadable, WireError
from telemed.reconcile import Mark, pack, payload_crc
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import SCHEMA, Codec, Kind, Record, Stamp, decode
from telemed.wire import pack as packed

from cloud_hub.store import dead_letters, holdings
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.erasure import Traces, Where, left_of, left_of_step
from cloud_hub.store.schema import care_dead_letter, care_record, care_stream, samples_dead_letter
from cloud_hub.store.streams import Incoming, StreamKey

CHUNK = 500
"""Rows looked at in one transaction: some ten milliseconds of a core."""
_MESSAGES: dict[int, type[event_pb2.Event] | type[alarm_pb2.AlarmEvent]] = {
    int(Kind.EVENT): event_pb2.Event,
    int(Kind.ALARM_EVENT): alarm_pb2.AlarmEvent,
}
"""What a record about a person can be; an entry of the audit trail names ids alone."""
_HARMLESS = frozenset({int(Kind.AUDIT), int(Kind.SHED)})
RecordAt = tuple[int, str, int]
"""Stream, epoch and number of a record."""
FIRST_RECORD: RecordAt = (0, "", 0)
_NO_STAMP = Stamp(0, 0, 0)
IsOther = Callable[[str, Record], bool]
"""Whether a record of a node can be read, and is about somebody else."""


class Looked(NamedTuple):
    """What a look at some rows came to."""

    after: Any
    """Where to go on; None = at the end."""
    emptied: int


def empty_records(
    connection: Connection, where: Where, traces: Traces, since_ns: int, after: RecordAt = FIRST_RECORD
) -> Looked:
    """Take a person out of at most `CHUNK` alarm and care records of one stream of a site.

    Args:
        connection: the care store, in a transaction.
        where: region and site.
        traces: what is about them.
        since_ns: what cannot be read and came since then goes.
        after: the record that was looked at last; of a stream that has no more, the next one is begun.
    """
    c, s = care_record.c, care_stream.c
    stream_id, *key = after
    # One stream, and no other condition: along the primary key, and no more rows than these are looked at.
    query = select(care_record).where(c.stream_id == stream_id, tuple_(c.epoch, c.seq) > tuple_(*key))
    rows = connection.execute(query.order_by(c.epoch, c.seq).limit(CHUNK)).all()
    emptied = 0
    for row in rows:
        if row.kind in _HARMLESS or row.mark is not None:
            continue
        message = _message(Record("", row.kind, row.schema, row.codec, 0, 0, _NO_STAMP, row.payload, row.crc))
        may_stay = row.received_ns < since_ns if message is None else not traces.has(message)
        if may_stay:
            continue
        _empty(connection, (row.stream_id, row.epoch, row.seq), holdings.mark_of_care(row), _left(message))
        emptied += 1
    if len(rows) == CHUNK:
        return Looked(tuple(rows[-1][:3]), emptied)
    here = select(s.id).where(s.region == where[0], s.site == where[1], s.id > stream_id)
    following = connection.execute(here.order_by(s.id).limit(1)).scalar()
    return Looked(None if following is None else (following, *FIRST_RECORD[1:]), emptied)


def empty_arrived(connection: Connection, key: StreamKey, item: Incoming, left: Message) -> None:
    """Keep no more of a record that was stored just now than what is left of its message: its person was erased."""
    record = item.record
    mark = Mark(record.seq, record.crc, payload_crc(record.payload))
    _empty(connection, (*key, record.seq), mark, left.SerializeToString())


def empty_buried(connection: Connection, letter: DeadLetter) -> None:
    """Empty a dead letter of the care store that was buried just now, where it is about a person who was erased.

    What cannot be read stays until their erasure is asked for again.
    """
    where = (letter.address.region, letter.address.site)
    try:
        records = decode(letter.raw)
    except WireError:
        return
    if any(_is_of_erased(connection, where, record) for record in records):
        chosen = select(care_dead_letter).where(dead_letters.same(care_dead_letter, letter))
        _empty_letter(connection, care_dead_letter, connection.execute(chosen).one())


def empty_letters(
    connection: Connection, table: Table, where: Where, is_other: IsOther, since_ns: int, after: int = 0
) -> Looked:
    """Empty at most `CHUNK` dead letters of a site that may be about a person, and came since they first came.

    Args:
        connection: to the store of the table, in a transaction.
        table: dead letters of one of the two stores.
        where: region and site.
        is_other: says that a record is about somebody else.
        since_ns: when the person first came.
        after: the letter that was looked at last.
    """
    c = table.c
    here = (c.region == where[0], c.site == where[1], c.mark.is_(None), c.first_seen_ns >= since_ns, c.id > after)
    rows = connection.execute(select(table).where(*here).order_by(c.id).limit(CHUNK)).all()
    emptied = 0
    for row in rows:
        if _is_about_others(row, is_other):
            continue
        _empty_letter(connection, table, row)
        emptied += 1
    return Looked(rows[-1].id if len(rows) == CHUNK else None, emptied)


def is_care_of_others(traces: Traces) -> IsOther:
    """Return what says of an alarm or an event that it is about somebody else."""

    def is_other(_node: str, record: Record) -> bool:
        message = _message(record)
        return record.kind in _HARMLESS if message is None else not traces.has(message)

    return is_other


LETTERS: tuple[Table, Table] = (care_dead_letter, samples_dead_letter)
"""Dead letters of the care store and of the sample store."""


def _is_about_others(row: Row[Any], is_other: IsOther) -> bool:
    try:
        records: Iterable[Record] = decode(row.raw)
    except WireError:
        return False
    return all(is_other(row.node, record) for record in records)


def _is_of_erased(connection: Connection, where: Where, record: Record) -> bool:
    message = _message(record)
    if isinstance(message, event_pb2.Event):
        return left_of(connection, where, message) is not message
    return message is not None and left_of_step(connection, where, message) is not message


def _message(record: Record) -> event_pb2.Event | alarm_pb2.AlarmEvent | None:
    """Return the message of a record; None where it cannot be read, as of newer software, or is about nobody."""
    kind = _MESSAGES.get(record.kind)
    if kind is None or record.schema != SCHEMA:
        return None
    try:
        return kind.FromString(record.body())
    except (PayloadUnreadable, DecodeError):
        return None


def _left(message: event_pb2.Event | alarm_pb2.AlarmEvent | None) -> bytes:
    if message is None:
        return b""
    if isinstance(message, event_pb2.Event):
        erasure.redact(message)
    else:
        erasure.redact_alarm(message)
    return message.SerializeToString()


def _empty_letter(connection: Connection, table: Table, row: Row[Any]) -> None:
    values = {"raw": b"", "mark": pack([holdings.mark_of_letter(row)])}
    connection.execute(update(table).where(table.c.id == row.id).values(**values))


def _empty(connection: Connection, at: RecordAt, mark: Mark, left: bytes) -> None:
    codec, payload = packed(left) if left else (Codec.PLAIN, b"")
    c = care_record.c
    mine = (c.stream_id == at[0], c.epoch == at[1], c.seq == at[2])
    values = {"codec": int(codec), "payload": payload, "mark": pack([mark])}
    connection.execute(update(care_record).where(*mine).values(values))
