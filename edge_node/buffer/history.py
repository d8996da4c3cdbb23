"""Reading back: numeric sets and alarms by arrival, trends by minute.

A row that a worn disk has damaged is passed over and named in the log: it must not keep the node from starting.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog
from google.protobuf.message import DecodeError
from telemed.errors import PayloadUnreadable
from telemed.measures import MEASURES
from telemed.v1 import alarm_pb2
from telemed.wire import Record

from edge_node.buffer.outbox import COLUMNS, record_of
from edge_node.buffer.payload import numeric_set
from edge_node.buffer.trend import MINUTE_NS, TrendRow
from edge_node.samples.measurement import NumericSet, Value

NEWEST_SETS = 20
T = TypeVar("T")
log = structlog.get_logger(__name__)

SELECT_SINCE = f"SELECT {COLUMNS} FROM log WHERE wall_ns > ? ORDER BY wall_ns, id"  # noqa: S608
SELECT_TREND = (
    "SELECT measure, minute, low, high, last, last_ns FROM trend "
    "WHERE device = ? AND minute BETWEEN ? AND ? ORDER BY minute"
)
SELECT_NEWEST = f"SELECT {COLUMNS} FROM log WHERE stream = ? AND wall_ns > ? ORDER BY epoch DESC, seq DESC LIMIT ?"  # noqa: S608
SELECT_LAST = "SELECT measure, last, max(last_ns) FROM trend WHERE device = ? AND minute >= ? GROUP BY measure"
SELECT_EVALUATED = "SELECT up_to_ns FROM evaluated WHERE device = ?"
UPSERT_EVALUATED = (
    "INSERT INTO evaluated (device, up_to_ns) VALUES (?, ?) "
    "ON CONFLICT (device) DO UPDATE SET up_to_ns = excluded.up_to_ns"
)


def sets_since(connection: sqlite3.Connection, since_ns: int) -> list[NumericSet]:
    """Return the numeric sets that arrived after `since_ns`, oldest first."""
    return list(_readable(connection.execute(SELECT_SINCE, (since_ns,)), numeric_set))


def last_known(connection: sqlite3.Connection, devices: Sequence[str], since_ns: int) -> list[NumericSet]:
    """Return what is needed to know the newest value of each measure since `since_ns`, oldest first.

    The newest sets as they are, and before them the last valid value of each measure out of the trends, one set each.
    """
    found = []
    for device in devices:
        for measure, last, last_ns in connection.execute(SELECT_LAST, (device, since_ns // MINUTE_NS)):
            value = Value(measure, f"{last:.10g}", MEASURES[measure].unit if measure in MEASURES else "")
            found.append(NumericSet(device, last_ns, last_ns, (value,)))
        rows = connection.execute(SELECT_NEWEST, (f"{device}/numeric", since_ns, NEWEST_SETS))
        found += _readable(rows, numeric_set)
    return sorted(found, key=lambda sample: sample.arrived_at_ns)


def alarms_since(connection: sqlite3.Connection, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
    """Return the alarm events stored after `since_ns`, oldest first."""
    rows = connection.execute(SELECT_SINCE, (since_ns,))
    return list(_readable(rows, lambda record: alarm_pb2.AlarmEvent.FromString(record.body())))


def trends(
    connection: sqlite3.Connection, devices: Sequence[str], from_ns: int, to_ns: int, step_s: int
) -> list[TrendRow]:
    """Return the trends of some devices taken together, by measure and time, in steps of whole minutes."""
    step_minutes = max(1, step_s // 60)
    steps: dict[tuple[str, int], tuple[int, TrendRow]] = {}
    for device in devices:
        for measure, minute, low, high, last, last_ns in connection.execute(
            SELECT_TREND, (device, from_ns // MINUTE_NS, to_ns // MINUTE_NS)
        ):
            start = minute - minute % step_minutes
            new = (last_ns, TrendRow(measure, start * MINUTE_NS, low, high, last))
            old = steps.get((measure, start))
            steps[measure, start] = _joined(old, new) if old else new
    return [row for _, (_, row) in sorted(steps.items())]


def _readable(rows: Iterable[Any], read: Callable[[Record], T]) -> Iterator[T]:
    for row in rows:
        try:
            found = read(record_of(row))
        except (PayloadUnreadable, DecodeError, KeyError, ValueError):
            log.error("buffer.row-unreadable", stream=row[0], seq=row[2])
            continue
        yield found


def _joined(one: tuple[int, TrendRow], other: tuple[int, TrendRow]) -> tuple[int, TrendRow]:
    last_ns, later = max(one, other, key=lambda pair: pair[0])
    low, high = min(one[1].low, other[1].low), max(one[1].high, other[1].high)
    return last_ns, replace(later, low=low, high=high)
