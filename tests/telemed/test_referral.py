"""The referral table against clinical 4.1: every pair of states, allowed or forbidden, by hand."""

import itertools

import pytest
from telemed.referral import (
    ACKNOWLEDGE_WITHIN_S,
    ENTERED_BY,
    ESCALATE_AT_PCT,
    LEVELS,
    MAIN_SIGNS,
    OPEN,
    TRANSITIONS,
    VIDEO_WITHIN_S,
    State,
    allowed,
    is_legal,
)
from telemed.roles import Role

LEGAL = """
DRAFT          SUBMITTED EXPIRED
SUBMITTED      TRIAGED
TRIAGED        ACCEPTED REDIRECTED DECLINED MORE_INFO
ACCEPTED       MORE_INFO SCHEDULED IN_CONSULT
REDIRECTED
DECLINED       SUBMITTED
MORE_INFO      SUBMITTED
SCHEDULED      IN_CONSULT NO_SHOW
IN_CONSULT     ADMITTED TREATED REPORTED
ADMITTED       REPORTED DOWN_REFERRED
TREATED        REPORTED DOWN_REFERRED
REPORTED       DOWN_REFERRED FOLLOW_UP CLOSED
DOWN_REFERRED  FOLLOW_UP
FOLLOW_UP      CLOSED
CLOSED
CANCELLED
NO_SHOW
EXPIRED
DECEASED
"""
ENDS = {"REDIRECTED", "CLOSED", "CANCELLED", "NO_SHOW", "EXPIRED", "DECEASED"}
EXPECTED = {
    State(row[0]): {State(name) for name in row[1:]} | (set() if row[0] in ENDS else {State.CANCELLED, State.DECEASED})
    for row in (line.split() for line in LEGAL.strip().splitlines())
}


def test_the_table_here_names_every_state() -> None:
    assert set(EXPECTED) == set(State) == set(TRANSITIONS) == set(ENTERED_BY)


@pytest.mark.parametrize(("current", "target"), list(itertools.product(State, State)))
def test_each_pair_of_states_is_legal_or_forbidden_as_clinical_4_1_says(current: State, target: State) -> None:
    assert is_legal(current, target) is (target in EXPECTED[current])


@pytest.mark.parametrize("target", list(State))
def test_a_referral_begins_as_draft_or_submitted_alone(target: State) -> None:
    assert is_legal(None, target) is (target in {State.DRAFT, State.SUBMITTED})


def test_no_open_state_is_a_dead_end_and_every_state_can_be_reached() -> None:
    for state in OPEN:
        assert _reachable(state) & (set(State) - OPEN), state
    assert _reachable(State.DRAFT) == set(State)


def test_what_has_ended_stays_ended() -> None:
    for state in set(State) - OPEN:
        assert allowed(state) == []


def test_every_step_somebody_may_take_has_a_role_and_expiry_has_none() -> None:
    assert {state for state, roles in ENTERED_BY.items() if not roles} == {State.EXPIRED}
    assert all(roles <= {Role.CLINIC, Role.NURSE, Role.PHYSICIAN} for roles in ENTERED_BY.values())
    assert ENTERED_BY[State.CLOSED] == {Role.CLINIC}
    assert ENTERED_BY[State.TRIAGED] == {Role.NURSE, Role.PHYSICIAN}
    assert ENTERED_BY[State.DOWN_REFERRED] == {Role.PHYSICIAN}


def test_clocks_exist_for_every_level_and_grow_with_it() -> None:
    for table in (ACKNOWLEDGE_WITHIN_S, VIDEO_WITHIN_S, ESCALATE_AT_PCT):
        assert tuple(table) == LEVELS
        assert list(table.values()) == sorted(table.values())
    assert ACKNOWLEDGE_WITHIN_S["T0"] == 120
    assert VIDEO_WITHIN_S["T0"] == 600
    assert len(set(MAIN_SIGNS)) == 8


def _reachable(start: State) -> set[State]:
    found, waiting = {start}, [start]
    while waiting:
        fresh = set(TRANSITIONS[waiting.pop()]) - found
        found |= fresh
        waiting += fresh
    return found
