"""One transaction of each store, on SQLite and PostgreSQL, with the real care intake."""

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Table, func, select
from telemed.errors import Code
from telemed.topics import Up
from telemed.wire import Kind, Record, encode

from cloud_hub.desk.intake import Intake
from cloud_hub.errors import StoreFailure
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch, Batcher, part_of
from cloud_hub.ingest.metrics import IngestMetrics
from cloud_hub.ingest.stores import CareStore, SampleStore
from cloud_hub.store.engine import Database
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
from tests.fakes.brokers import running, until
from tests.fakes.containers import CLINIC, alarm, care, numeric, sealed, wave


def batch(what: Up, *records: Record) -> Batch:
    admission = admit(CLINIC, what, encode(records))
    return part_of(admission.records, admission.unusable, 1)


def count(database: Database, table: Table) -> int:
    return database.read_blocking(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


def test_samples_are_stored_with_their_minutes(samples_db: Database) -> None:
    store = SampleStore()
    samples_db.write_blocking(lambda c: store.store(c, batch(Up.VITALS, *(numeric(seq) for seq in range(1, 121)))))
    samples_db.write_blocking(lambda c: store.store(c, batch(Up.WAVES, wave(1))))
    assert (count(samples_db, record), count(samples_db, trend)) == (121, 3)


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
    store, told = SampleStore(), list[Taken]()
    metrics = IngestMetrics(CollectorRegistry())
    batcher = Batcher(samples_db, store.store, store.forget, lambda taken, _batch: told.append(taken), metrics)
    full = batch(Up.VITALS, numeric(1), numeric(2), numeric(3))
    # Past what a column holds: SQLite and PostgreSQL both refuse it.
    full.records[1] = replace(full.records[1], measured_ns=2**70)
    batcher.put(full)
    async with running(batcher.run()):
        await until(lambda: sum(len(taken.fresh) for taken in told) == 2)
        await until(lambda: any(taken.buried for taken in told))
    assert count(samples_db, record) == 2
    reasons = samples_db.read_blocking(lambda c: list(c.execute(select(samples_dead_letter.c.reason)).scalars()))
    assert reasons == [Code.POISON]
    assert max(mark.contig for taken in told for mark in taken.marks.values()) == 3


@pytest.mark.anyio
async def test_a_store_that_is_away_is_waited_for_and_nothing_is_told_before(samples_db: Database) -> None:
    store, told, tries = SampleStore(), list[Taken](), list[int]()

    def away_twice(connection: Connection, what: Batch) -> Taken:
        tries.append(1)
        taken = store.store(connection, what)
        if len(tries) < 3:
            failure = StoreFailure("away")
            failure.is_passing = True
            raise failure
        return taken

    metrics = IngestMetrics(CollectorRegistry())
    batcher = Batcher(samples_db, away_twice, store.forget, lambda taken, _batch: told.append(taken), metrics)
    batcher.put(batch(Up.VITALS, numeric(1)))
    async with running(batcher.run()):
        await until(lambda: bool(told))
    assert (len(tries), len(told), count(samples_db, record)) == (3, 1, 1)
