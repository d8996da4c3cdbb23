"""One transaction of each store, on SQLite and PostgreSQL, with the real care intake."""

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Table, delete, func, select
from telemed.errors import Code
from telemed.topics import Up
from telemed.wire import Kind, Record, encode

from cloud_hub.desk.intake import Intake
from cloud_hub.errors import StoreFailure
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch, Batcher
from cloud_hub.ingest.metrics import IngestMetrics
from cloud_hub.ingest.stores import CareStore, SampleStore
from cloud_hub.store import reopening
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import Name
from cloud_hub.store.intake import Taken
from cloud_hub.store.schema import alarm as alarm_table
from cloud_hub.store.schema import (
    alarm_step,
    care_dead_letter,
    care_record,
    event,
    record,
    samples_dead_letter,
    trend,
)
from cloud_hub.store.trends import trend_rows
from tests.fakes.brokers import running, until
from tests.fakes.containers import CLINIC, EPOCH, T0_NS, alarm, care, numeric, sealed, wave


def batch(what: Up, *records: Record) -> Batch:
    admission = admit(CLINIC, what, encode(records))
    return Batch(admission.records, admission.unusable, T0_NS)


def keep(database: Database, store: SampleStore, what: Batch) -> None:
    database.write_blocking(lambda connection: store.store(connection, what), store.kept)


def count(database: Database, table: Table) -> int:
    return database.read_blocking(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


def test_samples_are_stored_with_their_minutes(samples_db: Database) -> None:
    store = SampleStore()
    keep(samples_db, store, batch(Up.VITALS, *(numeric(seq) for seq in range(1, 121))))
    keep(samples_db, store, batch(Up.WAVES, wave(1)))
    samples_db.write_blocking(store.trends.write, store.trends.written)
    assert (count(samples_db, record), count(samples_db, trend)) == (121, 3)


def test_minutes_not_yet_written_when_the_hub_ended_are_folded_at_its_next_start_and_none_twice(
    samples_db: Database,
) -> None:
    first = SampleStore()
    keep(samples_db, first, batch(Up.VITALS, numeric(1, "97"), wave(1, "mon-b01/numeric")))
    samples_db.write_blocking(first.trends.write, first.trends.written)
    keep(samples_db, first, batch(Up.VITALS, numeric(2, "91"), numeric(70, "95")))

    for _ in range(2):
        later = SampleStore()
        samples_db.write_blocking(later.trends.catch_up, later.trends.written)
    keep(samples_db, later, batch(Up.VITALS, numeric(3, "93"), numeric(2, "91")))
    samples_db.write_blocking(later.trends.write, later.trends.written)

    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1, 2], 0, 2**31 - 1))
    assert [(row.n, row.low, row.high, row.last) for row in rows] == [(3, "91", "97", "93"), (1, "95", "95", "95")]


@pytest.mark.parametrize("is_killed", [False, True])
def test_a_set_that_vanished_and_came_again_is_counted_once_in_its_minute(
    samples_db: Database, *, is_killed: bool
) -> None:
    store = SampleStore()
    keep(samples_db, store, batch(Up.VITALS, *(numeric(seq, "97") for seq in (1, 2, 3))))
    samples_db.write_blocking(store.trends.write, store.trends.written)
    samples_db.write_blocking(lambda c: c.execute(delete(record).where(record.c.seq == 2)))
    name = Name(CLINIC, "mon-b01/numeric", EPOCH)
    samples_db.write_blocking(lambda c: reopening.reopen(c, name, [2], "run", T0_NS), store.forget)

    keep(samples_db, store, batch(Up.VITALS, numeric(4, "97")))
    keep(samples_db, store, batch(Up.VITALS, numeric(2, "97"), numeric(5, "97")))
    if is_killed:
        samples_db.write_blocking(lambda c: reopening.close(c, False, "run"))
        store = SampleStore()
        samples_db.write_blocking(store.trends.catch_up, store.trends.written)
    samples_db.write_blocking(store.trends.write, store.trends.written)

    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1, 2], 0, 2**31 - 1))
    assert [row.n for row in rows] == [5]


def test_a_batch_that_was_not_committed_is_in_no_minute(samples_db: Database) -> None:
    store = SampleStore()

    def fail(connection: Connection) -> None:
        store.store(connection, batch(Up.VITALS, numeric(1, "40")))
        raise LookupError

    with pytest.raises(LookupError):
        samples_db.write_blocking(fail, store.kept)
    store.forget()
    keep(samples_db, store, batch(Up.VITALS, numeric(1, "97")))
    samples_db.write_blocking(store.trends.write, store.trends.written)
    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1, 2], 0, 2**31 - 1))
    assert [(row.n, row.low) for row in rows] == [(1, "97")]


def test_alarms_and_events_become_what_care_makes_of_them_once(care_db: Database) -> None:
    store = CareStore(Intake(lambda _taken: None))
    for _ in range(2):
        care_db.write_blocking(lambda c: store.store(c, batch(Up.ALARM, alarm(1), alarm(2))))
        care_db.write_blocking(lambda c: store.store(c, batch(Up.CARE, care(1))))
        store.forget()
    assert [count(care_db, table) for table in (care_record, alarm_step, event)] == [3, 2, 1]


def test_an_unreadable_alarm_is_kept_counted_and_raises_one_alarm_of_the_hub(care_db: Database) -> None:
    store = CareStore(Intake(lambda _taken: None))
    broken = [sealed(Kind.ALARM_EVENT, b"\xff" * seq, seq, "node/alarm") for seq in (1, 2)]
    taken = care_db.write_blocking(lambda c: store.store(c, batch(Up.ALARM, *broken)))
    assert [mark.contig for mark in taken.marks.values()] == [2]
    assert count(care_db, care_dead_letter) == 2
    rows = care_db.read_blocking(lambda c: c.execute(select(alarm_table.c.condition, alarm_table.c.node)).all())
    assert [tuple(row) for row in rows] == [("alarm-unreadable", "hub")]


@pytest.mark.anyio
async def test_a_record_that_the_database_cannot_take_is_buried_and_the_others_pass(samples_db: Database) -> None:
    told = list[Taken]()
    metrics = IngestMetrics(CollectorRegistry())
    batcher = Batcher(samples_db, SampleStore(), lambda taken, _batch: told.append(taken), metrics)
    full = batch(Up.VITALS, numeric(1), numeric(2), numeric(3))
    # Past what a column holds: SQLite and PostgreSQL both refuse it.
    full.records[1] = full.records[1]._replace(measured_ns=2**70)
    batcher.put(full.records, [], 1, T0_NS)
    async with running(batcher.run()):
        await until(lambda: sum(len(taken.fresh) for taken in told) == 2)
        await until(lambda: any(taken.buried for taken in told))
    assert count(samples_db, record) == 2
    reasons = samples_db.read_blocking(lambda c: list(c.execute(select(samples_dead_letter.c.reason)).scalars()))
    assert reasons == [Code.POISON]
    assert max(mark.contig for taken in told for mark in taken.marks.values()) == 3


@pytest.mark.anyio
async def test_a_store_that_is_away_is_waited_for_and_nothing_is_told_before(samples_db: Database) -> None:
    told, tries = list[Taken](), list[int]()

    class AwayTwice(SampleStore):
        def store(self, connection: Connection, batch: Batch) -> Taken:
            tries.append(1)
            taken = super().store(connection, batch)
            if len(tries) < 3:
                failure = StoreFailure("away")
                failure.is_passing = True
                raise failure
            return taken

    metrics = IngestMetrics(CollectorRegistry())
    batcher = Batcher(samples_db, AwayTwice(), lambda taken, _batch: told.append(taken), metrics)
    batcher.put(batch(Up.VITALS, numeric(1)).records, [], 1, T0_NS)
    async with running(batcher.run()):
        await until(lambda: bool(told))
    assert (len(tries), len(told), count(samples_db, record)) == (3, 1, 1)
