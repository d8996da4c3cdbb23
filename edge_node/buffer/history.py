"""Reading back: numeric sets and alarms by arrival, trends by minute.

A row that a worn disk has damaged is passed over and named in the log: it must not keep the node from starting.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import structlog
from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable
from telemed.measures import MEASURES
from telemed.numbers import epoch_text
from telemed.v1 import alarm_pb2
from telemed.wire import Kind, Record

from edge_node.buffer.outbox import COLUMNS, SELECT_RUN, Batch, StreamKey, first_since, record_of
from edge_node.buffer.payload import numeric_set
from edge_node.buffer.trend import MINUTE_NS, Fold, Minute, Trends
from edge_node.samples.measurement import NumericSet, Value

NEWEST_SETS = 20
FOLDED = "folded"
"""Entry of `meta`: up to which row of the log the written trends reach."""
T = TypeVar("T")
log = structlog.get_logger(__name__)

SELECT_SINCE = f"SELECT {COLUMNS} FROM log WHERE wall_ns > ? AND kind = ? ORDER BY wall_ns, id"  # noqa: S608
SELECT_TREND = (
    "SELECT measure, minute, n, low, high, last, last_ns FROM trend "
    "WHERE device = ? AND minute BETWEEN ? AND ? ORDER BY minute"
)
SELECT_NEWEST = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND epoch = ? AND seq > ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
SELECT_LAST = "SELECT measure, last, max(last_ns) FROM trend WHERE device = ? AND minute >= ? GROUP BY measure"
SELECT_UNFOLDED = f"SELECT {COLUMNS} FROM log WHERE id > ? AND kind = ? ORDER BY id"  # noqa: S608
SELECT_EVALUATED = "SELECT up_to_ns FROM evaluated WHERE device = ?"
UPSERT_EVALUATED = (
    "INSERT INTO evaluated (device, up_to_ns) VALUES (?, ?) "
    "ON CONFLICT (device) DO UPDATE SET up_to_ns = excluded.up_to_ns"
)
UPSERT_TREND = (
    "INSERT INTO trend (device, measure, minute, n, low, high, last, last_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT (device, minute, measure) DO UPDATE SET n = n + excluded.n, low = min(low, excluded.low), "
    "high = max(high, excluded.high), "
    "last = CASE WHEN excluded.last_ns >= last_ns THEN excluded.last ELSE last END, "
    "last_ns = max(last_ns, excluded.last_ns)"
)
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
        for measure, last, last_ns in connection.execute(SELECT_LAST, (device, since_ns // MINUTE_NS)):
            value = Value(measure, f"{last:.10g}", MEASURES[measure].unit if measure in MEASURES else "")
            found.append(NumericSet(device, last_ns, last_ns, (value,)))
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
    folds = [(*key, fold.n, fold.low, fold.high, fold.last, fold.last_ns) for key, fold in trends.folds.items()]
    connection.executemany(UPSERT_TREND, folds)
    (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM log").fetchone()
    connection.execute(UPSERT_META, (FOLDED, str(newest)))
    batch.after_commit.append(trends.written)


def alarms_since(connection: sqlite3.Connection, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
    """Return the alarm events stored after `since_ns`, oldest first."""
    rows = connection.execute(SELECT_SINCE, (since_ns, int(Kind.ALARM_EVENT)))
    return list(_readable(rows, lambda record: alarm_pb2.AlarmEvent.FromString(record.body())))


def trends(connection: sqlite3.Connection, devices: Sequence[str], from_ns: int, to_ns: int) -> dict[Minute, Fold]:
    """Return the written minutes of some devices."""
    found: dict[Minute, Fold] = {}
    for device in devices:
        for measure, minute, *values in connection.execute(
            SELECT_TREND, (device, from_ns // MINUTE_NS, to_ns // MINUTE_NS)
        ):
            found[device, measure, minute] = Fold(*values)
    return found


def _readable(rows: Iterable[Any], read: Callable[[Record], T]) -> Iterator[T]:
    for row in rows:
        try:
            found = read(record_of(row))
        except (PayloadUnreadable, DecodeError, KeyError, ValueError, TypeError):
            log.error("buffer.row-unreadable", stream=row[0], seq=row[2])
            continue
        yield found
