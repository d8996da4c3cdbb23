"""How the hub orders what edges propose."""

from dataclasses import replace

import pytest
from sqlalchemy import Connection, select
from telemed.errors import Code
from telemed.roles import Role
from telemed.topics import NodeAddress
from telemed.v1 import event_pb2

from cloud_hub.store import accounts, events, persons
from cloud_hub.store.accounts import Account
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import bed_stay

CLINIC = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
HOME = NodeAddress("baoshan", "heming-home", "edge-home")
DOCTOR = event_pb2.Actor(username="clinic", role="clinic", name_zh="苏叶", name_en="Su Ye")
PHYSICIAN = event_pb2.Actor(username="physician", role="physician", name_zh="黄芪", name_en="Huang Qi")
NOW_NS = 1_800_000_000 * 10**9


@pytest.fixture
def database(care_db: Database) -> Database:
    def people(connection: Connection) -> None:
        for username, role, sites in (
            ("clinic", Role.CLINIC, (CLINIC.site,)),
            ("physician", Role.PHYSICIAN, ()),
        ):
            accounts.save_account(connection, Account(username, role, "", "", sites, "x"), NOW_NS)

    care_db.write_blocking(people)
    return care_db


def _submit(referral_id: str = "r1", event_id: str = "e1", base: int = 0) -> event_pb2.Event:
    body = event_pb2.ReferralSubmitted(level_claim="T0", bed="B02", main_signs=["speech"])
    return event_pb2.Event(
        event_id=event_id,
        aggregate_type="referral",
        aggregate_id=referral_id,
        base_version=base,
        at_unix_ns=NOW_NS,
        actor=DOCTOR,
        referral_submitted=body,
    )


def _move(to_state: str, event_id: str, base: int, actor: event_pb2.Actor = PHYSICIAN) -> event_pb2.Event:
    return event_pb2.Event(
        event_id=event_id,
        aggregate_type="referral",
        aggregate_id="r1",
        base_version=base,
        at_unix_ns=NOW_NS,
        actor=actor,
        referral_moved=event_pb2.ReferralMoved(to_state=to_state, level="T0"),
    )


def _assign(event_id: str, bed: str, person_id: str, base: int, from_s: int = 0) -> event_pb2.Event:
    body = event_pb2.BedAssigned(person_id=person_id, from_unix_ns=NOW_NS + from_s * 10**9)
    return event_pb2.Event(
        event_id=event_id, aggregate_type="bed", aggregate_id=bed, base_version=base, bed_assigned=body
    )


def _take(database: Database, event: event_pb2.Event, address: NodeAddress = CLINIC) -> event_pb2.OrderedEvent:
    return database.write_blocking(lambda c: events.take_proposal(c, address, event, NOW_NS))


def test_numbers_run_without_holes_for_each_site(database: Database) -> None:
    ordered = [
        _take(database, _submit("r1", "e1")),
        _take(database, _assign("e2", "B01", "p9", 0), HOME),
        _take(database, _submit("r2", "e3")),
        _take(database, _submit("r3", "e4", base=7)),
    ]

    assert [one.site_seq for one in ordered] == [1, 1, 2, 3]
    assert database.read_blocking(lambda c: events.head(c, CLINIC.site)) == 3


def test_sending_an_event_twice_gives_the_first_answer_and_changes_nothing(database: Database) -> None:
    first = _take(database, _submit())
    second = _take(database, _submit())

    assert second == first
    assert database.read_blocking(lambda c: events.head(c, CLINIC.site)) == 1


def test_an_event_of_another_site_is_neither_shown_nor_taken(database: Database) -> None:
    _take(database, _assign("e1", "B01", "p1", 0))
    answer = _take(database, _assign("e1", "B01", "p1", 0), HOME)

    assert (answer.refused, answer.refusal, answer.site_seq) == (True, Code.KEY_CONFLICT, 0)
    assert database.read_blocking(lambda c: events.head(c, HOME.site)) == 0


def test_of_two_proposals_on_the_same_version_the_first_at_the_hub_wins(database: Database) -> None:
    first = _take(database, _assign("e1", "B01", "p1", 0))
    second = _take(database, _assign("e2", "B01", "p2", 0))

    assert (first.refused, first.version) == (False, 1)
    assert (second.refused, second.refusal, second.version) == (True, Code.REFUSED_VERSION, 1)
    stays = database.read_blocking(lambda c: persons.stays(c, "baoshan", None))
    assert [stay.person_id for stay in stays] == ["p1"]


def test_a_refused_event_is_kept_in_the_log_for_its_author(database: Database) -> None:
    _take(database, _submit())
    refused = _take(database, _move("REPORTED", "e2", 1))
    page = database.read_blocking(lambda c: events.events_after(c, CLINIC.site, 1, 10))

    assert refused.refusal == Code.REFUSED_ILLEGAL_STATE
    assert [(one.refused, one.event.event_id) for one in page] == [(True, "e2")]


@pytest.mark.parametrize(
    ("actor", "site"),
    [
        (event_pb2.Actor(username="nobody", role="clinic"), CLINIC),
        (event_pb2.Actor(username="clinic", role="physician"), CLINIC),
        (event_pb2.Actor(), CLINIC),
        (DOCTOR, HOME),
    ],
)
def test_a_node_cannot_speak_for_people_it_does_not_have(
    database: Database, actor: event_pb2.Actor, site: NodeAddress
) -> None:
    event = _submit()
    event.actor.CopyFrom(actor)

    assert _take(database, event, site).refusal == Code.REFUSED_RIGHTS


def test_an_edge_may_make_neither_accounts_nor_alarm_actions(database: Database) -> None:
    account = event_pb2.Event(event_id="e1", aggregate_type="account", aggregate_id="x")
    account.account_set.username = "x"
    action = event_pb2.Event(event_id="e2", aggregate_type="alarm", aggregate_id="a", actor=DOCTOR)
    action.alarm_action.action = "accept"

    assert _take(database, account).refusal == Code.REFUSED_RIGHTS
    assert _take(database, action).refusal == Code.REFUSED_RIGHTS


def test_a_body_that_this_hub_does_not_know_is_kept_and_refused(database: Database) -> None:
    strange = event_pb2.Event(event_id="e1", aggregate_type="drone", aggregate_id="d1")

    assert _take(database, strange).refusal == Code.REFUSED_UNKNOWN_AGGREGATE


def test_moving_a_person_ends_both_former_stays_and_rewrites_nothing(database: Database) -> None:
    _take(database, _assign("e1", "B01", "p1", 0))
    _take(database, _assign("e2", "B02", "p2", 0))
    _take(database, _assign("e3", "B02", "p1", 1, from_s=60))
    rows = database.read_blocking(lambda c: c.execute(select(bed_stay).order_by(bed_stay.c.id)).all())

    assert [(row.bed, row.person_id, row.to_ns is None) for row in rows] == [
        ("B01", "p1", False),
        ("B02", "p2", False),
        ("B02", "p1", True),
    ]


def test_a_stay_dated_back_does_not_take_what_was_measured_of_who_lies_there(database: Database) -> None:
    done_ns = NOW_NS + 600 * 10**9
    _take(database, _assign("e1", "B01", "p1", 0, from_s=60))
    back = _assign("e2", "B01", "p2", 1, from_s=30)
    back.at_unix_ns = done_ns
    _take(database, back)
    stays = database.read_blocking(lambda c: persons.stays(c, "baoshan", None))

    assert [(stay.person_id, stay.from_ns, stay.to_ns) for stay in stays] == [
        ("p1", NOW_NS + 60 * 10**9, done_ns),
        ("p2", done_ns, None),
    ]


def test_a_device_that_is_described_again_keeps_its_place(database: Database) -> None:
    for number in (1, 2):
        event = event_pb2.Event(
            event_id=f"e{number}", aggregate_type="device", aggregate_id="mon-1", at_unix_ns=NOW_NS + number
        )
        event.device_placed.bed, event.device_placed.node = "B01", "edge-clinic"
        _take(database, event)
    places = database.read_blocking(lambda c: persons.places(c, "baoshan", [CLINIC.site]))

    assert [(place.bed, place.from_ns, place.to_ns) for place in places] == [("B01", NOW_NS + 1, None)]


def test_reads_stay_within_the_sites_asked_for(database: Database) -> None:
    _take(database, _assign("e1", "B01", "p1", 0))
    _take(database, _assign("e2", "B01", "p2", 0), HOME)

    stays = database.read_blocking(lambda c: persons.stays(c, "baoshan", [HOME.site]))
    assert [stay.person_id for stay in stays] == ["p2"]
    assert database.read_blocking(lambda c: persons.stays(c, "elsewhere", None)) == []


def test_a_no_counts_though_its_author_has_no_account_any_more(database: Database) -> None:
    def change(connection: Connection) -> None:
        where = (CLINIC.region, CLINIC.site)
        persons.save_person(connection, where, "p1", event_pb2.PersonRegistered(family_name="x"), NOW_NS)
        account = accounts.account_of(connection, "clinic")
        assert account is not None
        accounts.save_account(connection, replace(account, disabled=True), NOW_NS)

    database.write_blocking(change)
    said = event_pb2.ConsentWithdrawn(person_id="p1", purpose="C2")
    event = event_pb2.Event(
        event_id="no", aggregate_type="consent", aggregate_id="p1/C2", actor=DOCTOR, consent_withdrawn=said
    )
    assert not _take(database, event).refused
    event.event_id = "of a caregiver"
    event.actor.role = "caregiver"
    assert _take(database, event).refusal == Code.REFUSED_RIGHTS
    event.event_id, event.actor.role = "at the hub", "clinic"
    at_hub = database.write_blocking(lambda c: events.append_hub_event(c, CLINIC, event, NOW_NS))
    assert at_hub.refusal == Code.REFUSED_RIGHTS


def test_a_bed_that_was_left_at_no_time_of_its_own_was_left_when_that_was_said(database: Database) -> None:
    _take(database, _assign("e1", "B01", "p1", 0))
    left_ns = NOW_NS + 60 * 10**9
    event = event_pb2.Event(
        event_id="e2",
        aggregate_type="bed",
        aggregate_id="B01",
        base_version=1,
        at_unix_ns=left_ns,
        bed_vacated=event_pb2.BedVacated(),
    )
    assert not _take(database, event).refused
    assert database.read_blocking(lambda c: list(c.execute(select(bed_stay.c.to_ns)).scalars())) == [left_ns]
