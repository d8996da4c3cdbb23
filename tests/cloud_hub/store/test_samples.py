"""Taking in and reading measurements, on SQLite and PostgreSQL."""

import sqlite3
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy import func as sql
from telemed.errors import Code
from telemed.v1.sample_pb2 import ASSIGNMENT_UNASSIGNED, ORIGIN_TEST, NumericSet
from telemed.wire import Record

from cloud_hub.store import dialect, partitions, watermarks
from cloud_hub.store.engine import Database
from cloud_hub.store.intake import Taken, take
from cloud_hub.store.samples import SampleLedger, StoredRecord, newest_of, record_by_key, records_between, streams_of
from cloud_hub.store.schema import record, samples_dead_letter, samples_stream, samples_watermark, trend
from cloud_hub.store.streams import Incoming, watermark_of
from cloud_hub.store.trends import TrendRow, Trends, trend_rows, write_after_s
from tests.fakes.containers import CLINIC, EPOCH, HOME, S_NS, T0_NS, numeric, numeric_set, wave

STREAM = (CLINIC, "mon-b01/numeric", EPOCH)


def incoming(item: Record, refusal: str = "") -> Incoming:
    return Incoming(CLINIC, item, item.stamp.wall_ns, refusal)


def numbers(rows: list[StoredRecord]) -> list[int]:
    return [row.record.seq for row in rows]


def fold(database: Database, pairs: list[tuple[int, NumericSet]]) -> None:
    trends = Trends()
    trends.stage(pairs)
    trends.kept()
    database.write_blocking(trends.write)


class Store:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.ledger = SampleLedger()

    def take(self, *items: Record | Incoming) -> Taken:
        batch = [item if isinstance(item, Incoming) else incoming(item) for item in items]
        return self.database.write_blocking(lambda c: take(c, self.ledger, batch, T0_NS))

    def count(self) -> int:
        return self.database.read_blocking(lambda c: c.execute(select(sql.count()).select_from(record)).scalar_one())

    def dead(self) -> list[tuple[str, int, int]]:
        c = samples_dead_letter.c
        return self.database.read_blocking(
            lambda connection: [tuple(row) for row in connection.execute(select(c.reason, c.seq, c.n).order_by(c.id))]
        )


@pytest.fixture
def store(samples_db: Database) -> Store:
    return Store(samples_db)


def test_a_batch_is_stored_with_its_watermark(store: Store) -> None:
    taken = store.take(numeric(1), numeric(2), wave(1))
    assert [item.record.seq for item in taken.fresh] == [1, 2, 1]
    assert (taken.marks[STREAM].contig, taken.marks[(CLINIC, "mon-b01/wave", EPOCH)].contig) == (2, 1)
    assert store.count() == 3


def test_a_record_that_comes_again_is_stored_once_and_receipted_again(store: Store) -> None:
    store.take(numeric(1), numeric(2))
    store.ledger.streams.forget()
    taken = store.take(numeric(2), numeric(1), numeric(3), numeric(3))
    assert (taken.duplicates, [item.record.seq for item in taken.fresh]) == (3, [3])
    assert (store.count(), taken.marks[STREAM].contig, store.dead()) == (3, 3, [])


def test_the_same_key_with_other_content_goes_to_the_dead_letters(store: Store) -> None:
    store.take(numeric(1, "96"))
    taken = store.take(numeric(1, "41"), numeric(2, "97"), numeric(2, "42"))
    assert [(letter.reason, letter.seq) for letter in taken.buried] == [(Code.KEY_CONFLICT, 1), (Code.KEY_CONFLICT, 2)]
    kept = store.database.read_blocking(lambda c: record_by_key(c, 1, EPOCH, 1))
    assert kept is not None
    assert kept.record.body() == numeric_set(1, "96").SerializeToString()
    store.take(numeric(1, "41"))
    assert store.dead() == [(Code.KEY_CONFLICT, 1, 2), (Code.KEY_CONFLICT, 2, 1)]


def test_the_same_key_with_another_day_is_not_a_second_row(store: Store) -> None:
    store.take(numeric(1))
    moved = numeric(1)._replace(stamp=numeric(1).stamp._replace(wall_ns=T0_NS + 5 * 86_400 * S_NS), crc=1)
    store.take(moved)
    assert (store.count(), [letter[0] for letter in store.dead()]) == (1, [Code.KEY_CONFLICT])


def test_a_refused_record_is_counted_so_that_the_stream_goes_on(store: Store) -> None:
    taken = store.take(numeric(1), incoming(numeric(2), Code.PAYLOAD_UNREADABLE), numeric(3))
    assert (taken.marks[STREAM].contig, store.count()) == (3, 2)
    again = store.take(incoming(numeric(2), Code.PAYLOAD_UNREADABLE))
    assert (again.duplicates, store.dead()) == (1, [(Code.PAYLOAD_UNREADABLE, 2, 1)])
    store.take(numeric(2, "50"))
    assert store.dead()[1][:2] == (Code.KEY_CONFLICT, 2)


def test_a_jump_of_a_thousand_million_is_kept_and_flagged_once(store: Store) -> None:
    taken = store.take(numeric(1), numeric(1_000_000_001))
    assert taken.jumped == [STREAM[:2]]
    assert taken.marks[STREAM].gaps == ((2, 1_000_000_000),)
    back = store.take(numeric(2))
    assert (back.jumped, back.marks[STREAM].contig, store.count()) == ([], 2, 3)


def test_numbers_that_the_watermark_forgot_are_not_stored_twice(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watermarks, "GAP_LIMIT", 2)
    store.take(*(numeric(seq) for seq in (2, 4, 6, 8)))
    taken = store.take(*(numeric(seq) for seq in range(1, 9)))
    assert (store.count(), taken.marks[STREAM].contig, store.dead()) == (8, 8, [])


def test_a_rolled_back_batch_leaves_no_watermark(store: Store) -> None:
    def fail(connection: Connection) -> None:
        take(connection, store.ledger, [incoming(numeric(1))], T0_NS)
        raise LookupError

    with pytest.raises(LookupError):
        store.database.write_blocking(fail)
    store.ledger.streams.forget()
    assert store.take(numeric(2)).marks[STREAM].contig == 0
    read = store.database.read_blocking(
        lambda c: watermark_of(c, samples_stream, samples_watermark, CLINIC, ("mon-b01/numeric", EPOCH))
    )
    assert read is not None
    assert read.gaps == ((1, 1),)


def test_records_are_read_by_site_device_and_time(store: Store) -> None:
    store.take(numeric(1), numeric(2), numeric(3), wave(2), Incoming(HOME, numeric(1), T0_NS))

    def look(connection: Connection) -> tuple[object, ...]:
        streams = streams_of(connection, "baoshan-clinic", ["mon-b01"])
        ids = [stream.id for stream in streams if stream.kind == "numeric"]
        between = records_between(connection, ids, T0_NS + 2 * S_NS, T0_NS + 9 * S_NS, 10)
        down = records_between(connection, ids, 0, T0_NS + 9 * S_NS, 2, newest_first=True)
        newest = newest_of(connection, ids, before_ns=T0_NS + 3 * S_NS)
        return [stream.name for stream in streams], *(numbers(rows) for rows in (between, down, newest))

    assert store.database.read_blocking(look) == (["mon-b01/numeric", "mon-b01/wave"], [2, 3], [3, 2], [2])


def test_payload_and_stamp_come_back_exactly(store: Store) -> None:
    item = numeric(1)
    store.take(item)
    kept = store.database.read_blocking(lambda c: record_by_key(c, 1, EPOCH, 1))
    assert kept is not None
    assert kept.record._replace(stream=item.stream) == item


def test_late_sets_join_their_minute_and_decimals_stay_as_sent(samples_db: Database) -> None:
    fold(samples_db, [(1, numeric_set(1, "96.0")), (1, numeric_set(59, "98"))])
    fold(samples_db, [(1, numeric_set(2, "91.50"))])
    minute = T0_NS // (60 * S_NS)
    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1], minute, minute + 2))
    assert [(row.n, row.low, row.high, row.last) for row in rows] == [
        (2, "91.50", "96.0", "91.50"),
        (1, "98", "98", "98"),
    ]


@pytest.mark.parametrize(
    ("first", "later", "row"),
    [
        pytest.param([(5, "97")], [(7, "98")], (2, "97", "98", "98"), id="higher and newer"),
        pytest.param([(7, "97")], [(5, "98")], (2, "97", "98", "97"), id="higher and older"),
        pytest.param([(5, "97.5")], [(5, "9.8")], (2, "9.8", "97.5", "9.8"), id="as numbers, not as texts; same time"),
        pytest.param([(5, "-1")], [(7, "-10")], (2, "-10", "-1", "-10"), id="below zero"),
        pytest.param([(5, "5.")], [(7, "5.00")], (2, "5.", "5.", "5.00"), id="the same number in other words"),
        pytest.param([(5, "+.5")], [(7, "4e-1"), (8, "1E+1")], (3, "4e-1", "1E+1", "1E+1"), id="all forms of numbers"),
    ],
)
def test_what_is_folded_joins_the_minute_as_it_is_written(
    samples_db: Database, first: list[tuple[int, str]], later: list[tuple[int, str]], row: tuple[int, str, str, str]
) -> None:
    for sets in (first, later):
        fold(samples_db, [(1, numeric_set(at, value)) for at, value in sets])
    (found,) = samples_db.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
    assert (found.n, found.low, found.high, found.last) == row
    assert found.last_ns == T0_NS + max(at for at, _ in first + later) * S_NS


def test_no_sum_of_counts_keeps_a_minute_from_being_written(samples_db: Database) -> None:
    fold(samples_db, [(1, numeric_set(1, "96"))])
    samples_db.write_blocking(lambda c: c.execute(trend.update().values(n=2**31 - 2)))
    for _ in range(2):
        fold(samples_db, [(1, numeric_set(2, "96"))])
    (row,) = samples_db.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
    assert row.n == 2**31 - 1


def test_a_minute_is_written_and_an_hour_read_without_going_through_all_that_is_stored(samples_db: Database) -> None:
    """With the measure before the minute all days of a stream were read for one minute of it: seconds, for each day."""
    if samples_db.is_postgres:
        pytest.skip("SQLite counts what it does")
    steps = []
    for days in (1, 4):
        samples_db.write_blocking(partial(_fill_days, days=days))
        steps.append((samples_db.write_blocking(_written_steps), samples_db.read_blocking(_hour_steps)))
    assert steps[1] == pytest.approx(steps[0], rel=0.2)


def _fill_days(connection: Connection, days: int) -> None:
    now = T0_NS // (60 * S_NS)
    rows = [
        (1, now - back, measure, 60, "90", "99", "97", T0_NS)
        for back in range(days * 1440)
        for measure in ("hr", "spo2")
    ]
    dialect.upsert(connection, trend, TrendRow._fields, rows, ("stream_id", "minute", "measure"))


def _written_steps(connection: Connection) -> int:
    trends = Trends()
    trends.stage([(1, numeric_set(1, "96"))])
    trends.kept()
    return _steps(connection, lambda: trends.write(connection))


def _hour_steps(connection: Connection) -> int:
    now = T0_NS // (60 * S_NS)
    return _steps(connection, lambda: trend_rows(connection, [1], now - 60, now))


def _steps(connection: Connection, work: Callable[[], object]) -> int:
    """Return how many steps SQLite's machine makes for some work."""
    driver, steps = connection.connection.driver_connection, [0]
    assert isinstance(driver, sqlite3.Connection)
    driver.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 1), 1)
    work()
    driver.set_progress_handler(None, 0)
    return steps[0]


def test_values_that_are_no_numbers_make_no_trend(samples_db: Database) -> None:
    pairs = [(1, numeric_set(1, value)) for value in ("NaN", "Infinity", "", "x", "9" * 40)]
    pairs.append((1, numeric_set(1, "9", "m" * 90)))
    fold(samples_db, pairs)
    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
    assert rows == []


def test_what_is_a_test_or_of_a_person_in_doubt_makes_no_trend(samples_db: Database) -> None:
    test, doubtful = numeric_set(1, "40"), numeric_set(2, "41")
    test.origin = ORIGIN_TEST
    doubtful.assignment = ASSIGNMENT_UNASSIGNED
    fold(samples_db, [(1, test), (1, doubtful), (1, numeric_set(3, "97"))])
    rows = samples_db.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
    assert [(row.n, row.low) for row in rows] == [(1, "97")]


def test_trends_are_written_every_five_seconds_and_less_often_where_there_are_many() -> None:
    assert [write_after_s(minutes) for minutes in (0, 100, 1250, 3750, 5000, 10**6)] == [5, 5, 5, 15, 20, 20]


def test_what_waits_to_be_written_is_counted_until_it_is_written(samples_db: Database) -> None:
    trends = Trends()
    trends.stage([(1, numeric_set(1, "96")), (1, numeric_set(2, "97")), (1, numeric_set(61, "98"))])
    trends.kept()
    assert trends.minutes == 2
    samples_db.write_blocking(trends.write, trends.written)
    assert trends.minutes == 0


def test_days_are_made_ahead_and_a_wrong_clock_is_counted(samples_db: Database) -> None:
    if not samples_db.is_postgres:
        assert samples_db.write_blocking(lambda c: partitions.prepare(c, 20_000)) == 0
        return
    store, today = Store(samples_db), T0_NS // (86_400 * S_NS)
    assert samples_db.write_blocking(lambda c: partitions.prepare(c, today)) == 0
    wrong = numeric(2)._replace(stamp=numeric(2).stamp._replace(wall_ns=0))
    store.take(numeric(1), wrong)
    assert samples_db.write_blocking(lambda c: partitions.prepare(c, today)) == 1
    by_day = text(f"SELECT count(*) FROM record_day_{today}")
    assert (store.count(), samples_db.read_blocking(lambda c: c.execute(by_day).scalar_one())) == (2, 1)
