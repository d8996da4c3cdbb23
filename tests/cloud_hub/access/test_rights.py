"""What the hub grants to each role, what scopes leave of it, and what is within scope."""

from dataclasses import replace

import pytest
from telemed.roles import MACHINES, Reach, Role, reach

from cloud_hub.access.rights import Principal, Right, Scope, parse_scope, rights_of_scopes
from cloud_hub.errors import NotFound, NotPermitted

ROLES = tuple(set(Role) - MACHINES)


def principal(role: Role, **more: object) -> Principal:
    return Principal("u", role, "某", "U", "baoshan", frozenset({"a"}), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", sorted(Role))
def test_the_hub_grants_what_the_roles_have_but_what_is_for_the_homes_own_page(role: Role) -> None:
    one = principal(role)
    for right in Right:
        how_far = reach(role, right)
        assert one.may(right) is (how_far not in (None, Reach.HOME))
        if not one.may(right):
            with pytest.raises(NotPermitted):
                one.demand(right)


def test_an_alarm_is_within_scope_by_site_person_and_kind() -> None:
    worker = principal(Role.CARE_WORKER, persons=frozenset({"p"}))
    assert worker.sees_alarm("a", "p", is_technical=False)
    assert not worker.sees_alarm("a", "p", is_technical=True)
    assert not worker.sees_alarm("a", "", is_technical=False)
    operator = principal(Role.OPERATOR)
    assert operator.sees_alarm("a", "", is_technical=True)
    assert not operator.sees_alarm("a", "p", is_technical=False)
    assert not operator.sees_alarm("b", "", is_technical=True)


def test_a_program_only_reads_and_only_what_its_scopes_name() -> None:
    assert principal(Role.PROGRAM, scopes=frozenset()).rights == {Right.SIGNED_IN}
    all_scopes = frozenset({"system/*.cruds"})
    writing = {Right.ENTER_VITALS, Right.ACT_ON_ALARM, Right.MAKE_REFERRAL, Right.TRIAGE, Right.START_CONSULT}
    assert not principal(Role.PROGRAM, scopes=all_scopes).rights & writing
    patient_only = principal(Role.PROGRAM, scopes=frozenset({"system/Patient.r"}))
    assert patient_only.rights == {Right.SIGNED_IN, Right.SEE_RECORD}
    assert patient_only.may_read("Patient", "r")
    assert not patient_only.may_read("Patient", "s")
    assert not patient_only.may_read("Observation", "r")


def test_a_persons_token_never_widens_the_role() -> None:
    everything = frozenset({"user/*.cruds"})
    for role in ROLES:
        assert principal(role, scopes=everything).rights <= principal(role).rights
    assert principal(Role.PHYSICIAN, scopes=frozenset({"user/*.rs"})).rights & {Right.TRIAGE} == set()


def test_what_is_out_of_scope_is_not_found_rather_than_forbidden() -> None:
    one = principal(Role.CAREGIVER, persons=frozenset({"p"}))
    one.demand_site("a")
    one.demand_person("a", "p")
    for site, person in (("b", "p"), ("a", "q")):
        with pytest.raises(NotFound):
            one.demand_person(site, person)
    with pytest.raises(NotFound):
        one.demand_site("b")


@pytest.mark.parametrize(
    "text", ["", "system/Patient", "system/Patient.", "system/Patient.sr", "Patient.rs", "system/Nothing.rs", "x/*.rs"]
)
def test_a_scope_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a scope"):
        parse_scope(text)


def test_scopes_cover_what_is_narrower() -> None:
    wide, narrow = Scope("system", "*", "rs"), Scope("system", "Patient", "r")
    assert wide.covers(narrow)
    assert not narrow.covers(wide)
    assert not wide.covers(Scope("user", "Patient", "r"))
    assert rights_of_scopes(frozenset({"system/Observation.c"})) == {
        Right.SIGNED_IN,
        Right.ENTER_VITALS,
        Right.ACT_ON_ALARM,
    }


def test_what_is_opened_by_name_alone_is_not_covered_by_a_scope_for_everything() -> None:
    everything, by_name = Scope("system", "*", "cruds"), Scope("system", "AuditEvent", "rs")
    assert not everything.covers(by_name)
    assert by_name.covers(Scope("system", "AuditEvent", "r"))
    assert everything.covers(Scope("system", "*", "rs"))
    program = principal(Role.PROGRAM, scopes=frozenset({"system/*.rs"}))
    assert not program.may_read("AuditEvent", "r")
    assert program.may_read("Patient", "r")
    assert not program.may(Right.READ_AUDIT)


def test_own_persons_alarms_need_the_right_to_see_them() -> None:
    family = principal(Role.CAREGIVER, persons=frozenset({"p"}))
    assert family.sees_alarm("a", "p", is_technical=False)
    narrow = replace(family, scopes=frozenset({"user/Patient.rs"}))
    assert not narrow.sees_alarm("a", "p", is_technical=False)
    assert not replace(family, must_enrol=True).sees_alarm("a", "p", is_technical=False)


def test_no_scope_lets_a_program_break_the_glass() -> None:
    everything = frozenset({"user/*.cruds", "system/*.cruds", "user/AuditEvent.cruds"})
    for role in (Role.CLINIC, Role.NURSE, Role.PHYSICIAN):
        assert principal(role).may(Right.BREAK_GLASS)
        assert not principal(role, scopes=everything).may(Right.BREAK_GLASS)
