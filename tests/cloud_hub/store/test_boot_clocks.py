"""Times that a node stamped before it knew the hub's clock, on SQLite and PostgreSQL: corrected once, in any order."""

from itertools import permutations

import pytest
from sqlalchemy import select
from telemed.topics import Up
from telemed.v1 import sample_pb2
from telemed.wire import OFFSET_UNKNOWN_MS, Codec, Kind, Record, Stamp, encode, seal

from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch
from cloud_hub.ingest.stores import SampleStore
from cloud_hub.store.boot_clocks import shift_ns
from cloud_hub.store.engine import Database
from cloud_hub.store.samples import StoredRecord, numeric_set, records_between
from cloud_hub.store.schema import record
from cloud_hub.store.trends import trend_rows
from tests.fakes.containers import CLINIC, EPOCH, S_NS, T0_NS

HOUR_NS = 3600 * S_NS
BOOTED_NS = T0_NS - HOUR_NS
"""True time at which both boots began."""
STREAM = "mon-b01/numeric"


def taken_in(seq: int, *, wrong_by_ns: int = 0, knows: bool = False, boot: int = 7, device_ns: int = 0) -> Record:
    """A set that was measured `seq` seconds after T0 in truth, by a node whose clock was wrong."""
    true_ns = T0_NS + seq * S_NS
    wall_ns = true_ns + wrong_by_ns
    sample = sample_pb2.NumericSet(measured_at_unix_ns=device_ns or wall_ns, origin=sample_pb2.ORIGIN_LIVE)
    sample.values.add(measure="spo2", value=str(90 + seq % 7), unit="%", quality=sample_pb2.QUALITY_VALID)
    stamp = Stamp(wall_ns, true_ns - BOOTED_NS, boot, 0, 5 if knows else OFFSET_UNKNOWN_MS)
    body = sample.SerializeToString()
    return seal(
        stream=STREAM, kind=Kind.NUMERIC_SET, epoch=EPOCH, seq=seq, stamp=stamp, codec=Codec.PLAIN, payload=body
    )


class Hub:
    """The sample store, as one life of a hub after the other uses it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SampleStore()

    def take(self, *records: Record) -> None:
        admission = admit(CLINIC, Up.VITALS, encode(records))
        batch = Batch(admission.records, admission.unusable, T0_NS)
        self.database.write_blocking(lambda c: self.store.store(c, batch), self.store.kept)

    def write(self) -> None:
        self.database.write_blocking(self.store.trends.write, self.store.trends.written)

    def restart(self) -> None:
        self.store = SampleStore()
        self.database.write_blocking(self.store.trends.catch_up, self.store.trends.written)

    def times(self) -> dict[int, tuple[int, int | None]]:
        """Number -> (seconds after T0 at which it stands, correction in seconds)."""
        query = select(record.c.seq, record.c.measured_ns, record.c.shift_ns)
        rows = self.database.read_blocking(lambda c: c.execute(query).fetchall())
        return {seq: ((at - T0_NS) // S_NS, None if by is None else by // S_NS) for seq, at, by in rows}

    def minutes(self) -> dict[int, int]:
        """Minutes after T0 -> how many values are in them."""
        rows = self.database.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
        return {row.minute - T0_NS // (60 * S_NS): row.n for row in rows}

    def read(self, from_ns: int, to_ns: int) -> list[StoredRecord]:
        return self.database.read_blocking(lambda c: records_between(c, [1], from_ns, to_ns, 100))


@pytest.fixture
def hub(samples_db: Database) -> Hub:
    return Hub(samples_db)


@pytest.mark.parametrize("order", list(permutations((0, 1, 2))))
def test_what_was_stamped_by_a_wrong_clock_stands_at_its_true_time_whatever_comes_first(
    hub: Hub, order: tuple[int, ...]
) -> None:
    parts = ([taken_in(1, wrong_by_ns=-5 * HOUR_NS)], [taken_in(2, knows=True)], [taken_in(3, wrong_by_ns=HOUR_NS)])
    for part in order:
        hub.take(*parts[part])
        hub.write()

    assert hub.times() == {1: (1, 5 * 3600), 2: (2, 0), 3: (3, -3600)}
    assert sum(hub.minutes().values()) == 3
    assert set(hub.minutes()) <= {0, 1}
    (first, *_) = hub.read(T0_NS, T0_NS + HOUR_NS)
    sample = numeric_set(first)
    assert sample is not None
    assert sample.measured_at_unix_ns == T0_NS + S_NS
    assert first.record.stamp.wall_ns == T0_NS + S_NS - 5 * HOUR_NS


def test_a_hub_that_is_killed_corrects_after_its_next_start_and_never_twice(hub: Hub) -> None:
    hub.take(taken_in(1, wrong_by_ns=-5 * HOUR_NS), taken_in(2, wrong_by_ns=-5 * HOUR_NS))
    hub.write()
    hub.take(taken_in(3, knows=True))
    for _ in range(3):
        hub.restart()
        hub.write()

    assert hub.times() == {1: (1, 5 * 3600), 2: (2, 5 * 3600), 3: (3, 0)}
    assert sum(hub.minutes().values()) == 3
    hub.take(taken_in(4, wrong_by_ns=-5 * HOUR_NS), taken_in(1, wrong_by_ns=-5 * HOUR_NS))
    hub.restart()
    assert hub.times()[4] == (4, 5 * 3600)
    assert sum(hub.minutes().values()) == 4


def test_another_boot_says_nothing_and_a_clock_that_was_right_is_left_alone(hub: Hub) -> None:
    hub.take(
        taken_in(1, wrong_by_ns=-5 * HOUR_NS, boot=8), taken_in(2, wrong_by_ns=10_000_000), taken_in(3, knows=True)
    )
    hub.write()

    assert hub.times() == {1: (1 - 5 * 3600, None), 2: (2, 0), 3: (3, 0)}


def test_the_rest_of_a_minute_stays_when_a_set_moves_out_of_it_or_into_it(hub: Hub) -> None:
    hub.take(*(taken_in(seq, knows=True, boot=9) for seq in range(60, 70)))
    hub.take(taken_in(1, wrong_by_ns=60 * S_NS), taken_in(62 + 60, wrong_by_ns=-60 * S_NS))
    hub.write()
    assert hub.times()[1] == (61, None)
    before = hub.minutes()
    hub.take(taken_in(200, knows=True))
    hub.write()

    after = hub.minutes()
    assert sum(after.values()) == sum(before.values()) + 1
    assert hub.times()[1] == (1, -60)
    assert hub.times()[122] == (122, 60)


def test_a_device_that_knew_the_time_is_believed_although_its_node_did_not() -> None:
    true_ns, wall_ns, mono_ns = T0_NS, T0_NS - 5 * HOUR_NS, HOUR_NS

    assert shift_ns((wall_ns, mono_ns, true_ns - S_NS), true_ns - mono_ns) == 0
    assert shift_ns((wall_ns, mono_ns, wall_ns - S_NS), true_ns - mono_ns) == 5 * HOUR_NS
