"""What the hub really holds, and taking back that it holds something; on SQLite and PostgreSQL."""

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from telemed.errors import Code
from telemed.reconcile import mark_of
from telemed.topics import Up
from telemed.wire import Record, encode

from cloud_hub.ingest.admit import admit
from cloud_hub.store import holdings, reopening
from cloud_hub.store.care_records import CareLedger
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import Name
from cloud_hub.store.intake import Ledger, Taken, take
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.streams import Incoming, read_watermark
from cloud_hub.store.watermarks import Watermark
from tests.fakes.containers import CLINIC, EPOCH, T0_NS, alarm, declared, numeric

NUMERIC = Name(CLINIC, "mon-b01/numeric", EPOCH)
ALARM = Name(CLINIC, "node/alarm", EPOCH)
RUN = "0190-run"


class Store:
    def __init__(self, database: Database, ledger: Ledger, name: Name) -> None:
        self.database, self.ledger, self.name = database, ledger, name

    def take(self, *items: Record, refusal: str = "") -> Taken:
        batch = [Incoming(CLINIC, item, item.stamp.wall_ns, refusal) for item in items]
        return self.database.write_blocking(lambda c: take(c, self.ledger, batch, T0_NS))

    def held(self, first: int, last: int) -> holdings.Holding:
        return self.database.read_blocking(lambda c: holdings.held(c, self.name, (first, last)))

    def missing(self, first: int, last: int) -> list[tuple[int, int]]:
        return self.database.read_blocking(lambda c: holdings.missing(c, self.name, (first, last)))

    def run(self, statement: str) -> None:
        def work(connection: Connection) -> None:
            connection.execute(text(statement))

        self.database.write_blocking(work)

    def reopen(self, *seqs: int) -> int:
        work: Callable[[Connection], tuple[Watermark, int]]
        work = lambda c: reopening.reopen(c, self.name, seqs, RUN, T0_NS)  # noqa: E731
        return self.database.write_blocking(work, self.ledger.streams.forget)[1]

    def mark(self) -> Watermark:
        def look(connection: Connection) -> Watermark:
            key = holdings.key_of(connection, self.name)
            assert key is not None
            return read_watermark(connection, holdings.side_of(self.name).watermark, key)

        return self.database.read_blocking(look)

    def close(self) -> None:
        self.database.write_blocking(lambda c: reopening.close(c, self.name.is_care, RUN))

    def still_missing(self) -> tuple[int, int]:
        return self.database.read_blocking(
            lambda c: reopening.still_missing(c, self.name.is_care, self.name.address, RUN)
        )


@pytest.fixture
def samples(samples_db: Database) -> Store:
    return Store(samples_db, SampleLedger(), NUMERIC)


@pytest.fixture
def care(care_db: Database) -> Store:
    return Store(care_db, CareLedger(), ALARM)


def test_what_is_stored_has_the_marks_of_what_was_sent(samples: Store, care: Store) -> None:
    for store, make in ((samples, numeric), (care, alarm)):
        records = [make(seq) for seq in (1, 2, 3)]
        store.take(*records)
        assert store.held(1, 3).in_order() == [mark_of(record) for record in records]
        assert store.held(2, 2).in_order() == [mark_of(records[1])]


@pytest.mark.parametrize(
    "change",
    [
        "wall_ns = 5",
        "mono_ns = 5",
        "boot = 5",
        "offset_ms = 5",
        "offset_error_ms = 6",
        "kind = 2",
        "codec = 1",
        "schema = 9",
    ],
)
def test_a_measurement_changed_in_its_row_shows(samples: Store, change: str) -> None:
    samples.take(numeric(1), numeric(2))
    before = samples.held(1, 2)
    samples.run(f"UPDATE record SET {change} WHERE seq = 2")
    after = samples.held(1, 2)
    assert after.marks[1] == before.marks[1]
    assert after.marks[2] != before.marks[2]


def test_a_changed_payload_of_an_alarm_shows(care: Store) -> None:
    care.take(alarm(1))
    before = care.held(1, 1)
    care.run("UPDATE care_record SET payload = substr(payload, 2)")
    assert care.held(1, 1).marks[1] != before.marks[1]


def test_a_row_that_no_record_can_have_shows(samples: Store) -> None:
    samples.take(numeric(1))
    samples.run("UPDATE record SET boot = -1")
    assert not samples.held(1, 1).agrees(mark_of(numeric(1)))


def test_a_dead_letter_holds_its_number_and_one_beside_a_record_does_not(samples: Store) -> None:
    samples.take(numeric(1), numeric(3))
    samples.take(numeric(2), refusal=Code.NO_VALUES)
    samples.take(numeric(3, "50"))
    assert samples.held(1, 3).in_order() == [mark_of(numeric(seq)) for seq in (1, 2, 3)]
    samples.run("DELETE FROM record WHERE seq = 3")
    assert samples.missing(1, 3) == [(3, 3)]
    assert 3 not in samples.held(1, 3).marks


def test_of_a_record_and_a_dead_letter_under_one_number_the_record_counts(samples: Store) -> None:
    samples.take(numeric(1))
    samples.take(numeric(1, "50"))
    samples.run(f"UPDATE dead_letter SET reason = '{Code.POISON}'")
    assert samples.held(1, 1).in_order() == [mark_of(numeric(1))]


def test_of_a_dead_letter_without_its_head_the_payload_is_compared(samples: Store) -> None:
    samples.take(numeric(1), refusal=Code.TOO_LARGE)
    payload = "X'" + numeric(1).payload.hex() + "'"
    if samples.database.is_postgres:
        payload = f"'\\x{numeric(1).payload.hex()}'"
    samples.run(f"UPDATE dead_letter SET raw = {payload}")
    held = samples.held(1, 1)
    assert held.agrees(mark_of(numeric(1)))
    assert not held.agrees(mark_of(numeric(1, "50")))


def test_what_is_missing_is_counted_and_what_was_declared_shed_is_not(samples: Store) -> None:
    samples.take(*(numeric(seq) for seq in range(1, 11)))
    assert samples.missing(1, 10) == []
    samples.run("DELETE FROM record WHERE seq IN (2, 3, 7)")
    assert samples.missing(1, 10) == [(2, 3), (7, 7)]
    given_up = admit(CLINIC, Up.VITALS, encode([declared(1, NUMERIC.stream, (2, 3))])).records
    samples.database.write_blocking(lambda c: take(c, samples.ledger, given_up, T0_NS))
    assert samples.missing(1, 10) == [(7, 7)]
    assert samples.missing(3, 7) == [(7, 7)]


def test_a_stream_that_never_arrived_is_missing_whole(samples: Store) -> None:
    assert samples.missing(1, 5) == [(1, 5)]
    assert not samples.held(1, 5).marks


def test_what_is_reopened_is_a_gap_and_is_stored_when_it_comes_again(samples: Store, care: Store) -> None:
    for store, make, table in ((samples, numeric, "record"), (care, alarm, "care_record")):
        records = [make(seq) for seq in range(1, 9)]
        store.take(*records)
        store.run(f"DELETE FROM {table} WHERE seq IN (3, 4, 8)")
        assert store.take(records[2]).fresh == [], "the watermark says that it is there"
        assert store.reopen(3, 4, 8) == 3
        assert store.mark() == Watermark(2, 8, ((3, 4), (8, 8)))
        assert store.still_missing() == (3, 3)
        assert [item.record.seq for item in store.take(records[2], records[7]).fresh] == [3, 8]
        assert store.still_missing() == (3, 1)
        store.take(records[3])
        assert store.mark() == Watermark(8, 8)
        assert store.still_missing() == (3, 0)
        store.close()
        assert store.still_missing() == (0, 0)


def test_reopening_twice_asks_once(samples: Store) -> None:
    samples.take(*(numeric(seq) for seq in range(1, 5)))
    samples.run("DELETE FROM record WHERE seq = 2")
    assert [samples.reopen(2), samples.reopen(2)] == [1, 1]
    assert samples.still_missing() == (1, 1)


def test_a_stream_that_is_gone_whole_is_asked_for_again(samples: Store) -> None:
    assert samples.reopen(1, 2, 3) == 3
    samples.take(numeric(1), numeric(2))
    assert samples.still_missing() == (3, 1)


def test_gaps_beyond_a_bound_wait_for_the_next_run() -> None:
    mark, taken = reopening.without(Watermark(4000, 4000), range(2, 4000, 2))
    assert len(mark.gaps) == reopening.MOST_GAPS == len(taken)
    assert mark.contig == 1
    assert reopening.without(mark, range(2, 4000, 2)) == (mark, taken)


def test_gaps_that_touch_become_one() -> None:
    mark, taken = reopening.without(Watermark(2, 9, ((3, 4),)), [5, 6, 9, 12])
    assert mark == Watermark(2, 9, ((3, 6), (9, 9)))
    assert taken == [5, 6, 9]


def test_a_number_counts_as_looked_at_only_without_a_hole_before_it(samples: Store) -> None:
    samples.take(numeric(1))

    def note(first: int, last: int) -> int:
        samples.database.write_blocking(lambda c: reopening.note_verified(c, NUMERIC, (first, last)))
        return samples.database.read_blocking(lambda c: reopening.verified_to(c, NUMERIC))

    assert [note(2, 5), note(1, 3), note(7, 9), note(4, 6), note(1, 2)] == [0, 3, 3, 6, 6]
