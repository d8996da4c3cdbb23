"""What an intake becomes in vitals.db: its records, and the message itself where it must be kept."""

import hashlib

from telemed.wire import Kind

from edge_node.buffer import outbox
from edge_node.buffer.clock import NodeClock
from edge_node.buffer.keyring import KEPT_SCOPE, Place
from edge_node.buffer.outbox import Batch
from edge_node.buffer.payload import numeric_body, wave_body
from edge_node.buffer.sealing import day_of
from edge_node.buffer.trend import Trends
from edge_node.samples.measurement import Intake, Stored

SELECT_KEY = "SELECT 1 FROM log WHERE key IN (?, ?) UNION ALL SELECT 1 FROM kept WHERE key IN (?, ?) LIMIT 1"
INSERT_KEPT = "INSERT INTO kept (at_ns, reason, key, raw, is_sealed) VALUES (?, ?, ?, ?, ?)"


def store(batch: Batch, clock: NodeClock, trends: Trends, intake: Intake) -> Stored:
    """Store the sets, the waves and the raw message of an intake, unless its key was seen before."""
    open_key = key_of(intake)
    key = batch.sealing.hidden(open_key) if open_key else None
    # Rows of before the store was sealed bear the other one, until `resealing` came by.
    if key and batch.connection.execute(SELECT_KEY, (key, open_key, key, open_key)).fetchone():
        return Stored.DUPLICATE
    if intake.raw or not (intake.sets or intake.waves):
        now_ns = clock.now_ns()
        raw = batch.sealing.seal(Place(KEPT_SCOPE, day_of(now_ns)), intake.raw, f"kept {now_ns}")
        batch.connection.execute(INSERT_KEPT, (now_ns, intake.raw_reason, key, raw, int(batch.sealing.is_on)))
        key = None
    for sample in intake.sets:
        stamp = clock.stamp(sample.arrived_at_ns)
        outbox.append(batch, f"{sample.device}/numeric", Kind.NUMERIC_SET, stamp, numeric_body(sample), key)
        key = None
    for wave in intake.waves:
        stamp = clock.stamp(wave.arrived_at_ns)
        outbox.append(batch, f"{wave.device}/wave", Kind.WAVEFORM_SET, stamp, wave_body(wave), key)
        key = None
    batch.after_commit.append(lambda: trends.take(intake.sets))
    return Stored.NEW


def key_of(intake: Intake) -> bytes | None:
    """Return the 128 bits by which a message is known again; None where it names itself by nothing."""
    return hashlib.blake2b(intake.dedup_key.encode(), digest_size=16).digest() if intake.dedup_key else None
