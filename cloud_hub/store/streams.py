"""Streams and their watermarks in one database, remembered by its one writer.

A stream is (node, device, kind), without the patient (decision 2).  An epoch is a life of the edge's file.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from google.protobuf.message import Message
from sqlalchemy import Connection, Select, Table, bindparam, select
from sqlalchemy.sql.dml import ReturningInsert
from telemed.numbers import Run, epoch_text
from telemed.topics import NodeAddress
from telemed.wire import Record

from cloud_hub.store import dialect
from cloud_hub.store.watermarks import Watermark

StreamKey = tuple[int, str]
"""Row of the stream, epoch as 16 hex digits."""
_MARK_COLUMNS = ("stream_id", "epoch", "contig", "max", "gaps", "quarantined", "updated_ns")


class Incoming(NamedTuple):
    """One record as it arrived, with what the check found."""

    address: NodeAddress
    record: Record
    measured_ns: int
    """Measurement time of the payload; the record's own stamp where the payload has none."""
    refusal: str = ""
    """Code of telemed.errors: the record goes to the dead letters, and is counted all the same."""
    message: Message | None = None
    """The payload, decoded once; None where it is refused or of a newer schema."""


class Streams:
    """Looks up streams and watermarks once, then remembers them; used by the writer thread alone."""

    def __init__(self, stream: Table, watermark: Table, shed: Table) -> None:
        self._stream = stream
        self._watermark = watermark
        self._shed = shed
        self._ids: dict[tuple[NodeAddress, str], int] = {}
        self._marks: dict[StreamKey, Watermark] = {}
        self._runs: dict[StreamKey, list[Run]] = {}
        """Declared ranges of the streams of which they were asked for."""

    def forget(self) -> None:
        """Drop what is remembered; called after a transaction that did not commit."""
        self._ids.clear()
        self._marks.clear()
        self._runs.clear()

    def stream_id(self, connection: Connection, address: NodeAddress, name: str, now_ns: int) -> int:
        """Return the row of a stream, made if it is new."""
        known = self._ids.get((address, name))
        if known is None:
            known = find_stream(connection, self._stream, address, name) or self._make(
                connection, address, name, now_ns
            )
            self._ids[(address, name)] = known
        return known

    def watermark(self, connection: Connection, key: StreamKey) -> Watermark:
        """Return the watermark of (stream, epoch); the empty one if nothing was stored yet."""
        mark = self._marks.get(key)
        if mark is None:
            mark = read_watermark(connection, self._watermark, key)
            self._marks[key] = mark
        return mark

    def put(self, connection: Connection, marks: Mapping[StreamKey, Watermark], now_ns: int) -> None:
        """Store new watermarks, in the transaction that stores their records."""
        rows = [
            (*key, mark.contig, mark.max, json.dumps(mark.gaps) if mark.gaps else "[]", mark.is_quarantined, now_ns)
            for key, mark in sorted(marks.items())
        ]
        dialect.upsert(connection, self._watermark, _MARK_COLUMNS, rows, ("stream_id", "epoch"))
        self._marks.update(marks)

    def shed(self, key: StreamKey, runs: Iterable[Run]) -> None:
        """Note ranges that are declared in the transaction under way."""
        if key in self._runs:
            self._runs[key] += runs

    def is_shed(self, connection: Connection, key: StreamKey, seq: int) -> bool:
        """Return whether a number was declared given up; it may come all the same, late on its way."""
        runs = self._runs.get(key)
        if runs is None:
            c = self._shed.c
            found = connection.execute(select(c.first, c.last).where(c.stream_id == key[0], c.epoch == key[1]))
            runs = self._runs[key] = [(row.first, row.last) for row in found]
        return any(first <= seq <= last for first, last in runs)

    def _make(self, connection: Connection, address: NodeAddress, name: str, now_ns: int) -> int:
        row = {
            "region": address.region,
            "site": address.site,
            "node": address.node,
            "name": name,
            "device": name.partition("/")[0],
            "first_seen_ns": now_ns,
        }
        return int(connection.execute(_making(self._stream), row).scalar_one())


def find_stream(connection: Connection, stream: Table, address: NodeAddress, name: str) -> int | None:
    """Return the row of a stream, None if nothing of it ever arrived."""
    asked = {"region": address.region, "site": address.site, "node": address.node, "name": name}
    return connection.execute(_finding(stream), asked).scalar_one_or_none()


def read_watermark(connection: Connection, watermark: Table, key: StreamKey) -> Watermark:
    """Return the watermark as stored; the empty one if nothing was stored yet."""
    row = connection.execute(_reading(watermark), {"stream_id": key[0], "epoch": key[1]}).one_or_none()
    if row is None:
        return Watermark()
    gaps = tuple((int(first), int(last)) for first, last in json.loads(row.gaps))
    return Watermark(row.contig, row.max, gaps, bool(row.quarantined))


# Made once for each table: after a start the hub asks them of ten thousand streams before it can store anything.


@cache
def _finding(stream: Table) -> Select[int]:
    c = stream.c
    named = [column == bindparam(column.name) for column in (c.region, c.site, c.node, c.name)]
    return select(c.id).where(*named)


@cache
def _reading(watermark: Table) -> Select[*tuple[Any, ...]]:
    c = watermark.c
    named = [column == bindparam(column.name) for column in (c.stream_id, c.epoch)]
    return select(c.contig, c.max, c.gaps, c.quarantined).where(*named)


@cache
def _making(stream: Table) -> ReturningInsert[int]:
    return stream.insert().returning(stream.c.id)


def epochs_of(connection: Connection, stream: Table, watermark: Table, address: NodeAddress, name: str) -> list[str]:
    """Return the epochs of a stream of which something arrived here; that of which something came last is the last."""
    stream_id = find_stream(connection, stream, address, name)
    c = watermark.c
    query = select(c.epoch).where(c.stream_id == stream_id).order_by(c.updated_ns)
    return list(connection.execute(query).scalars())


def watermark_of(
    connection: Connection, stream: Table, watermark: Table, address: NodeAddress, name_epoch: tuple[str, int]
) -> Watermark | None:
    """Return the watermark of a stream by its name, None if nothing of the stream ever arrived here."""
    stream_id = find_stream(connection, stream, address, name_epoch[0])
    if stream_id is None:
        return None
    return read_watermark(connection, watermark, (stream_id, epoch_text(name_epoch[1])))
