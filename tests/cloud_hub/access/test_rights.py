"""Every right of every role against clinical 9.1, and what scopes leave of it."""

import pytest
from telemed.roles import Role

from cloud_hub.access.rights import RIGHTS_OF, Principal, Right, Scope, parse_scope, rights_of_scopes
from cloud_hub.errors import NotFound, NotPermitted

# One row a right, columns caregiver, clinic, physician, operator; from the table in clinical 9.1.
TABLE = """
signed-in      x x x x
see-links      - x x x
see-vitals     x x x -
see-record     - x x -
see-referrals  - x x -
see-devices    - x x x
enter-vitals   - x x -
act-on-alarm   - x x -
make-referral  - x - -
triage         - - x -
join-consult   - x x -
start-consult  - - x -
manage-nodes   - - - x
"""
ROLES = (Role.CAREGIVER, Role.CLINIC, Role.PHYSICIAN, Role.OPERATOR)
CELLS = [
    (role, Right(line.split()[0]), mark == "x")
    for line in TABLE.strip().splitlines()
    for role, mark in zip(ROLES, line.split()[1:], strict=True)
]


def principal(role: Role, **more: object) -> Principal:
    return Principal("u", role, "某", "U", "baoshan", frozenset({"a"}), **more)  # type: ignore[arg-type]


def test_the_table_here_names_every_right_and_every_role_of_people() -> None:
    assert {right for _, right, _ in CELLS} == set(Right)
    assert {role for role, _, _ in CELLS} == set(Role) - {Role.PROGRAM}
    assert set(RIGHTS_OF) == set(Role)


@pytest.mark.parametrize(("role", "right", "is_granted"), CELLS)
def test_each_role_has_exactly_the_rights_of_clinical_9_1(role: Role, right: Right, is_granted: bool) -> None:
    one = principal(role)
    assert one.may(right) is is_granted
    if is_granted:
        one.demand(right)
    else:
        with pytest.raises(NotPermitted):
            one.demand(right)


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
