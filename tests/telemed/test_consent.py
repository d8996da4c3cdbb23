"""What a person's events of consent make of it, and which steps may not be taken at all."""

from typing import Any

import pytest
from telemed import consent, consent_views, screen
from telemed.consent import GIVEN_BY, WITHDRAWN_BY, Purpose, Step
from telemed.errors import Code
from telemed.roles import Role
from telemed.v1 import event_pb2

NOW_NS = 1_800_000_000 * 10**9


def given(purpose: str = "C4", role: str = "clinic", **body: Any) -> event_pb2.Event:
    values: dict[str, Any] = {"person_id": "p", "purpose": purpose, "giver": "self", "method": "verbal"}
    return event_pb2.Event(
        aggregate_type="consent",
        aggregate_id=f"p/{purpose}",
        at_unix_ns=NOW_NS,
        actor=event_pb2.Actor(username="u", role=role, name_zh="黄芪", name_en="Huang Qi"),
        consent_given=event_pb2.ConsentGiven(**(values | body)),
    )


def withdrawn(purpose: str = "C4", grantee: str = "", role: str = "clinic") -> event_pb2.Event:
    return event_pb2.Event(
        aggregate_id=f"p/{purpose}",
        at_unix_ns=NOW_NS + 1,
        actor=event_pb2.Actor(username="u", role=role),
        consent_withdrawn=event_pb2.ConsentWithdrawn(person_id="p", purpose=purpose, grantee=grantee),
    )


def test_what_was_never_asked_is_not_agreed_to() -> None:
    assert not consent.fold([]).permits(NOW_NS)


def test_a_consent_holds_until_it_is_taken_back_and_can_be_given_again() -> None:
    steps = [Step(given(), 1)]
    assert consent.fold(steps).permits(NOW_NS)
    steps.append(Step(withdrawn(), 2))
    ended = consent.fold(steps)
    assert not ended.permits(NOW_NS)
    assert (ended.version, ended.ended_ns) == (2, NOW_NS + 1)
    assert consent.fold([*steps, Step(given(), 3)]).permits(NOW_NS)


def test_access_is_each_ones_own_and_is_taken_from_one_or_from_all() -> None:
    steps = [Step(given("C5", grantee="son"), 1), Step(given("C5", grantee="daughter"), 2)]
    both = consent.fold(steps)
    assert both.permits(NOW_NS, "son")
    assert both.permits(NOW_NS, "daughter")
    assert not both.permits(NOW_NS, "")
    one = consent.fold([*steps, Step(withdrawn("C5", "son"), 3)])
    assert not one.permits(NOW_NS, "son")
    assert one.permits(NOW_NS, "daughter")
    assert consent.fold([*steps, Step(withdrawn("C5"), 3)]).grants == ()


def test_a_consent_for_a_time_ends_by_itself() -> None:
    standing = consent.fold([Step(given("C6", until_unix_ns=NOW_NS + 5), 1)])
    assert standing.permits(NOW_NS + 4)
    assert not standing.permits(NOW_NS + 5)


def test_a_refused_step_changes_nothing_and_says_why() -> None:
    standing = consent.fold([Step(withdrawn(), 4), Step(given(), 4, Code.REFUSED_VERSION)])
    assert (standing.permits(NOW_NS), standing.version, standing.refused) == (False, 4, "refused-version")
    assert consent.fold([Step(given(), 4, Code.REFUSED_VERSION), Step(given(), 5)]).refused == ""


def test_a_step_that_waits_holds_already() -> None:
    standing = consent.fold([Step(given(), 1), Step(withdrawn(), is_pending=True)])
    assert (standing.permits(NOW_NS), standing.is_pending, standing.version) == (False, True, 2)


@pytest.mark.parametrize("role", [*Role, "", "node"])
@pytest.mark.parametrize("purpose", Purpose)
def test_who_may_record_what(role: str, purpose: Purpose) -> None:
    fields: dict[str, Any] = {
        "grantee": "son" if purpose in consent.NAMED else "",
        "until_unix_ns": 9 if purpose in consent.TIMED else 0,
    }
    assert (consent.judge(given(purpose, role, **fields)) is None) is (role in ("clinic", "physician"))
    may_end = role in ("clinic", "physician") or (role == "caregiver" and purpose in ("C4", "C5", "C6", "C7", "C8"))
    assert (consent.judge(withdrawn(purpose, role=role)) is None) is may_end


def test_a_node_says_what_its_site_holds_on_paper_and_nothing_else() -> None:
    assert consent.judge(given(role="node", method="paper")) is None
    assert consent.judge(given(role="caregiver", method="paper")) is Code.REFUSED_RIGHTS


@pytest.mark.parametrize(
    ("purpose", "fields", "wrong"),
    [
        ("C5", {}, ["grantee"]),
        ("C4", {"grantee": "son"}, ["grantee"]),
        ("C6", {}, ["until_ms"]),
        ("C1", {"until_unix_ns": 7}, ["until_ms"]),
        ("C1", {"giver": "neighbour"}, ["giver"]),
        ("C1", {"giver": "guardian", "giver_name": " "}, ["giver_name"]),
        ("C1", {"method": "thumb"}, ["method"]),
    ],
)
def test_each_purpose_needs_its_own_fields(purpose: str, fields: dict[str, Any], wrong: list[str]) -> None:
    event = given(purpose, **fields)
    assert consent.lacking(event.consent_given) == wrong
    assert consent.judge(event) is Code.REFUSED_ILLEGAL_STATE


def test_an_event_about_another_aggregate_than_it_names_is_no_consent() -> None:
    for change in ({"aggregate_id": "q/C4"}, {"aggregate_id": "p/C1"}):
        event = given()
        event.aggregate_id = change["aggregate_id"]
        assert consent.judge(event) is Code.REFUSED_UNKNOWN_AGGREGATE
    assert consent.judge(given("C0")) is Code.REFUSED_UNKNOWN_AGGREGATE


def test_the_tables_name_every_purpose() -> None:
    assert set(GIVEN_BY) == set(WITHDRAWN_BY) == set(Purpose) == {f"C{number}" for number in range(1, 10)}


def test_a_page_is_shown_every_purpose_and_what_its_role_may_do() -> None:
    standings = {Purpose.FAMILY: consent.fold([Step(given("C5", grantee="son"), 1)])}
    family = {"son": screen.Text2(zh="儿子", en="Son")}
    found = consent_views.consents("p", standings, family, "caregiver", NOW_NS)
    assert [one.purpose for one in found.consents] == list(Purpose)
    access = found.consents[4]
    assert (access.state, access.may_give, access.may_withdraw) == ("given", False, True)
    assert access.grants[0].grantee_name == family["son"]
    assert found.consents[0].state == "never"
    assert not found.consents[0].may_withdraw


def test_what_has_ended_by_itself_is_shown_as_over() -> None:
    standings = {Purpose.VISITOR: consent.fold([Step(given("C9", until_unix_ns=5), 1)])}
    found = consent_views.consents("p", standings, {}, "clinic", NOW_NS)
    assert (found.consents[8].state, found.consents[8].grants) == ("withdrawn", [])


def test_a_name_in_a_no_to_what_names_nobody_is_passed_over() -> None:
    ended = consent.fold([Step(given("C2"), 1), Step(withdrawn("C2", "son"), 2)])
    assert not ended.permits(NOW_NS)
