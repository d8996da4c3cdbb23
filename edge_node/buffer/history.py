"""Reading back: numeric sets and alarms by arrival, trends by minute.

A row that a worn disk has damaged is passed over and named in the log: it must not keep the node from starting.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable
from telemed.measures import MEASURES
from telemed.numbers import epoch_text
from telemed.v1 import alarm_pb2
from telemed.wire import Kind, Record

from edge_node.buffer.keyring import DAY_NS, Place
from edge_node.buffer.outbox import COLUMNS, SELECT_RUN, Batch, StreamKey, first_since, is_locked, record_of
from edge_node.buffer.payload import numeric_set
from edge_node.buffer.trend import MINUTE_NS, Fold, Minute, Trends, packed, sound_fold, unpacked
from edge_node.samples.measurement import NumericSet, Value

NEWEST_SETS = 20
FOLDED = "folded"
"""Entry of `meta`: up to which row of the log the written trends reach."""
T = TypeVar("T")
log = structlog.get_logger(__name__)

SELECT_SINCE = f"SELECT {COLUMNS} FROM log WHERE wall_ns > ? AND kind = ? ORDER BY wall_ns, id"  # noqa: S608
SELECT_OLD_TREND = (
    "SELECT measure, minute, n, low, high, last, last_ns FROM trend "
    "WHERE device = ? AND minute BETWEEN ? AND ? ORDER BY minute"
)
SELECT_NEWEST = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
ABOUT_MINUTE = "'minute ' || device || ' ' || minute"
SELECT_MINUTES = (
    f"SELECT device, minute, opened({ABOUT_MINUTE}, body) FROM minutes "  # noqa: S608
    "WHERE device = ? AND minute BETWEEN ? AND ? ORDER BY minute"
)
SELECT_UNFOLDED = f"SELECT {COLUMNS} FROM log WHERE id > ? AND kind = ? ORDER BY id"  # noqa: S608
SELECT_EVALUATED = "SELECT up_to_ns FROM evaluated WHERE device = ?"
UPSERT_EVALUATED = (
    "INSERT INTO evaluated (device, up_to_ns) VALUES (?, ?) "
    "ON CONFLICT (device) DO UPDATE SET up_to_ns = excluded.up_to_ns"
)
UPSERT_MINUTE = (
    "INSERT INTO minutes (device, minute, body) VALUES (?, ?, ?) "
    "ON CONFLICT (device, minute) DO UPDATE SET body = excluded.body"
)
LAST_MINUTE = 2**62
UPSERT_META = "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"


def sets_since(connection: sqlite3.Connection, keys: Iterable[StreamKey], since_ns: int) -> list[NumericSet]:
    """Return the numeric sets of some streams that arrived after `since_ns`, oldest first."""
    found: list[NumericSet] = []
    for key in keys:
        first = first_since(connection, key, 0, since_ns + 1)
        if first:
            rows = connection.execute(SELECT_RUN, (key.stream, epoch_text(key.epoch), first, 2**62))
            found += _readable(rows, numeric_set)
    return sorted(found, key=lambda sample: sample.arrived_at_ns)


def last_known(
    connection: sqlite3.Connection, keys: Iterable[StreamKey], devices: Sequence[str], since_ns: int
) -> list[NumericSet]:
    """Return what is needed to know the newest value of each measure since `since_ns`, oldest first.

    The newest sets as they are, and before them the last valid value of each measure out of the trends, one set each.
    """
    found = []
    for device in devices:
        newest: dict[str, Fold] = {}
        for (_, measure, _), fold in trends(connection, [device], since_ns, LAST_MINUTE * MINUTE_NS).items():
            if measure not in newest or fold.last_ns > newest[measure].last_ns:
                newest[measure] = fold
        for measure, fold in newest.items():
            value = Value(measure, f"{fold.last:.10g}", MEASURES[measure].unit if measure in MEASURES else "")
            found.append(NumericSet(device, fold.last_ns, fold.last_ns, (value,)))
    for key in keys:
        rows = connection.execute(SELECT_NEWEST, (key.stream, epoch_text(key.epoch), 0, NEWEST_SETS))
        found += [sample for sample in _readable(rows, numeric_set) if sample.arrived_at_ns > since_ns]
    return sorted(found, key=lambda sample: sample.arrived_at_ns)


def write_trends(batch: Batch, trends: Trends) -> None:
    """Join folded minutes to the written ones; then all rows of the log are in them."""
    connection = batch.connection
    if trends.is_behind:
        # What this run has folded is in the log as well.
        trends.folds.clear()
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (FOLDED,)).fetchone()
        rows = connection.execute(SELECT_UNFOLDED, (int(row[0]) if row else 0, int(Kind.NUMERIC_SET)))
        trends.take(_readable(rows, numeric_set))
    join_minutes(batch, trends.folds)
    (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()
    connection.execute(UPSERT_META, (FOLDED, str(newest)))
    batch.after_commit.append(trends.written)


def join_minutes(batch: Batch, folds: Mapping[Minute, Fold]) -> set[tuple[str, int]]:
    """Join folded minutes to the written ones; return device and minute where those cannot be read, and stay."""
    left: set[tuple[str, int]] = set()
    rows: dict[tuple[str, int], dict[str, Fold]] = {}
    for (device, measure, minute), fold in folds.items():
        rows.setdefault((device, minute), {})[measure] = fold
    for (device, minute), values in rows.items():
        where = (device, minute, minute)
        found = batch.connection.execute(SELECT_MINUTES, where).fetchone()
        if found is not None and not isinstance(found[2], bytes):
            left.add((device, minute))
            continue
        for measure, fold in (unpacked(found[2]) if found is not None else {}).items():
            values[measure] = fold.joined(values[measure]) if measure in values else fold
        place = Place(device, minute * MINUTE_NS // DAY_NS)
        body = batch.sealing.seal(place, packed(values), f"minute {device} {minute}")
        batch.connection.execute(UPSERT_MINUTE, (device, minute, body))
    return left


def alarms_since(connection: sqlite3.Connection, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
    """Return the alarm events stored after `since_ns`, oldest first."""
    rows = connection.execute(SELECT_SINCE, (since_ns, int(Kind.ALARM_EVENT)))
    return list(_readable(rows, lambda record: alarm_pb2.AlarmEvent.FromString(record.body())))


def trends(connection: sqlite3.Connection, devices: Sequence[str], from_ns: int, to_ns: int) -> dict[Minute, Fold]:
    """Return the written minutes of some devices."""
    found: dict[Minute, Fold] = {}
    span = (from_ns // MINUTE_NS, to_ns // MINUTE_NS)
    for device in devices:
        for _, minute, body in connection.execute(SELECT_MINUTES, (device, *span)):
            if isinstance(body, bytes):
                found.update(((device, measure, minute), fold) for measure, fold in unpacked(body).items())
        for measure, minute, *values in connection.execute(SELECT_OLD_TREND, (device, *span)):
            key, fold = (device, measure, minute), sound_fold(values)
            if fold is not None and isinstance(measure, str):
                found[key] = fold.joined(found[key]) if key in found else fold
    return found


def _readable(rows: Iterable[Any], read: Callable[[Record], T]) -> Iterator[T]:
    for row in rows:
        record = record_of(row)
        if is_locked(record):
            continue
        try:
            found = read(record)
        except (PayloadUnreadable, DecodeError, KeyError, ValueError, TypeError):
            log.error("buffer.row-unreadable", stream=row[0], seq=row[2])
            continue
        yield found
