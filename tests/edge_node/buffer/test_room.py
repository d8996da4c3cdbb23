"""A store that fills up: what goes, what stays, and that nothing goes without being declared (reliability 2.5, 2.9)."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from telemed.topics import STORED, Up
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2, shed_pb2
from telemed.wire import Kind, Record

from edge_node.buffer import retention, tombstone
from edge_node.buffer.disk import MIB
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.schema import VITALS
from edge_node.buffer.store import Buffer
from edge_node.errors import BufferFull
from edge_node.samples.measurement import Channel, Intake, NumericSet, Value, WaveformSet
from tests.fakes.outbox import key_of

MINUTE_NS, HOUR_NS = 60 * 10**9, 3600 * 10**9
RNG = np.random.default_rng(7)
NOISE = RNG.integers(-30_000, 30_000, 6000, np.int32)
PER_INTAKE = 10
pytestmark = pytest.mark.anyio


class Site:
    """A store with a clock that is set by hand."""

    def __init__(self, folder: Path) -> None:
        self.now_ns = time.time_ns()
        self.buffer = Buffer.open(folder, group_commit_ms=0)
        self.buffer.clock.wall = lambda: self.now_ns
        self.buffer.clock.steady = lambda: self.now_ns - 1_700_000_000 * 10**9

    async def waves(self, count: int, ago_ns: int, device: str = "mon-b01") -> None:
        """Take in so many sets of noise, about 14 kB each, that came so long ago."""
        present_ns, self.now_ns = self.now_ns, self.now_ns - ago_ns
        digits = (Channel("ecg_II", 4.0, NOISE, 200.0, 0.0, "mV"),)
        for at in range(0, count, PER_INTAKE):
            some = min(PER_INTAKE, count - at)
            sets = tuple(WaveformSet(device, self.now_ns, self.now_ns, digits) for _ in range(some))
            await self.buffer.store_intake(Intake(waves=sets))
        self.now_ns = present_ns

    async def numerics(self, count: int, ago_ns: int) -> None:
        """Take in so many sets, a second apart, that came so long ago."""
        present_ns, self.now_ns = self.now_ns, (self.now_ns - ago_ns) // MINUTE_NS * MINUTE_NS
        for at in range(count):
            values = (Value("hr", str(60 + at % 40), "/min"), *(Value(f"x{n}", f"{at}.{n}", "1") for n in range(40)))
            await self.buffer.store_intake(Intake(sets=(NumericSet("mon-b01", self.now_ns, self.now_ns, values),)))
            self.now_ns += 10**9
        self.now_ns = present_ns

    async def fill_to(self, share: float) -> None:
        """Make the room as small as it must be for what is there to fill it so far."""
        self.buffer._files[VITALS]._empty_wal()
        self.buffer._files[VITALS]._measure()
        room = self.buffer.room.disk()
        self.buffer.room.limit_bytes = int((room.content_bytes + room.wal_bytes) / share)
        self.buffer.room._ample_until_s = 0.0

    async def read(self, stream: str) -> list[Record]:
        up = Up.WAVES if stream.endswith(("wave", "envelope")) else Up.VITALS
        if not any(key.stream == stream for key in self.buffer.streams(up)):
            return []
        return await self.buffer.read_run(up, self.key(up, stream), 1, 10**6)

    async def declared(self, stream: str) -> list[shed_pb2.Shed]:
        found = [shed_pb2.Shed.FromString(record.body()) for record in await self.read("node/shed")]
        return [each for each in found if each.stream == stream]

    async def unaccounted(self, stream: str, up: Up) -> set[int]:
        """Numbers that were given out and are neither stored, nor declared (invariant 1)."""
        given = set(range(1, self.buffer.streams(up)[self.key(up, stream)].next_seq))
        stored = {record.seq for record in await self.read(stream)}
        runs = [run for each in await self.declared(stream) for run in each.ranges]
        gone = {seq for run in runs for seq in range(run.first, run.last + 1)}
        assert not stored & gone
        return given - stored - gone

    def key(self, up: Up, stream: str) -> StreamKey:
        return key_of(self.buffer, up, stream)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "edge-test")
    yield made
    made.buffer.close()


async def test_waves_of_yesterday_become_envelopes_and_every_number_is_stored_or_declared(site: Site) -> None:
    await site.waves(600, 30 * HOUR_NS)
    await site.fill_to(0.88)
    gone = await site.buffer.make_room()

    assert gone >= 300
    assert await site.unaccounted("mon-b01/wave", Up.WAVES) == set()
    (first, *_) = await site.declared("mon-b01/wave")
    assert (first.reason, first.reduced_to, first.ranges[0].first) == ("disk", "mon-b01/envelope", 1)
    envelopes = [sample_pb2.WaveEnvelope.FromString(each.body()) for each in await site.read("mon-b01/envelope")]
    assert sum(len(each.sets) for each in envelopes) == gone
    assert site.buffer.waiting()[Up.WAVES].records == 600 - gone + len(envelopes)
    assert site.buffer.gives_up


async def test_room_is_made_only_until_there_is_enough(site: Site) -> None:
    await site.waves(900, 30 * HOUR_NS)
    await site.fill_to(0.87)
    await site.buffer.make_room()
    assert 0 < len(await site.read("mon-b01/wave")) < 900


async def test_nothing_goes_while_there_is_room(site: Site) -> None:
    await site.waves(20, 30 * HOUR_NS)
    await site.fill_to(0.79)
    assert await site.buffer.make_room() == 0


async def test_copies_of_what_the_hub_has_go_before_anything_that_it_does_not_have(site: Site) -> None:
    await site.waves(600, 30 * HOUR_NS)
    key = site.key(Up.WAVES, "mon-b01/wave")
    await site.buffer.acknowledge(Up.WAVES, {key: 500})
    await site.fill_to(0.95)
    assert await site.buffer.make_room() > 0

    assert await site.declared("mon-b01/wave") == []
    assert [record.seq for record in await site.read("mon-b01/wave")][-100:] == list(range(501, 601))
    assert site.buffer.waiting()[Up.WAVES].records == 100


async def test_young_waves_near_an_alarm_stay_and_the_others_go(site: Site) -> None:
    await site.waves(200, 5 * HOUR_NS)
    await site.waves(200, 2 * HOUR_NS)
    at_ns = site.now_ns - 2 * HOUR_NS + 4 * MINUTE_NS
    alarm = alarm_pb2.AlarmEvent(alarm_id="a", phase=alarm_pb2.PHASE_START, device="mon-b01", at_unix_ns=at_ns)
    await site.buffer.append_alarms([alarm])
    await site.fill_to(0.99)
    while await site.buffer.make_room():
        await site.fill_to(0.99)

    assert [record.seq for record in await site.read("mon-b01/wave")] == list(range(201, 401))
    assert await site.unaccounted("mon-b01/wave", Up.WAVES) == set()
    assert len(await site.buffer.alarm_events(0)) == 1


async def test_numbers_older_than_three_days_become_minutes_and_younger_ones_stay(site: Site) -> None:
    await site.numerics(600, 80 * HOUR_NS)
    await site.numerics(30, 70 * HOUR_NS)
    await site.fill_to(0.95)
    await site.buffer.make_room()

    left = await site.read("mon-b01/numeric")
    assert [record.seq for record in left][-30:] == list(range(601, 631))
    assert await site.unaccounted("mon-b01/numeric", Up.VITALS) == set()
    minute = sample_pb2.MinuteSet.FromString((await site.read("mon-b01/minute"))[0].body())
    (hr,) = (value for value in minute.values if value.measure == "hr")
    assert (hr.low, hr.high, hr.n) == ("60", "99", 60)
    assert len(await site.buffer.sets_since(0)) == len(left)


async def test_what_the_hub_lost_and_nobody_has_any_more_is_declared_and_the_rest_waits_again(site: Site) -> None:
    await site.waves(100, HOUR_NS)
    key = site.key(Up.WAVES, "mon-b01/wave")
    await site.buffer.acknowledge(Up.WAVES, {key: 80})
    site.buffer._keep_sent_hours = 0.5
    await site.buffer.sweep()
    site.now_ns += 24 * HOUR_NS
    await site.buffer.sweep()
    await site.waves(3, 0)
    await site.buffer.acknowledge(Up.WAVES, {key: 50})

    (told,) = await site.declared("mon-b01/wave")
    assert (told.reason, [(run.first, run.last) for run in told.ranges]) == ("copy-gone", [(51, 80)])
    assert site.buffer.waiting()[Up.WAVES].records == 23


async def test_what_cannot_be_declared_does_not_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.waves(100, 30 * HOUR_NS)
    await site.fill_to(0.95)

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(tombstone, "declare", fail)
    with pytest.raises(ZeroDivisionError):
        await site.buffer.make_room()
    assert len(await site.read("mon-b01/wave")) == 100


async def test_what_was_declared_is_still_known_after_a_restart_until_the_hub_has_it(site: Site) -> None:
    await site.waves(400, 30 * HOUR_NS)
    await site.fill_to(0.99)
    gone = await site.buffer.make_room()
    waiting = site.buffer.waiting()
    folder = site.buffer.room.folder
    site.buffer.close()

    again = Buffer.open(folder)
    assert {up: again.waiting()[up] for up in STORED} == waiting
    assert again.gives_up
    shed = [key for key in again.streams(Up.WAVES) if key.kind == "wave"]
    await again.acknowledge(Up.WAVES, {shed[0]: 400})
    await again.save()
    again.close()
    last = Buffer.open(folder)
    assert gone > 0
    assert not last.gives_up
    last.close()


async def test_a_full_store_refuses_measurements_and_takes_alarms_and_care(site: Site) -> None:
    await site.numerics(400, HOUR_NS)
    await site.fill_to(0.96)
    with pytest.raises(BufferFull, match="alarms and care"):
        await site.numerics(1, HOUR_NS)
    await site.buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    await site.buffer.propose(event_pb2.Event(event_id="e", aggregate_type="referral"))

    assert not site.buffer.room.may_take()
    assert site.buffer.room.held_share() > retention.WARN_SHARE
    site.buffer.room.limit_bytes = 2048 * MIB
    await site.numerics(1, HOUR_NS)


async def test_what_the_hub_has_does_not_count_against_the_room(site: Site) -> None:
    await site.waves(300, HOUR_NS)
    await site.fill_to(0.79)
    await site.buffer.make_room()
    assert site.buffer.room.held_share() == pytest.approx(0.79, abs=0.02)
    await site.buffer.acknowledge(Up.WAVES, {site.key(Up.WAVES, "mon-b01/wave"): 299})
    await site.buffer.make_room()
    assert site.buffer.room.held_share() < 0.5


async def test_the_file_of_measurements_grows_no_further_than_it_may(site: Site) -> None:
    file = site.buffer._files[VITALS]
    site.buffer.room._limited_s = math.inf
    file.most_pages_bytes = file.size.pages_bytes + MIB
    with pytest.raises(BufferFull):
        await site.waves(600, HOUR_NS)
    file._measure()
    assert file.size.pages_bytes <= file.most_pages_bytes


async def test_the_other_streams_are_no_measurements(site: Site) -> None:
    await site.waves(100, 30 * HOUR_NS)
    await site.numerics(2, HOUR_NS)
    await site.fill_to(0.99)
    await site.buffer.make_room()
    assert (await site.read("node/shed"))[0].kind == Kind.SHED
    assert len(await site.buffer.sets_since(0)) == 2
    assert {sample.device for sample in await site.buffer.last_known(["mon-b01", "node"], 0)} == {"mon-b01"}
