"""What an intake becomes in vitals.db and in bulk.db: records, trends, keys already seen, messages kept."""

import time

from telemed.wire import Kind

from edge_node.buffer import outbox
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.outbox import Batch
from edge_node.buffer.payload import numeric_body, wave_body
from edge_node.buffer.trend import MINUTE_NS, points
from edge_node.samples.measurement import Intake, NumericSet, Stored

INSERT_SEEN = "INSERT INTO seen (key, at_ns) VALUES (?, ?) ON CONFLICT (key) DO NOTHING"
INSERT_KEPT = "INSERT INTO kept (at_ns, reason, raw) VALUES (?, ?, ?)"
UPSERT_TREND = (
    "INSERT INTO trend (device, measure, minute, n, low, high, last, last_ns) VALUES (?, ?, ?, 1, ?, ?, ?, ?) "
    "ON CONFLICT (device, minute, measure) DO UPDATE SET n = n + 1, low = min(low, excluded.low), "
    "high = max(high, excluded.high), "
    "last = CASE WHEN excluded.last_ns >= last_ns THEN excluded.last ELSE last END, "
    "last_ns = max(last_ns, excluded.last_ns)"
)


def store_vitals(batch: Batch, clock: NodeClock, intake: Intake) -> Stored:
    """Store the numeric sets and the raw message of an intake, unless its key was seen before."""
    if _seen(batch, intake.dedup_key):
        return Stored.DUPLICATE
    for sample in intake.sets:
        stamp = clock.stamp(sample.arrived_at_ns)
        outbox.append(batch, f"{sample.device}/numeric", Kind.NUMERIC_SET, stamp, numeric_body(sample))
        _roll_up(batch, sample)
    if intake.raw:
        batch.connection.execute(INSERT_KEPT, (time.time_ns(), intake.raw_reason, intake.raw))
    return Stored.NEW


def store_waves(batch: Batch, clock: NodeClock, intake: Intake) -> Stored:
    """Store the waveform sets of an intake, unless its key was seen before."""
    if _seen(batch, intake.dedup_key):
        return Stored.DUPLICATE
    for sample in intake.waves:
        stamp = clock.stamp(sample.arrived_at_ns)
        outbox.append(batch, f"{sample.device}/wave", Kind.WAVEFORM_SET, stamp, wave_body(sample))
    return Stored.NEW


def _seen(batch: Batch, key: str) -> bool:
    return bool(key) and batch.connection.execute(INSERT_SEEN, (key, time.time_ns())).rowcount == 0


def _roll_up(batch: Batch, sample: NumericSet) -> None:
    batch.connection.executemany(
        UPSERT_TREND,
        [
            (point.device, point.measure, point.at_ns // MINUTE_NS, point.value, point.value, point.value, point.at_ns)
            for point in points(sample)
        ],
    )
