"""What the hub really holds of a stream, read from its rows: the hub's side of the nightly comparison.

A measurement's checksum is made anew from every column of its row that came from the node and from the payload as it
is stored, so that any change of the row shows.  Alarms and events do not keep the clock fields of the head: there the
stored checksum stands for the head, and the payload's own checksum is made anew.  A dead letter holds its number too.
Where a person was taken out of one of these, the mark of what it was stands beside it (`remains`).
What care, trends and screens made of a record is not compared.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, and_, func, select
from telemed.errors import Code, WireError
from telemed.numbers import Run, epoch_text, runs
from telemed.reconcile import Mark, mark_of, payload_crc, unpack
from telemed.topics import STREAM_KINDS, NodeAddress, Up
from telemed.wire import Record, Stamp, decode

from cloud_hub.store import schema
from cloud_hub.store.streams import StreamKey, find_stream

COUNT_AT_ONCE = 65_536
"""Numbers that are counted by one query."""
UNREADABLE_CRC = 0
CARE_KINDS = frozenset({*STREAM_KINDS[Up.ALARM], *STREAM_KINDS[Up.CARE]})
_ASIDE = (Code.KEY_CONFLICT, Code.RECORDS_DIFFER)
"""Dead letters beside a record, not in the place of one."""


@dataclass(frozen=True, slots=True)
class Name:
    """A stream of a node in one life of the node's file."""

    address: NodeAddress
    stream: str
    epoch: int

    @property
    def is_care(self) -> bool:
        """Whether it is in the care store."""
        return self.stream.rpartition("/")[2] in CARE_KINDS


@dataclass(slots=True)
class Side:
    """The tables of one of the two databases."""

    stream: Table
    watermark: Table
    records: Table
    dead: Table
    reconciled: Table
    reopened: Table
    shed: Table
    mark: Callable[[Row[Any]], Mark]


@dataclass(slots=True)
class Holding:
    """What is stored of a run of numbers."""

    marks: dict[int, Mark] = field(default_factory=dict)
    vague: set[int] = field(default_factory=set)
    """Dead letters of which only the payload is kept."""

    def in_order(self) -> list[Mark]:
        """Return the marks by number."""
        return [self.marks[seq] for seq in sorted(self.marks)]

    def agrees(self, theirs: Mark) -> bool:
        """Whether what is stored under this number is what the node has; the number must be held."""
        ours = self.marks[theirs.seq]
        if theirs.seq in self.vague:
            return ours.payload_crc == theirs.payload_crc
        return ours == theirs


def side_of(name: Name) -> Side:
    """Return where a stream is stored."""
    return CARE if name.is_care else SAMPLES


def key_of(connection: Connection, name: Name) -> StreamKey | None:
    """Return the key of a stream, None if nothing of it ever arrived."""
    stream_id = find_stream(connection, side_of(name).stream, name.address, name.stream)
    return None if stream_id is None else (stream_id, epoch_text(name.epoch))


def held(connection: Connection, name: Name, run: Run) -> Holding:
    """Return what is stored of a run of at most a block; rows and dead letters."""
    side, key, found = side_of(name), key_of(connection, name), Holding()
    if key is None:
        return found
    for row in connection.execute(select(side.records).where(_of(side.records, key, run))):
        found.marks[row.seq] = side.mark(row)
    for row in connection.execute(select(side.dead).where(_buried(side, name, run)).order_by(side.dead.c.id)):
        if row.seq in found.marks:
            continue
        mark = found.marks[row.seq] = mark_of_letter(row)
        if mark.crc == UNREADABLE_CRC:
            found.vague.add(row.seq)
    return found


def mark_of_letter(row: Row[Any]) -> Mark:
    """Return what a dead letter is known by; of one of which only the payload is kept, its checksum alone."""
    if row.mark is not None:
        return unpack(row.mark)[0]
    try:
        return mark_of(decode(row.raw)[0])
    except (WireError, IndexError):
        return Mark(row.seq, UNREADABLE_CRC, payload_crc(row.raw))


def mark_of_care(row: Row[Any]) -> Mark:
    """Return what a record of the care store is known by, also once words were taken out of it."""
    return Mark(row.seq, row.crc, payload_crc(row.payload)) if row.mark is None else unpack(row.mark)[0]


def missing(connection: Connection, name: Name, run: Run) -> list[Run]:
    """Return the numbers of a run that are neither stored nor buried nor declared shed, as runs.

    Counts by the index where nothing is missing; COUNT_AT_ONCE numbers at most are wanted in one call.
    """
    side, key = side_of(name), key_of(connection, name)
    if key is None:
        return [run]
    counted = connection.execute(select(func.count()).select_from(side.records).where(_of(side.records, key, run)))
    if counted.scalar_one() == run[1] - run[0] + 1:
        return []
    stored = set(connection.execute(select(side.records.c.seq).where(_of(side.records, key, run))).scalars())
    stored |= set(connection.execute(select(side.dead.c.seq).where(_buried(side, name, run))).scalars())
    for first, last in declared(connection, side, key, run):
        stored.update(range(first, last + 1))
    return runs(seq for seq in range(run[0], run[1] + 1) if seq not in stored)


def declared(connection: Connection, side: Side, key: StreamKey, run: Run) -> list[Run]:
    """Return the numbers of a run that their node declared given up or damaged, as runs: nobody misses them."""
    c = side.shed.c
    rows = connection.execute(
        select(c.first, c.last).where(c.stream_id == key[0], c.epoch == key[1], c.first <= run[1], c.last >= run[0])
    )
    return [(max(first, run[0]), min(last, run[1])) for first, last in rows]


def size(found: Sequence[Run]) -> int:
    """Return how many numbers runs have together."""
    return sum(last - first + 1 for first, last in found)


def _of(records: Table, key: StreamKey, run: Run) -> ColumnElement[bool]:
    c = records.c
    return and_(c.stream_id == key[0], c.epoch == key[1], c.seq >= run[0], c.seq <= run[1])


def _buried(side: Side, name: Name, run: Run) -> ColumnElement[bool]:
    c, address = side.dead.c, name.address
    return and_(
        c.region == address.region,
        c.site == address.site,
        c.node == address.node,
        c.stream == name.stream,
        c.epoch == epoch_text(name.epoch),
        c.seq >= run[0],
        c.seq <= run[1],
        c.reason.not_in(_ASIDE),
    )


def _mark_of_sample(row: Row[Any]) -> Mark:
    stamp = Stamp(row.wall_ns, row.mono_ns, row.boot, row.offset_ms, row.offset_error_ms)
    record = Record("", row.kind, row.schema, row.codec, int(row.epoch, 16), row.seq, stamp, row.payload, row.crc)
    try:
        return mark_of(record)
    except struct.error:
        # A number that no record can have: somebody changed the row.
        return Mark(row.seq, UNREADABLE_CRC, payload_crc(row.payload))


SAMPLES = Side(
    schema.samples_stream,
    schema.samples_watermark,
    schema.record,
    schema.samples_dead_letter,
    schema.samples_reconciled,
    schema.samples_reopened,
    schema.samples_shed,
    _mark_of_sample,
)
CARE = Side(
    schema.care_stream,
    schema.care_watermark,
    schema.care_record,
    schema.care_dead_letter,
    schema.care_reconciled,
    schema.care_reopened,
    schema.care_shed,
    mark_of_care,
)
