"""Numbers that a node declares given up, on SQLite and PostgreSQL."""

from dataclasses import replace

import pytest
from sqlalchemy import select
from telemed.errors import Code
from telemed.topics import Up
from telemed.v1 import sample_pb2
from telemed.wire import Kind, Record, encode

from cloud_hub.care.places import Place
from cloud_hub.desk.intake import Intake
from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch
from cloud_hub.ingest.stores import CareStore, SampleStore
from cloud_hub.store.engine import Database
from cloud_hub.store.intake import Taken
from cloud_hub.store.schema import care_shed, record, samples_shed
from cloud_hub.store.trends import trend_rows
from cloud_hub.web.trend_read import Window, read_given_up
from tests.fakes.containers import CLINIC, EPOCH, T0_NS, alarm, declared, numeric, sealed, wave

WAVES = (CLINIC, "mon-b01/wave", EPOCH)


def batch(what: Up, *records: Record) -> Batch:
    admission = admit(CLINIC, what, encode(records))
    return Batch(admission.records, admission.unusable, T0_NS)


class Samples:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = SampleStore()

    def take(self, what: Up, *records: Record) -> Taken:
        return self.database.write_blocking(lambda c: self.store.store(c, batch(what, *records)), self.store.kept)

    def ranges(self) -> list[tuple[int, int, str, int]]:
        c = samples_shed.c
        query = select(c.first, c.last, c.reason, c.missing).order_by(c.first)
        return self.database.read_blocking(lambda connection: [tuple(row) for row in connection.execute(query)])

    def stored(self) -> list[int]:
        query = select(record.c.seq).where(record.c.kind == int(Kind.WAVEFORM_SET)).order_by(record.c.seq)
        return self.database.read_blocking(lambda connection: list(connection.execute(query).scalars()))


@pytest.fixture
def samples(samples_db: Database) -> Samples:
    return Samples(samples_db)


def test_declared_numbers_are_accounted_for_receipted_and_kept_apart_from_what_is_stored(samples: Samples) -> None:
    samples.take(Up.WAVES, wave(1), wave(2), wave(10))
    taken = samples.take(Up.VITALS, declared(1, "mon-b01/wave", (3, 9)))

    assert (taken.marks[WAVES].contig, taken.marks[WAVES].gaps) == (10, ())
    assert [(one.stream, one.reason, one.missing) for one in taken.declared] == [("mon-b01/wave", "disk", 7)]
    assert samples.ranges() == [(3, 9, "disk", 7)]
    assert samples.stored() == [1, 2, 10]
    samples.store.forget()
    assert samples.take(Up.WAVES, wave(11)).marks[WAVES].contig == 11


def test_only_what_the_hub_does_not_have_counts_as_given_up(samples: Samples) -> None:
    samples.take(Up.WAVES, wave(1), wave(2), wave(3))
    taken = samples.take(Up.VITALS, declared(1, "mon-b01/wave", (2, 3), (5, 6), reason="damaged"))

    assert taken.declared[0].missing == 2
    assert (taken.marks[WAVES].contig, taken.marks[WAVES].gaps) == (3, ((4, 4),))


def test_a_declaration_that_comes_again_changes_nothing(samples: Samples) -> None:
    samples.take(Up.VITALS, declared(1, "mon-b01/wave", (1, 5)))
    again = samples.take(Up.VITALS, declared(1, "mon-b01/wave", (1, 5)))
    assert (again.declared, again.duplicates, samples.ranges()) == ([], 1, [(1, 5, "disk", 5)])


@pytest.mark.parametrize("remembers", [True, False])
def test_what_was_given_up_while_it_was_on_its_way_is_stored_all_the_same(samples: Samples, remembers: bool) -> None:
    samples.take(Up.WAVES, wave(1))
    samples.take(Up.VITALS, declared(1, "mon-b01/wave", (2, 3)))
    if not remembers:
        samples.store.forget()
    samples.take(Up.WAVES, wave(2), wave(1))
    samples.take(Up.WAVES, wave(2))
    assert samples.stored() == [1, 2]


def test_alarms_are_never_given_up_for_room_and_only_as_damaged_in_a_stream_of_their_own(care_db: Database) -> None:
    store = CareStore(Intake(lambda _taken: None))

    def take(what: Up, *records: Record) -> Taken:
        return care_db.write_blocking(lambda c: store.store(c, batch(what, *records)), store.kept)

    refused = take(Up.ALARM, declared(1, "node/alarm", (1, 2), reason="disk"))
    assert [letter.reason for letter in refused.buried] == [Code.PAYLOAD_UNREADABLE]
    taken = take(Up.ALARM, declared(2, "node/alarm", (1, 2), reason="damaged"), alarm(3))
    assert taken.marks[CLINIC, "node/alarm", EPOCH].contig == 3
    found = care_db.read_blocking(lambda c: c.execute(select(care_shed.c.first, care_shed.c.last)).one())
    assert tuple(found) == (1, 2)


@pytest.mark.parametrize(
    "runs", [(), ((0, 3),), ((3, 2),), ((5, 6), (1, 2)), ((1, 2), (2, 3)), tuple((n, n) for n in range(1, 600, 2))]
)
def test_ranges_that_are_none_are_refused(runs: tuple[tuple[int, int], ...]) -> None:
    (item,) = admit(CLINIC, Up.VITALS, encode([declared(1, "mon-b01/wave", *runs)])).records
    assert item.refusal == Code.PAYLOAD_UNREADABLE


@pytest.mark.parametrize("stream", ["mon-b01/wave", "node/care"])
def test_a_declaration_counts_only_in_the_stream_that_it_belongs_to(stream: str) -> None:
    moved = declared(1, stream, (1, 2), reason="damaged")
    body = sealed(Kind.SHED, moved.body(), 1, "node/alarmshed")
    (item,) = admit(CLINIC, Up.ALARM, encode([body])).records
    assert item.refusal == Code.PAYLOAD_UNREADABLE


def test_what_is_left_of_a_minute_joins_the_trends(samples: Samples) -> None:
    minute_ns = T0_NS // (60 * 10**9) * 60 * 10**9
    left = sample_pb2.MinuteSet(minute_unix_ns=minute_ns, origin=sample_pb2.ORIGIN_LIVE)
    left.values.add(measure="spo2", low="88", median="93", high="97", n=60, last_unix_ns=minute_ns + 59 * 10**9)
    left.values.add(measure="acvpu", median="A", n=1)
    samples.take(Up.VITALS, sealed(Kind.MINUTE_SET, left.SerializeToString(), 1, "mon-b01/minute"), numeric(1))
    samples.database.write_blocking(samples.store.trends.write, samples.store.trends.written)

    rows = samples.database.read_blocking(lambda c: trend_rows(c, [1, 2], 0, 2**31 - 1))
    assert ("spo2", 60, "88", "97", "93") in [(row.measure, row.n, row.low, row.high, row.last) for row in rows]


def test_counts_beyond_what_the_table_holds_keep_no_minute_from_being_written(samples: Samples) -> None:
    trends = samples.store.trends
    for n in (2**32 - 1, 2**31 - 1):
        left = sample_pb2.MinuteSet(minute_unix_ns=T0_NS, origin=sample_pb2.ORIGIN_LIVE)
        left.values.add(measure="spo2", low="88", median="93", high="97", n=n)
        trends.stage([(1, left)])
        trends.kept()
        samples.database.write_blocking(trends.write, trends.written)
        rows = samples.database.read_blocking(lambda c: trend_rows(c, [1], 0, 2**31 - 1))
        assert [row.n for row in rows] == [2**31 - 1]


def test_the_trends_name_what_a_node_gave_up_for_room_apart_from_what_was_damaged(samples: Samples) -> None:
    minute_ns = 60 * 10**9
    place = Place(CLINIC.site, CLINIC.node, "mon-b01", "B01", T0_NS + minute_ns, None)
    samples.take(Up.VITALS, numeric(1), declared(1, "mon-b01/numeric", (2, 3)), declared(2, "mon-b01/numeric", (4, 5)))
    samples.take(Up.VITALS, declared(3, "mon-b01/wave", (1, 9)))
    samples.take(Up.VITALS, declared(4, "mon-b02/numeric", (6, 7), reason="damaged"))

    def named(from_ns: int, *places: Place) -> list[tuple[int, int, bool]]:
        window = Window(from_ns, from_ns + 10 * minute_ns, 60)
        found = samples.database.read_blocking(lambda c: read_given_up(c, CLINIC.site, list(places), window))
        return [(one.from_ms, one.to_ms, one.has_minutes) for one in found]

    whole = replace(place, from_ns=0)
    assert named(T0_NS - minute_ns, whole) == [(T0_NS // 10**6, T0_NS // 10**6 + 1000, False)]
    assert named(T0_NS + minute_ns, whole) == []
    assert named(T0_NS - minute_ns, place) == []
    assert named(T0_NS - minute_ns, replace(whole, device="mon-b02")) == []
