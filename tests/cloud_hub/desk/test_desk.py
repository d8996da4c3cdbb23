"""What people at the hub do with referrals and alarms: transactions, scope, versions, audit."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from sqlalchemy import Connection, select
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, event_pb2

from cloud_hub.access.rights import Principal
from cloud_hub.care import referral
from cloud_hub.desk.alarms import Alarms, Ask
from cloud_hub.desk.intake import AlarmTaken, EventTaken, Intake, Taken
from cloud_hub.desk.referrals import TRIAGE_ACCEPT, Referrals, Step
from cloud_hub.desk.silence import Change, Silence
from cloud_hub.errors import BadRequest, NotFound, NotPermitted, StepRefused
from cloud_hub.store import accounts, alarms, events
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import audit

REGION = "baoshan"
CLINIC = NodeAddress(REGION, "baoshan-clinic", "edge-clinic")
HOME = NodeAddress(REGION, "heming-home", "edge-home")
NOW_NS = 1_800_000_000 * 10**9
T = TypeVar("T")


def _principal(username: str, role: Role, *sites: str) -> Principal:
    return Principal(username, role, username, username, REGION, frozenset(sites) if sites else None)


PHYSICIAN = _principal("physician", Role.PHYSICIAN)
SECOND = _principal("second", Role.PHYSICIAN)
DOCTOR = _principal("clinic", Role.CLINIC, CLINIC.site)
STRANGER = _principal("home", Role.CLINIC, HOME.site)


class Desk:
    """The desk on a real care store."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.told: list[Taken] = []
        parts = (database, REGION, self.told.extend, lambda: NOW_NS)
        self.referrals, self.alarms, self.silence = Referrals(*parts), Alarms(*parts), Silence(*parts)

    def take(self, event: event_pb2.Event | alarm_pb2.AlarmEvent, address: NodeAddress = CLINIC) -> None:
        intake = Intake(self.told.extend)
        if isinstance(event, event_pb2.Event):
            self.write(lambda c: intake.take_event(c, address, event, NOW_NS))
        else:
            self.write(lambda c: intake.take_alarm(c, address, event, NOW_NS))
        intake.committed()

    def write(self, work: Callable[[Connection], T]) -> T:
        return self.database.write_blocking(work)

    def log_of(self, referral_id: str) -> list[referral.Ordered]:
        return self.database.read_blocking(lambda c: events.of_aggregate(c, CLINIC, "referral", referral_id))

    def audited(self) -> list[tuple[str, str]]:
        rows = self.database.read_blocking(lambda c: c.execute(select(audit.c.actor, audit.c.action)).all())
        return [(row.actor, row.action) for row in rows]


@pytest.fixture
def desk(care_db: Database) -> Desk:
    def people(connection: Connection) -> None:
        for one in (PHYSICIAN, SECOND, DOCTOR, STRANGER):
            account = Account(one.username, one.role, "", "", tuple(one.sites or ()), "x")
            accounts.save_account(connection, account, NOW_NS)

    care_db.write_blocking(people)
    return Desk(care_db)


def _submit(desk: Desk, level: str = "T0") -> None:
    actor = event_pb2.Actor(username="clinic", role="clinic")
    body = event_pb2.ReferralSubmitted(level_claim=level, bed="B02")
    desk.take(
        event_pb2.Event(
            event_id="e1",
            aggregate_type="referral",
            aggregate_id="r1",
            at_unix_ns=NOW_NS,
            actor=actor,
            referral_submitted=body,
        )
    )


def _raise(desk: Desk, alarm_id: str = "a1", seq: int = 1, **more: object) -> None:
    fields: dict[str, object] = {"phase": alarm_pb2.PHASE_START, "priority": alarm_pb2.PRIORITY_HIGH} | more
    desk.take(
        alarm_pb2.AlarmEvent(
            alarm_id=alarm_id,
            alarm_seq=seq,
            condition="spo2-low",
            bed="B02",
            person_id="p1",
            onset_unix_ns=NOW_NS,
            at_unix_ns=NOW_NS,
            **fields,  # type: ignore[arg-type]
        )
    )


@pytest.mark.anyio
async def test_one_click_writes_triage_and_acceptance_in_one_transaction(desk: Desk) -> None:
    _submit(desk)
    await desk.referrals.move(PHYSICIAN, "r1", Step(TRIAGE_ACCEPT, version=1))
    log = desk.log_of("r1")

    assert [one.event.referral_moved.to_state for one in log] == ["", "TRIAGED", "ACCEPTED"]
    assert [one.ordered.site_seq for one in log] == [1, 2, 3]
    assert log[1].event.referral_moved.level == "T0"
    assert log[2].event.referral_moved.owner == "physician"
    assert ("physician", "referral-move") in desk.audited()


@pytest.mark.anyio
async def test_of_two_physicians_who_click_at_once_one_has_it_and_the_other_is_told(desk: Desk) -> None:
    _submit(desk)
    step = Step(TRIAGE_ACCEPT, version=1)
    results = await asyncio.gather(
        desk.referrals.move(PHYSICIAN, "r1", step), desk.referrals.move(SECOND, "r1", step), return_exceptions=True
    )
    refused = [one for one in results if isinstance(one, StepRefused)]

    assert [type(one).__name__ for one in results].count("NoneType") == 1
    assert refused[0].allowed[:2] == ["MORE_INFO", "SCHEDULED"]
    assert len(desk.log_of("r1")) == 3


@pytest.mark.anyio
async def test_an_illegal_step_leaves_nothing_behind(desk: Desk) -> None:
    _submit(desk)
    with pytest.raises(StepRefused) as refused:
        await desk.referrals.move(PHYSICIAN, "r1", Step(("REPORTED",), version=1))

    assert refused.value.allowed == ["TRIAGED", "CANCELLED", "DECEASED"]
    assert len(desk.log_of("r1")) == 1
    assert ("physician", "referral-move") not in desk.audited()


@pytest.mark.anyio
async def test_a_referral_of_another_site_is_not_found(desk: Desk) -> None:
    _submit(desk)
    for referral_id in ("r1", "no-such"):
        with pytest.raises(NotFound):
            await desk.referrals.move(STRANGER, referral_id, Step(("CANCELLED",), version=1, reason_code="x"))


@pytest.mark.anyio
async def test_a_clinic_doctor_cannot_triage(desk: Desk) -> None:
    _submit(desk)
    with pytest.raises(NotPermitted):
        await desk.referrals.move(DOCTOR, "r1", Step(TRIAGE_ACCEPT, version=1))


@pytest.mark.anyio
async def test_declining_needs_a_reason_and_advice(desk: Desk) -> None:
    _submit(desk, "T3")
    await desk.referrals.move(PHYSICIAN, "r1", Step(("TRIAGED",), version=1))
    with pytest.raises(BadRequest) as refused:
        await desk.referrals.move(PHYSICIAN, "r1", Step(("DECLINED",), version=2))

    assert refused.value.fields == ["reason_code", "text"]


@pytest.mark.anyio
async def test_accepting_an_alarm_writes_it_into_the_sites_log_once(desk: Desk) -> None:
    _raise(desk)
    alarm = await desk.alarms.act(PHYSICIAN, "a1", Ask("accept"))
    with pytest.raises(StepRefused, match="physician") as refused:
        await desk.alarms.act(SECOND, "a1", Ask("accept"))
    page = desk.database.read_blocking(lambda c: events.events_after(c, CLINIC.site, 0, 10))

    assert alarm.pending_accept is not None
    assert [one.event.alarm_action.action for one in page] == ["accept"]
    assert "accept" not in refused.value.allowed
    assert desk.audited() == [("physician", "alarm-accept")]


@pytest.mark.anyio
async def test_the_edges_answer_confirms_what_the_hub_asked(desk: Desk) -> None:
    _raise(desk)
    await desk.alarms.act(PHYSICIAN, "a1", Ask("accept"))
    asked = next(one for one in desk.told if isinstance(one, EventTaken)).ordered.event
    _raise(desk, seq=2, phase=alarm_pb2.PHASE_ACCEPTED, actor=asked.actor, cause_event_id=asked.event_id)
    alarm = desk.database.read_blocking(lambda c: alarms.alarm_of(c, REGION, "a1"))

    assert alarm is not None
    assert (alarm.pending_accept, alarm.accepted is not None) == (None, True)


@pytest.mark.anyio
@pytest.mark.parametrize("action", ["accept", "pause", "resolve", "reset"])
async def test_an_alarm_of_another_site_is_not_found(desk: Desk, action: str) -> None:
    _raise(desk)
    with pytest.raises(NotFound):
        await desk.alarms.act(STRANGER, "a1", Ask(action))


@pytest.mark.anyio
async def test_seeing_is_noted_once_and_never_out_of_scope(desk: Desk) -> None:
    _raise(desk)
    await desk.alarms.see(STRANGER, ["a1", "no-such"])
    await desk.alarms.see(PHYSICIAN, ["a1"])
    await desk.alarms.see(SECOND, ["a1"])

    assert [one.ordered.event.actor.username for one in desk.told if isinstance(one, EventTaken)] == ["physician"]


def test_a_step_sent_twice_or_by_another_node_changes_nothing(desk: Desk) -> None:
    _raise(desk)
    _raise(desk)
    desk.take(alarm_pb2.AlarmEvent(alarm_id="a1", alarm_seq=2, phase=alarm_pb2.PHASE_END), HOME)
    alarm = desk.database.read_blocking(lambda c: alarms.alarm_of(c, REGION, "a1"))

    assert alarm is not None
    assert (len(alarm.steps), alarm.is_active) == (1, True)
    assert len([one for one in desk.told if isinstance(one, AlarmTaken)]) == 1


@pytest.mark.anyio
async def test_a_silent_site_has_one_alarm_which_the_hub_steps_itself(desk: Desk) -> None:
    fell_silent = Change(CLINIC.site, NOW_NS - 20 * 10**9)
    await desk.silence.change([fell_silent])
    await desk.silence.change([fell_silent, fell_silent])
    begun = [one for one in desk.told if isinstance(one, AlarmTaken)]
    alarm = await desk.alarms.act(PHYSICIAN, begun[0].event.alarm_id, Ask("accept"))
    await desk.silence.change([Change(CLINIC.site, None)])
    ended = desk.database.read_blocking(lambda c: alarms.alarm_of(c, REGION, alarm.alarm_id))

    assert len(begun) == 1
    assert (alarm.accepted is not None, alarm.pending_accept) == (True, None)
    assert ended is not None
    assert not ended.is_active
    assert ended.first.onset_unix_ns == NOW_NS - 20 * 10**9


@pytest.mark.anyio
async def test_a_person_ends_what_the_hub_raised_for_something_that_happened(desk: Desk) -> None:
    step = alarm_pb2.AlarmEvent(
        alarm_id="h1", alarm_seq=1, phase=alarm_pb2.PHASE_START, condition="alarm-unreadable", technical=True,
        latching=True, at_unix_ns=NOW_NS,
    )  # fmt: skip
    desk.take(step, NodeAddress(REGION, CLINIC.site, "hub"))
    await desk.alarms.act(PHYSICIAN, "h1", Ask("accept"))
    ended = await desk.alarms.act(PHYSICIAN, "h1", Ask("resolve", "called the clinic"))

    assert (ended.is_active, ended.is_latched, ended.is_resolved) == (False, False, True)
    assert [one.note for one in ended.steps if one.note] == ["called the clinic"]


def test_a_node_that_describes_itself_is_told_who_may_sign_in(desk: Desk) -> None:
    actor = event_pb2.Actor(username="edge-clinic", role="node")
    event = event_pb2.Event(event_id="n1", aggregate_type="node", aggregate_id="edge-clinic", actor=actor)
    event.node_described.name_zh = "卫生院"
    desk.take(event)
    page = desk.database.read_blocking(lambda c: events.events_after(c, CLINIC.site, 0, 10))

    told = [one.event.account_set.username for one in page if one.event.aggregate_type == "account"]
    assert told == ["clinic", "physician", "second"]


@pytest.mark.anyio
async def test_an_answer_names_the_last_step_that_was_known_and_counts_for_nothing_worse(desk: Desk) -> None:
    _raise(desk, priority=alarm_pb2.PRIORITY_MEDIUM)
    await desk.alarms.act(PHYSICIAN, "a1", Ask("accept"))
    _raise(desk, seq=2, phase=alarm_pb2.PHASE_ESCALATE)
    page = desk.database.read_blocking(lambda c: events.events_after(c, CLINIC.site, 0, 10))
    alarm = desk.database.read_blocking(lambda c: alarms.alarm_of(c, REGION, "a1"))

    assert [one.event.alarm_action.alarm_seq for one in page] == [1]
    assert alarm is not None
    assert alarm.acceptor is None


def test_alarms_that_stand_are_found_however_many_ended_since(desk: Desk) -> None:
    _raise(desk, "stands")
    for number in range(1, 6):
        for seq, phase in ((1, alarm_pb2.PHASE_START), (2, alarm_pb2.PHASE_END)):
            step = alarm_pb2.AlarmEvent(alarm_id=f"over-{number}", alarm_seq=seq, phase=phase)
            desk.write(lambda c, step=step, number=number: alarms.take_step(c, CLINIC, step, NOW_NS + number))  # type: ignore[misc]
    found = desk.database.read_blocking(lambda c: alarms.recent(c, REGION, None, 0, 3))

    assert "stands" in [alarm.alarm_id for alarm in found]
    assert len(found) == 3


@pytest.mark.anyio
async def test_breaking_the_glass_opens_an_alarm_to_be_seen_and_not_to_be_acted_on(desk: Desk) -> None:
    _raise(desk)
    through_glass = replace(STRANGER, opened=frozenset({(CLINIC.site, "p1")}))
    assert through_glass.sees_alarm(CLINIC.site, "p1", is_technical=False)
    with pytest.raises(NotFound):
        await desk.alarms.act(through_glass, "a1", Ask("accept"))
    await desk.alarms.see(through_glass, ["a1"])
    assert desk.database.read_blocking(lambda c: events.events_after(c, CLINIC.site, 0, 10)) == []
