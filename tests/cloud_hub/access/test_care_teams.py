"""Care teams: who may be in one, that it opens exactly its person, and that the site is told."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy import event as sql_event
from telemed.roles import Role
from telemed.v1 import event_pb2

from cloud_hub.access.care_teams import CareTeams
from cloud_hub.access.rights import Principal
from cloud_hub.access.sign_in import Access
from cloud_hub.errors import BadRequest, NotFound
from cloud_hub.store import accounts, care_team, events, persons
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from tests.cloud_hub.access.conftest import PASSWORD

pytestmark = pytest.mark.anyio
WHERE = ("baoshan", "baoshan-clinic")
DOCTOR = Principal("clinic", Role.CLINIC, "黄芪", "Huang Qi", "baoshan", frozenset({"baoshan-clinic"}))
FAR = Principal("far", Role.CLINIC, "远", "Far", "baoshan", frozenset({"elsewhere"}))
PHYSICIAN = Principal("physician", Role.PHYSICIAN, "杜仲", "Du Zhong", "baoshan", None)


@pytest.fixture
def teams(access: Access, care: Database, hashed: str) -> CareTeams:
    def work(connection: Any) -> None:
        worker = Account("worker", Role.CARE_WORKER, "护", "Worker", ("baoshan-clinic",), hashed)
        accounts.save_account(connection, worker, 1)
        for person_id, bed in (("p-1", "B01"), ("p-2", "B02")):
            persons.save_person(connection, WHERE, person_id, event_pb2.PersonRegistered(), 1)
            persons.assign_bed(connection, WHERE, bed, event_pb2.BedAssigned(person_id=person_id), f"e-{bed}", 5)

    care.write_blocking(work)
    return CareTeams(access)


async def seen_by(access: Access, username: str) -> set[str]:
    opened = await access.sign_in(username, PASSWORD, "a")
    assert opened.principal.persons is not None
    return set(opened.principal.persons)


async def test_a_care_worker_sees_nobody_until_put_into_a_team_and_nobody_after(
    teams: CareTeams, access: Access, audit_of: Any
) -> None:
    assert await seen_by(access, "worker") == set()
    await teams.change(DOCTOR, "p-1", "worker", is_member=True)
    await teams.change(DOCTOR, "p-1", "worker", is_member=True)
    assert await seen_by(access, "worker") == {"p-1"}
    assert [one.username for one in await teams.of(DOCTOR, "p-1")] == ["worker"]
    await teams.change(DOCTOR, "p-1", "worker", is_member=False)
    assert await seen_by(access, "worker") == set()
    changes = [entry for entry in audit_of() if entry[1].startswith("care-team")]
    actions = ["care-team-join", "care-team-join", "care-team-leave"]
    targets = ("Patient/p-1", "account/worker")
    assert changes == [("clinic", action, target, "ok") for action in actions for target in targets]


async def test_the_relation_counts_only_while_the_episode_is_open(
    teams: CareTeams, access: Access, care: Database
) -> None:
    await teams.change(DOCTOR, "p-1", "worker", is_member=True)
    care.write_blocking(lambda c: persons.vacate_bed(c, WHERE, "B01", 9))
    assert await seen_by(access, "worker") == set()


async def test_the_site_is_told_whom_its_care_workers_care_for(
    teams: CareTeams, access: Access, care: Database
) -> None:
    told: list[str] = []
    access.site_changed = told.append
    await teams.change(DOCTOR, "p-1", "worker", is_member=True)
    page = care.read_blocking(lambda c: events.events_after(c, "baoshan-clinic", 0, 100))
    sets = {one.event.account_set.username: list(one.event.account_set.persons) for one in page}
    assert sets["worker"] == ["p-1"]
    assert sets["clinic"] == []
    assert told == ["baoshan-clinic"]


async def test_only_family_and_care_workers_of_the_site_can_be_in_a_team(teams: CareTeams) -> None:
    for name in ("nobody", "physician", "caregiver"):
        with pytest.raises(BadRequest):
            await teams.change(DOCTOR, "p-1", name, is_member=True)


async def test_another_sites_person_and_one_whose_care_is_over_are_not_found(teams: CareTeams, care: Database) -> None:
    with pytest.raises(NotFound):
        await teams.change(FAR, "p-1", "worker", is_member=True)
    await teams.of(PHYSICIAN, "p-1")
    care.write_blocking(lambda c: persons.vacate_bed(c, WHERE, "B01", 9))
    with pytest.raises(NotFound):
        await teams.of(PHYSICIAN, "p-1")
    await teams.of(DOCTOR, "p-1")


async def test_a_referral_opens_a_record_until_it_ends(care: Database) -> None:
    def moved(to_state: str) -> event_pb2.Event:
        return event_pb2.Event(aggregate_id="r", referral_moved=event_pb2.ReferralMoved(to_state=to_state))

    submitted = event_pb2.Event(aggregate_id="r", referral_submitted=event_pb2.ReferralSubmitted(person_id="p-9"))
    for event, is_open in ((submitted, True), (moved("ACCEPTED"), True), (moved("CLOSED"), False)):
        care.write_blocking(lambda c, e=event: care_team.note_referral(c, WHERE, e, 1))  # type: ignore[misc]
        assert care.read_blocking(lambda c: care_team.is_under_care(c, "baoshan", "p-9")) is is_open
        assert ("p-9" in care.read_blocking(lambda c: care_team.under_care(c, "baoshan"))) is is_open
    assert not care.read_blocking(lambda c: care_team.is_under_care(c, "elsewhere", "p-9"))


async def test_a_record_opened_by_breaking_the_glass_is_read_and_its_team_is_not_changed(
    teams: CareTeams, care: Database
) -> None:
    care.write_blocking(lambda c: persons.vacate_bed(c, WHERE, "B01", 9))
    for who in (FAR, PHYSICIAN):
        opened = replace(who, opened=frozenset({("baoshan-clinic", "p-1")}))
        assert await teams.of(opened, "p-1") == []
        for is_member in (True, False):
            with pytest.raises(NotFound):
                await teams.change(opened, "p-1", "worker", is_member=is_member)


async def test_finding_ones_own_persons_reads_no_stay_but_theirs(teams: CareTeams, care: Database) -> None:
    await teams.change(DOCTOR, "p-1", "worker", is_member=True)

    def stays_read(connection: Connection) -> tuple[frozenset[str], int]:
        asked: list[tuple[str, Any]] = []

        def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
            asked.append((statement, values))

        worker = accounts.account_of(connection, "worker")
        assert worker is not None
        sql_event.listen(connection, "before_cursor_execute", note)
        found = care_team.own_persons(connection, "baoshan", worker, 0)
        sql_event.remove(connection, "before_cursor_execute", note)
        stays = [one for one in asked if "FROM bed_stay" in one[0]]
        return found, sum(len(connection.exec_driver_sql(*one).all()) for one in stays)

    assert care.read_blocking(stays_read) == (frozenset({"p-1"}), 1)
