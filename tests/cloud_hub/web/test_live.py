"""The live picture: readings, links, silence, and what each page is told."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from telemed import screen
from telemed.errors import Code
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2, sample_pb2, uplink_pb2
from telemed.wire import Codec, Kind, Record, Stamp, seal

from cloud_hub.access.rights import Principal
from cloud_hub.desk.intake import AlarmTaken, Intake
from cloud_hub.desk.silence import Change
from cloud_hub.errors import StoreFailure
from cloud_hub.store import accounts, persons, reconciliations
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from cloud_hub.store.intake import take
from cloud_hub.store.notices import Notice
from cloud_hub.store.reconciliations import Tally
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.schema import CARE, SAMPLES
from cloud_hub.store.streams import Incoming
from cloud_hub.web import live as web_live
from cloud_hub.web import live_beds, live_load
from cloud_hub.web.feeds import QUEUE_LIMIT, Feed
from cloud_hub.web.live import Live, Stores
from cloud_hub.web.live_beds import BedState, is_usable
from cloud_hub.web.picture import Picture

REGION, SITE, KEY = "baoshan", "baoshan-clinic", "baoshan-clinic:B01"
ADDRESS = NodeAddress(REGION, SITE, "edge-clinic")
SECOND_NS = 10**9
NODE = event_pb2.Actor(username="edge-clinic", role="node")
CLINIC = event_pb2.Actor(username="clinic", role="clinic")


@dataclass
class Clock:
    at_ns: int = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        return self.at_ns


def _principal(role: Role, *, sites: set[str] | None = None, persons: set[str] | None = None) -> Principal:
    return Principal(
        role, role, role, role, REGION, frozenset(sites) if sites is not None else None,
        persons=frozenset(persons) if persons is not None else None,
    )  # fmt: skip


PHYSICIAN = _principal(Role.PHYSICIAN)
OPERATOR = _principal(Role.OPERATOR)
OTHER_CLINIC = _principal(Role.CLINIC, sites={"heming-home"})
FAMILY = _principal(Role.CAREGIVER, sites={SITE}, persons={"p1"})
OTHER_FAMILY = _principal(Role.CAREGIVER, sites={SITE}, persons={"p2"})


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    opened = Stores(
        Database(f"sqlite:///{tmp_path}/care.db", CARE, "care"),
        Database(f"sqlite:///{tmp_path}/samples.db", SAMPLES, "samples"),
    )
    opened.care.migrate()
    opened.samples.migrate()
    yield opened
    opened.care.close()
    opened.samples.close()


@pytest.fixture
async def live(stores: Stores, clock: Clock) -> Live:
    intake = Intake(lambda _taken: None)
    beds = [event_pb2.BedLabel(bed="B01", label="01"), event_pb2.BedLabel(bed="B02", label="02")]
    limits = [event_pb2.MeasureLimit(measure="spo2", low="92")]
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        (
            "node",
            "edge-clinic",
            {"node_described": event_pb2.NodeDescribed(name_zh="卫生院", beds=beds, limits=limits)},
        ),
        ("person", "p1", {"person_registered": event_pb2.PersonRegistered(family_name="谷", birth_date="1952-03-14")}),
        ("person", "p2", {"person_registered": event_pb2.PersonRegistered(family_name="芒", birth_date="2020-03-14")}),
        ("bed", "B01", {"bed_assigned": event_pb2.BedAssigned(person_id="p1", from_unix_ns=clock.at_ns)}),
        ("device", "mon-1", {"device_placed": event_pb2.DevicePlaced(bed="B01", node="edge-clinic")}),
    ]
    for number, (kind, which, body) in enumerate(bodies):
        event = event_pb2.Event(
            event_id=f"e{number}", aggregate_type=kind, aggregate_id=which, at_unix_ns=clock.at_ns, actor=NODE, **body
        )
        await stores.care.write(lambda c, event=event: intake.take_event(c, ADDRESS, event, clock.at_ns))  # type: ignore[misc]
    made = Live(stores, REGION, 15, clock)
    await made.load()
    return made


def _set(clock: Clock, at_s: float = 0, **values: str) -> sample_pb2.NumericSet:
    sample = sample_pb2.NumericSet(
        measured_at_unix_ns=clock.at_ns + int(at_s * SECOND_NS),
        origin=sample_pb2.ORIGIN_LIVE,
        assignment=sample_pb2.ASSIGNMENT_BED,
    )
    for measure, value in values.items():
        sample.values.add(measure=measure, value=value, quality=sample_pb2.QUALITY_VALID)
    return sample


async def _store(stores: Stores, clock: Clock, sample: sample_pb2.NumericSet) -> Record:
    record = seal(
        stream="mon-1/numeric", kind=Kind.NUMERIC_SET, epoch=1, seq=1, stamp=Stamp(clock.at_ns, 1, 1),
        codec=Codec.PLAIN, payload=sample.SerializeToString(),
    )  # fmt: skip
    await _keep(stores, clock, record)
    return record


async def _keep(stores: Stores, clock: Clock, record: Record) -> None:
    incoming = Incoming(ADDRESS, record, clock.at_ns)
    await stores.samples.write(lambda c: take(c, SampleLedger(), [incoming], clock.at_ns))


def _take(live: Live, clock: Clock, sample: sample_pb2.NumericSet) -> None:
    live.numerics(ADDRESS, "mon-1", sample, clock.at_ns)


def _joined(live: Live, principal: Principal) -> Feed:
    """A page that has had its snapshot."""
    feed = live.join(principal, principal.username)
    feed._wants_snapshot = False
    return feed


def _heard(feed: Feed) -> list[dict[str, Any]]:
    texts = list(feed._waiting)
    feed._waiting.clear()
    return [json.loads(text) for text in texts]


def _shown(live: Live) -> dict[str, str | None]:
    return {name: reading.value for name, reading in live.picture.beds[KEY].readings.items()}


@pytest.mark.anyio
async def test_a_reading_reaches_those_who_may_see_the_bed_and_nobody_else(live: Live, clock: Clock) -> None:
    feeds = {one: _joined(live, one) for one in (PHYSICIAN, FAMILY, OTHER_FAMILY, OPERATOR, OTHER_CLINIC)}
    _take(live, clock, _set(clock, spo2="93"))
    heard = {one: [message["type"] for message in _heard(feed)] for one, feed in feeds.items()}

    assert heard == {PHYSICIAN: ["readings"], FAMILY: ["readings"], OTHER_FAMILY: [], OPERATOR: [], OTHER_CLINIC: []}


@pytest.mark.anyio
async def test_history_never_replaces_what_is_newer(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, at_s=60, hr="80"))
    _take(live, clock, _set(clock, at_s=30, hr="140"))

    assert _shown(live) == {"hr": "80"}


@pytest.mark.anyio
async def test_what_was_measured_before_the_person_came_is_not_shown_under_them(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, at_s=-60, hr="140"))

    assert _shown(live) == {}


@pytest.mark.anyio
async def test_a_set_that_names_somebody_else_is_shown_under_neither(live: Live, clock: Clock) -> None:
    feed = _joined(live, PHYSICIAN)
    sample = _set(clock, hr="140")
    sample.assignment = sample_pb2.ASSIGNMENT_UNASSIGNED
    _take(live, clock, sample)
    told = _heard(feed)

    assert _shown(live) == {}
    assert [message["bed"]["unassigned"] for message in told] == [1]


@pytest.mark.anyio
async def test_a_missing_value_is_shown_as_missing_and_never_scored(live: Live, clock: Clock) -> None:
    sample = _set(clock, rr="")
    sample.values[0].quality = sample_pb2.QUALITY_MISSING
    _take(live, clock, sample)

    assert _shown(live) == {"rr": None}
    assert live.picture.beds[KEY].score(clock()) is None


@pytest.mark.anyio
async def test_the_score_is_a_lower_bound_and_loses_what_is_stale(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, hr="131", nibp_sys="105"))
    fresh = live.picture.beds[KEY].score(clock())
    clock.at_ns += 301 * SECOND_NS
    aged = live.picture.beds[KEY].score(clock())

    assert fresh is not None
    assert (fresh.total, fresh.complete) == (4, False)
    assert aged is not None
    assert aged.total == 1


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["", "abc", "NaN", "1e999999", "-5", "9" * 400, "A", "oxygen"])
async def test_rubbish_that_a_node_calls_valid_is_shown_and_never_scored(live: Live, clock: Clock, value: str) -> None:
    feed = _joined(live, PHYSICIAN)
    for measure in ("hr", "temp", "acvpu", "spo2", "no-such"):
        sample = _set(clock)
        sample.values.add(measure=measure, value=value, quality=sample_pb2.QUALITY_VALID)
        _take(live, clock, sample)
    score = live.picture.beds[KEY].score(clock())

    assert score is None or [part.part for part in score.parts if part.points is not None] == ["acvpu"]
    assert len(_heard(feed)) == 5


@pytest.mark.anyio
async def test_a_clock_in_the_future_does_not_hold_up_what_comes_after(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, at_s=86400 * 365, hr="131"))
    shown = live.picture.beds[KEY].readings["hr"]
    assert (shown.clock_suspect, shown.measured_at_ms) == (True, clock.at_ns // 10**6)
    clock.at_ns += SECOND_NS
    _take(live, clock, _set(clock, hr="80"))
    score = live.picture.beds[KEY].score(clock.at_ns + 301 * SECOND_NS)

    assert _shown(live) == {"hr": "80"}
    assert score is None


@pytest.mark.anyio
async def test_history_of_a_monitor_with_a_wrong_clock_never_replaces_what_came_later(live: Live, clock: Clock) -> None:
    """After an outage an hour of it arrives at once, behind what is live."""
    now_ns = clock.at_ns
    for came_ns, spo2 in ((now_ns, "97"), (now_ns - 3600 * SECOND_NS, "81")):
        sample = _set(clock, at_s=-86400 * 365, spo2=spo2)
        sample.clock_suspect = True
        live.numerics(ADDRESS, "mon-1", sample, now_ns, came_ns)
    assert _shown(live) == {"spo2": "97"}
    clock.at_ns += SECOND_NS
    _take(live, clock, _set(clock, spo2="96"))
    assert _shown(live) == {"spo2": "96"}


@pytest.mark.anyio
async def test_steps_of_an_alarm_that_this_hub_does_not_know_are_shown_as_such(live: Live, clock: Clock) -> None:
    feed = _joined(live, PHYSICIAN)
    step = alarm_pb2.AlarmEvent(alarm_id="a1", alarm_seq=1, condition="new-thing", bed="B01", at_unix_ns=clock.at_ns)
    step.MergeFromString(bytes([3 << 3, 99, 4 << 3, 77]))
    live.take([AlarmTaken(ADDRESS, step, clock.at_ns)])
    alarm = _heard(feed)[0]["alarm"]

    assert (alarm["steps"][0]["phase"], alarm["priority"], alarm["text"]["zh"]) == ("unknown", "low", "new-thing")


@pytest.mark.anyio
async def test_limits_of_the_node_stand_beside_the_value(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, spo2="93"))
    reading = live.picture.beds[KEY].readings["spo2"]

    assert (reading.limit_low, reading.limit_high) == ("92", None)


@pytest.mark.anyio
async def test_a_recording_is_marked_and_never_scored(live: Live, clock: Clock) -> None:
    sample = _set(clock, hr="131")
    sample.origin = sample_pb2.ORIGIN_REPLAY
    _take(live, clock, sample)
    bed = live.picture.beds[KEY]

    assert (bed.not_live, bed.score(clock())) == ("replay", None)


@pytest.mark.anyio
async def test_waves_go_only_to_pages_that_watch_a_bed_they_may_see(live: Live, clock: Clock) -> None:
    feeds = {one: _joined(live, one) for one in (PHYSICIAN, OTHER_FAMILY, OTHER_CLINIC)}
    waves = sample_pb2.WaveformSet(measured_at_unix_ns=clock.at_ns, origin=sample_pb2.ORIGIN_LIVE)
    waves.channels.add(
        measure="ecg_II", rate_mhz=250_000, gain=200, deltas=[5, 1, -32774, 32770], invalid_digits=[-32768]
    )
    live.waves(ADDRESS, "mon-1", waves, clock.at_ns)
    unwatched = [_heard(feed) for feed in feeds.values()]
    for feed in feeds.values():
        feed.watched = frozenset({KEY})
    live.waves(ADDRESS, "mon-1", waves, clock.at_ns)
    heard = {one: _heard(feed) for one, feed in feeds.items()}

    assert unwatched == [[], [], []]
    assert heard[OTHER_FAMILY] == heard[OTHER_CLINIC] == []
    channel = heard[PHYSICIAN][0]["channels"][0]
    assert (channel["rate_hz"], channel["digits"]) == (250.0, [5, 6, None, 2])


@pytest.mark.anyio
async def test_nodes_are_told_whose_waves_somebody_looks_at_who_may(live: Live) -> None:
    told: list[dict[NodeAddress, frozenset[str]]] = []
    live.on_watched = lambda watched: told.append(dict(watched))
    physician, stranger = _joined(live, PHYSICIAN), _joined(live, OTHER_CLINIC)

    live.watch(stranger, [KEY])
    live.watch(physician, [KEY, "no-such:bed"])
    live.leave(physician)
    live.watch(stranger, [])

    assert [{node.node: set(devices) for node, devices in each.items()} for each in told] == [
        {},
        {ADDRESS.node: {"mon-1"}},
        {},
        {},
    ]


@pytest.mark.anyio
async def test_a_link_is_live_weak_then_lost_by_the_hubs_own_clock(live: Live, clock: Clock) -> None:
    site = live.picture.sites[SITE]
    seen = [site.link]
    live.contact(ADDRESS, clock.at_ns)
    for silent_s in (0, 11, 5):
        clock.at_ns += silent_s * SECOND_NS
        live._judge(SITE)
        seen.append(site.link)

    assert seen == ["never", "live", "weak", "lost"]


@pytest.mark.anyio
async def test_silence_raises_one_alarm_and_the_first_word_ends_it(live: Live, clock: Clock) -> None:
    live.contact(ADDRESS, clock.at_ns)
    clock.at_ns += 16 * SECOND_NS
    live._judge(SITE)
    live._judge(SITE)
    await _jobs(live)
    raised = list(live.picture.alarms.values())
    live.contact(ADDRESS, clock.at_ns)
    await _jobs(live)
    ended = list(live.picture.alarms.values())

    assert [(alarm.newest.condition, alarm.is_active) for alarm in raised] == [("site-silent", True)]
    assert [(alarm.newest.condition, alarm.is_active) for alarm in ended] == [("site-silent", False)]


@pytest.mark.anyio
async def test_silence_that_could_not_be_stored_is_stored_later(
    live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries, told, write, take = [], asyncio.Event(), live._stores.care.write, live.take

    async def at_fourth(work: Any, kept: Any = None) -> Any:
        tries.append(work)
        if len(tries) < 4:
            failure = StoreFailure("care: disk full")
            failure.is_passing = True
            raise failure
        return await write(work, kept)

    def taken(all_taken: Any) -> None:
        take(all_taken)
        told.set()

    monkeypatch.setattr(live._stores.care, "write", at_fourth)
    monkeypatch.setattr(live._silence, "_tell", taken)
    monkeypatch.setattr(web_live, "TICK_S", 0.01)
    live.contact(ADDRESS, clock.at_ns)
    clock.at_ns += 16 * SECOND_NS
    live._judge(SITE)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(live.run())
        await told.wait()
        running.cancel()
    assert [(alarm.newest.condition, alarm.is_active) for alarm in live.picture.alarms.values()] == [
        ("site-silent", True)
    ]
    assert not live._hushed


@pytest.mark.anyio
async def test_a_silence_that_can_never_be_stored_holds_up_no_other_site(
    live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = live._silence.change

    async def picky(changes: Sequence[Change]) -> None:
        if any(one.site == "site-1" for one in changes):
            raise StoreFailure("care: IntegrityError")
        await change(changes)

    monkeypatch.setattr(live._silence, "change", picky)
    nodes = [ADDRESS._replace(site=f"site-{number}") for number in range(3)]
    for node in nodes:
        live.contact(node, clock.at_ns)
    clock.at_ns += 16 * SECOND_NS
    for node in nodes:
        live._judge(node.site)
    await _jobs(live)
    assert {alarm.site for alarm in live.picture.alarms.values()} == {"site-0", "site-2"}
    assert not live._hushed


@pytest.mark.anyio
@pytest.mark.parametrize("refusing", ["care", "samples"])
async def test_who_lies_where_is_looked_up_again_where_the_database_refused(
    stores: Stores, live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch, refusing: str
) -> None:
    await _store(stores, clock, _set(clock, hr="80"))
    database, page = getattr(live._stores, refusing), _joined(live, PHYSICIAN)
    read = database.read

    async def refuse(_work: Any) -> Any:
        raise StoreFailure("disk I/O error")

    event = event_pb2.Event(
        event_id="comes", aggregate_type="bed", aggregate_id="B09", at_unix_ns=clock.at_ns, actor=NODE
    )
    event.bed_assigned.person_id, event.bed_assigned.from_unix_ns = "p2", clock.at_ns
    intake = Intake(live.take)
    monkeypatch.setattr(database, "read", refuse)
    await stores.care.write(lambda c: intake.take_event(c, ADDRESS, event, clock.at_ns))
    intake.committed()
    for _ in range(3):
        await _jobs(live)
        live._jobs.again()
    monkeypatch.setattr(database, "read", read)
    clock.at_ns += SECOND_NS
    await _jobs(live)
    person = live.picture.beds[f"{SITE}:B09"].person
    beds = [one["bed"] for one in _heard(page) if one["type"] == "bed"]

    assert person is not None
    assert person.person_id == "p2"
    assert f"{SITE}:B09" in {one["key"] for one in beds}
    assert _shown(live) == {"hr": "80"}
    assert "80" in {reading["value"] for one in beds for reading in one["readings"]}


@pytest.mark.anyio
async def test_many_sites_fall_silent_and_are_heard_in_few_commits(
    live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, write = [], live._stores.care.write

    async def counted(work: Any, kept: Any = None) -> Any:
        commits.append(work)
        return await write(work, kept)

    monkeypatch.setattr(live._stores.care, "write", counted)
    nodes = [ADDRESS._replace(site=f"site-{number}") for number in range(50)]
    for node in nodes:
        live.contact(node, clock.at_ns)
    clock.at_ns += 16 * SECOND_NS
    for node in nodes:
        live._judge(node.site)
    for node in nodes[:10]:
        live.contact(node, clock.at_ns)
    await _jobs(live)
    assert len(commits) == 3
    standing = {alarm.site for alarm in live.picture.alarms.values() if alarm.is_active}
    assert standing == {node.site for node in nodes[10:]}
    assert len(live.picture.alarms) == 50


@pytest.mark.anyio
async def test_a_restarted_hub_gives_sites_time_before_it_calls_them_silent(
    stores: Stores, live: Live, clock: Clock
) -> None:
    live.contact(ADDRESS, clock.at_ns)
    await live._keep_arrivals()
    clock.at_ns += 3600 * SECOND_NS
    again = Live(stores, REGION, 15, clock)
    await again.load()
    again._judge(SITE)
    await _jobs(again)
    early = dict(again.picture.alarms)
    clock.at_ns += 16 * SECOND_NS
    again._judge(SITE)
    await _jobs(again)

    assert early == {}
    assert [alarm.newest.condition for alarm in again.picture.alarms.values()] == ["site-silent"]


@pytest.mark.anyio
async def test_the_picture_says_what_waits_and_up_to_when_it_is_whole(live: Live, clock: Clock) -> None:
    presence = uplink_pb2.Presence(caught_up_to_unix_ns=clock.at_ns, buffer_hours=71.25)
    presence.waiting.add(stream_class="vitals", records=41)
    presence.stuck.add(code="identity-unknown", what="mon-1")
    live.presence(ADDRESS, presence, clock.at_ns)
    view = live.picture.sites[SITE].view()

    assert (view.waiting.vitals, view.buffer_hours, view.caught_up_to_ms) == (41, 71.2, clock.at_ns // 10**6)
    assert view.stuck[0].text.zh == "设备报的病人不认识：请先登记病人（mon-1）"


@pytest.mark.anyio
async def test_notices_stand_at_their_site_for_the_staff_and_not_for_families(live: Live, clock: Clock) -> None:
    live.noticed(SITE, [Notice(ADDRESS, Code.SEQ_JUMP, clock.at_ns, clock.at_ns, 3, 1)])
    for principal in (PHYSICIAN, OPERATOR):
        (site,) = live.picture.sites_for(principal)
        assert [one.code for one in site.stuck] == ["seq-jump"]
        assert site.stuck[0].text.en.endswith("(edge-clinic ×3)")
    assert live.picture.sites_for(FAMILY)[0].stuck == []
    live.noticed(SITE, [])
    assert live.picture.sites_for(OPERATOR)[0].stuck == []


@pytest.mark.anyio
async def test_a_caregiver_hears_of_an_alarm_without_its_details(live: Live, clock: Clock) -> None:
    feeds = {one: _joined(live, one) for one in (PHYSICIAN, FAMILY, OTHER_FAMILY, OPERATOR)}
    step = alarm_pb2.AlarmEvent(
        alarm_id="a1", alarm_seq=1, phase=alarm_pb2.PHASE_START, priority=alarm_pb2.PRIORITY_HIGH, condition="spo2-low",
        measure="spo2", value="82", limit="85", bed="B01", person_id="p1", onset_unix_ns=clock.at_ns,
        at_unix_ns=clock.at_ns,
    )  # fmt: skip
    live.take([AlarmTaken(ADDRESS, step, clock.at_ns)])
    heard = {one: _heard(feed) for one, feed in feeds.items()}

    assert heard[PHYSICIAN][0]["alarm"]["text"] == {"zh": "血氧 82 低于 85", "en": "SpO₂ 82 below 85"}
    assert heard[FAMILY][0]["alarm"]["steps"] == []
    assert heard[FAMILY][0]["alarm"]["text"]["zh"] == "血氧 82 低于 85"
    assert heard[OTHER_FAMILY] == heard[OPERATOR] == []


@pytest.mark.anyio
async def test_when_a_rung_of_the_ladder_has_passed_the_pages_hear_of_the_next(live: Live, clock: Clock) -> None:
    step = alarm_pb2.AlarmEvent(
        alarm_id="a1", alarm_seq=1, phase=alarm_pb2.PHASE_START, priority=alarm_pb2.PRIORITY_HIGH, condition="apnoea",
        bed="B01", person_id="p1", onset_unix_ns=clock.at_ns, at_unix_ns=clock.at_ns,
    )  # fmt: skip
    live.take([AlarmTaken(ADDRESS, step, clock.at_ns)])
    feed = _joined(live, PHYSICIAN)
    told = []
    for passed_s in (30, 31, 30):
        clock.at_ns += passed_s * SECOND_NS
        live._say_rungs()
        told.append([(one["alarm"]["escalates_at_ms"] - one["alarm"]["onset_ms"]) // 1000 for one in _heard(feed)])

    assert told == [[], [120], []]


@pytest.mark.anyio
async def test_a_page_that_falls_behind_gets_a_fresh_snapshot_instead_of_a_longer_queue(live: Live) -> None:
    feed = _joined(live, PHYSICIAN)
    for number in range(QUEUE_LIMIT + 5):
        feed.put(str(number))

    assert await feed.next() is None
    assert len(feed._waiting) <= QUEUE_LIMIT


@pytest.mark.anyio
async def test_moving_a_person_takes_their_readings_off_the_old_bed(stores: Stores, live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, hr="80"))
    clock.at_ns += 60 * SECOND_NS
    event = event_pb2.Event(
        event_id="move", aggregate_type="bed", aggregate_id="B02", at_unix_ns=clock.at_ns, actor=NODE
    )
    event.bed_assigned.person_id, event.bed_assigned.from_unix_ns = "p1", clock.at_ns
    intake = Intake(live.take)
    await stores.care.write(lambda c: intake.take_event(c, ADDRESS, event, clock.at_ns))
    intake.committed()
    await _jobs(live)
    old, new = live.picture.beds[KEY], live.picture.beds[f"{SITE}:B02"]

    assert (old.person, old.readings) == (None, {})
    assert new.person is not None
    assert new.person.person_id == "p1"


@pytest.mark.anyio
async def test_a_page_stops_showing_who_left_a_bed_to_somebody_that_it_may_not_show(
    stores: Stores, live: Live, clock: Clock
) -> None:
    unshared = _joined(live, replace(PHYSICIAN, withheld=frozenset({"p2"})))
    others = [_joined(live, one) for one in (PHYSICIAN, OPERATOR, OTHER_CLINIC)]
    _take(live, clock, _set(clock, spo2="93"))
    assert live.picture.may_see(unshared.principal, live.picture.beds[KEY])

    clock.at_ns += 60 * SECOND_NS
    body = event_pb2.BedAssigned(person_id="p2", from_unix_ns=clock.at_ns)
    event = event_pb2.Event(
        event_id="left", aggregate_type="bed", aggregate_id="B01", base_version=1, at_unix_ns=clock.at_ns, actor=NODE,
        bed_assigned=body,
    )  # fmt: skip
    await stores.care.write(lambda c: Intake(lambda _taken: None).take_event(c, ADDRESS, event, clock.at_ns))
    await live._reload_site(SITE)

    assert unshared._wants_snapshot
    assert not live.picture.may_see(unshared.principal, live.picture.beds[KEY])
    assert not any(feed._wants_snapshot for feed in others)


@pytest.mark.anyio
async def test_a_hub_starts_over_records_that_only_a_newer_one_can_read(
    stores: Stores, live: Live, clock: Clock
) -> None:
    good = await _store(stores, clock, _set(clock, hr="80"))
    await _keep(stores, clock, good._replace(seq=2, schema=99, payload=b"\xff\xff\xff"))
    again = Live(stores, REGION, 15, Clock(clock.at_ns + SECOND_NS))
    await again.load()

    assert _shown(again) == {"hr": "80"}


@pytest.mark.anyio
async def test_children_get_no_adult_score(live: Live, stores: Stores, clock: Clock) -> None:
    bed = live.picture.beds[KEY]
    children = await stores.care.read(lambda c: persons.persons_named(c, REGION, ["p2"]))
    bed.place(children["p2"], clock.at_ns)
    _take(live, clock, _set(clock, hr="131"))
    score = bed.score(clock())

    assert score is not None
    assert (score.refused, score.total) == ("under-16", 0)


@pytest.mark.anyio
async def test_each_bed_says_how_far_it_is_and_a_family_sees_its_own_alone(live: Live, clock: Clock) -> None:
    presence = uplink_pb2.Presence(at_unix_ns=clock.at_ns, tells_behind=True)
    presence.behind.add(device="mon-1", numerics=60, oldest_unix_ns=clock.at_ns - 60 * SECOND_NS)
    presence.stuck.add(code=Code.CLOCK_SUSPECT, what="mon-1 +40 s")
    live.presence(ADDRESS, presence, clock.at_ns)
    heard_ms = clock.at_ns // 10**6
    clock.at_ns += 3600 * SECOND_NS

    (site,) = live.picture.sites_for(PHYSICIAN)
    (sync,) = site.bed_sync
    assert (sync.bed_key, sync.waiting.vitals, sync.as_of_ms) == (KEY, 60, heard_ms), "an hour of silence adds nothing"
    assert sync.caught_up_to_ms == (heard_ms * 10**6 - 60 * SECOND_NS - 1) // 10**6
    assert [one.code for one in sync.stuck] == [Code.CLOCK_SUSPECT]
    (family,) = live.picture.sites_for(FAMILY)
    assert [(one.bed_key, one.stuck) for one in family.bed_sync] == [(KEY, [])]
    (others,) = live.picture.sites_for(OTHER_FAMILY)
    assert others.bed_sync == []


@pytest.mark.anyio
async def test_a_node_whose_clock_is_ahead_does_not_make_the_site_caught_up_to_the_future(
    live: Live, clock: Clock
) -> None:
    ahead_ns = clock.at_ns + 3600 * SECOND_NS
    presence = uplink_pb2.Presence(at_unix_ns=ahead_ns, caught_up_to_unix_ns=ahead_ns - 5 * SECOND_NS)
    live.presence(ADDRESS, presence, clock.at_ns)
    assert live.picture.sites[SITE].view().caught_up_to_ms == (clock.at_ns - 5 * SECOND_NS) // 10**6


@pytest.mark.anyio
async def test_what_the_last_comparison_found_outlives_a_restart(stores: Stores, live: Live, clock: Clock) -> None:
    assert live.picture.sites[SITE].view().reconciled is None
    await stores.care.write(lambda c: reconciliations.begin(c, "r1", ADDRESS, "nightly", clock.at_ns))
    run = await stores.care.read(lambda c: reconciliations.find(c, "r1", ADDRESS))
    assert run is not None
    await stores.care.write(lambda c: reconciliations.add(c, run, "mon-1/numeric", Tally(1, compared=9, lost=2)))
    await stores.care.write(lambda c: reconciliations.end(c, run, "finished", (4, 0), clock.at_ns))

    again = Live(stores, REGION, 15, clock)
    await again.load()
    view = again.picture.sites[SITE].view().reconciled
    assert view is not None
    assert (view.at_ms, view.compared, view.healed, view.lost) == (clock.at_ns // 10**6, 9, 4, 2)


async def _jobs(live: Live) -> None:
    await live._jobs.work_off()


@pytest.mark.anyio
async def test_what_no_open_page_may_hear_is_made_into_no_text(
    live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[str] = []

    def score(bed: BedState, _now_ns: int) -> None:
        scored.append(bed.key)

    monkeypatch.setattr(BedState, "score", score)
    live.join(OTHER_CLINIC, "there")
    live.numerics(ADDRESS, "mon-1", _set(clock, 1, hr="70"), clock.at_ns)
    assert scored == []
    live.join(PHYSICIAN, "here")
    live.numerics(ADDRESS, "mon-1", _set(clock, 2, hr="71"), clock.at_ns)
    assert scored == [KEY]


@pytest.mark.anyio
async def test_no_reading_is_made_until_somebody_looks_and_the_first_picture_is_whole(
    live: Live, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = BedState._reading

    def reading(bed: BedState, held: Any) -> screen.Reading:
        one = make(bed, held)
        made.append(one.measure)
        return one

    monkeypatch.setattr(BedState, "_reading", reading)
    _take(live, clock, _set(clock, hr="120", nibp_sys="105"))
    _take(live, clock, _set(clock, 1, hr="131"))
    assert made == []
    bed = live.picture.beds_for(PHYSICIAN, clock.at_ns)[0]
    since_ms = clock.at_ns // 10**6
    assert [(one.measure, one.value, one.measured_at_ms - since_ms) for one in bed.readings] == [
        ("hr", "131", 1000),
        ("nibp_sys", "105", 0),
    ]
    assert bed.news2 is not None
    assert bed.news2.total == 4


@pytest.mark.anyio
async def test_a_value_taken_back_is_scored_no_longer_though_nobody_looked(live: Live, clock: Clock) -> None:
    _take(live, clock, _set(clock, hr="131"))
    sample = _set(clock, 1, hr="131")
    sample.values[0].quality = sample_pb2.QUALITY_RETRACTED
    _take(live, clock, sample)

    assert _shown(live) == {"hr": None}
    assert live.picture.beds[KEY].score(clock()) is None


@pytest.mark.anyio
async def test_a_site_is_drawn_for_those_who_look_and_told_anew_to_a_page_that_came_later(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    draw = Picture.site_view

    def site_view(picture: Picture, name: str) -> screen.Site:
        drawn.append(name)
        return draw(picture, name)

    monkeypatch.setattr(Picture, "site_view", site_view)
    early = _joined(live, OPERATOR)
    live._tell_site(SITE)
    live.leave(early)
    live.picture.site(SITE).link = "live"
    live._tell_site(SITE)
    assert drawn == [SITE]
    late = _joined(live, OPERATOR)
    live.picture.site(SITE).link = "never"
    live._tell_site(SITE)
    assert [message["site"]["link"] for message in _heard(late)] == ["never"]


def test_texts_of_any_length_are_judged_and_only_short_ones_remembered() -> None:
    assert is_usable("hr", "70.123")
    before = live_beds._is_plausible.cache_info().currsize
    assert [is_usable(*pair) for pair in (("hr", "9" * 400), ("hr", "70." + "0" * 400), ("m" * 400, "1"))] == [
        False,
        True,
        False,
    ]
    assert live_beds._is_plausible.cache_info().currsize == before


@pytest.mark.anyio
async def test_a_site_seen_through_a_broken_glass_alone_goes_on_but_without_what_is_the_sites_own(
    live: Live, clock: Clock
) -> None:
    opened = replace(OTHER_CLINIC, opened=frozenset({(SITE, "p1")}))
    feed = _joined(live, opened)
    _take(live, clock, _set(clock, spo2="93"))
    assert [one["type"] for one in _heard(feed)] == ["readings"]
    live.noticed(SITE, [Notice(ADDRESS, Code.SEQ_JUMP, clock.at_ns, clock.at_ns, 3, 1)])
    live.picture.site(SITE).link = "lost"
    live._tell_site(SITE)
    (told,) = _heard(feed)
    assert (told["site"]["link"], told["site"]["beds"], told["site"]["stuck"]) == ("lost", [KEY], [])


@pytest.mark.anyio
async def test_a_family_without_the_right_to_see_values_is_not_told_of_the_site(live: Live) -> None:
    narrow = replace(FAMILY, scopes=frozenset({"user/Patient.rs"}))
    feed = _joined(live, narrow)
    live._tell_site(SITE)
    assert _heard(feed) == []
    assert live.picture.sites_for(narrow) == []
    assert [one.site for one in live.picture.sites_for(FAMILY)] == [SITE]


@pytest.mark.anyio
async def test_the_picture_knows_who_lies_or_is_referred_and_of_the_others_nobody(
    live: Live, stores: Stores, clock: Clock
) -> None:
    """A region has known a million persons after a year; all of them were read at each start, and kept."""
    read = await stores.care.read(lambda c: live_load.set_up(c, REGION, None, clock.at_ns))
    assert set(read.persons) == {"p1"}
    assert live.picture.persons == {}
    await _referred(live, stores, clock, "p2")
    assert [person.family_name for person in live.picture.persons.values()] == ["芒"]
    (view,) = live.picture.referrals_for(PHYSICIAN, clock())
    assert view.patient is not None
    assert view.patient.name == "芒"

    again = Live(stores, REGION, 15, clock)
    await again.load()
    assert again.picture.persons == live.picture.persons
    person = again.picture.beds[KEY].person
    assert (person.family_name if person else "") == "谷"


@pytest.mark.anyio
async def test_a_referred_person_is_known_by_what_was_said_of_them_last(
    live: Live, stores: Stores, clock: Clock
) -> None:
    await _referred(live, stores, clock, "p2")
    renamed = event_pb2.PersonRegistered(family_name="满", birth_date="2020-03-14")
    await _happens(live, stores, clock, "e8", ("person", "p2", {"person_registered": renamed, "base_version": 1}))
    assert [person.family_name for person in live.picture.persons.values()] == ["满"]


async def _referred(live: Live, stores: Stores, clock: Clock, person_id: str) -> None:
    asked = event_pb2.ReferralSubmitted(level_claim="T1", person_id=person_id, bed="B02")
    doctor = Account("clinic", Role.CLINIC, "黄芪", "Huang Qi", (SITE,), "x")
    await stores.care.write(lambda c: accounts.save_account(c, doctor, clock.at_ns))
    await _happens(live, stores, clock, "e7", ("referral", "r1", {"referral_submitted": asked}))


async def _happens(
    live: Live, stores: Stores, clock: Clock, event_id: str, what: tuple[str, str, dict[str, Any]]
) -> None:
    kind, which, body = what
    event = event_pb2.Event(
        event_id=event_id, aggregate_type=kind, aggregate_id=which, at_unix_ns=clock.at_ns, actor=CLINIC, **body
    )
    intake = Intake(live.take)
    ordered = await stores.care.write(lambda c: intake.take_event(c, ADDRESS, event, clock.at_ns))
    assert not ordered.refused, ordered.refusal
    intake.committed()
    await _jobs(live)
