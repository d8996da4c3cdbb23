"""Reading back: numeric sets and alarms by arrival, trends by minute."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from telemed.v1 import alarm_pb2

from edge_node.buffer.outbox import COLUMNS, record_of
from edge_node.buffer.payload import numeric_set
from edge_node.buffer.trend import MINUTE_NS, TrendRow
from edge_node.samples.measurement import NumericSet

SELECT_SINCE = f"SELECT {COLUMNS} FROM log WHERE wall_ns > ? ORDER BY wall_ns, id"  # noqa: S608
SELECT_TREND = (
    "SELECT measure, minute, low, high, last, last_ns FROM trend "
    "WHERE device = ? AND minute BETWEEN ? AND ? ORDER BY minute"
)
SELECT_EVALUATED = "SELECT up_to_ns FROM evaluated WHERE device = ?"
UPSERT_EVALUATED = (
    "INSERT INTO evaluated (device, up_to_ns) VALUES (?, ?) "
    "ON CONFLICT (device) DO UPDATE SET up_to_ns = excluded.up_to_ns"
)


def sets_since(connection: sqlite3.Connection, since_ns: int) -> list[NumericSet]:
    """Return the numeric sets that arrived after `since_ns`, oldest first."""
    return [numeric_set(record_of(row)) for row in connection.execute(SELECT_SINCE, (since_ns,))]


def alarms_since(connection: sqlite3.Connection, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
    """Return the alarm events stored after `since_ns`, oldest first."""
    rows = connection.execute(SELECT_SINCE, (since_ns,))
    return [alarm_pb2.AlarmEvent.FromString(record_of(row).body()) for row in rows]


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


def _joined(one: tuple[int, TrendRow], other: tuple[int, TrendRow]) -> tuple[int, TrendRow]:
    last_ns, later = max(one, other, key=lambda pair: pair[0])
    low, high = min(one[1].low, other[1].low), max(one[1].high, other[1].high)
    return last_ns, replace(later, low=low, high=high)
