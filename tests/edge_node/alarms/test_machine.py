"""The alarm's table: what is possible from where, and nothing else."""

import itertools

import pytest

from edge_node.alarms import machine
from edge_node.alarms.machine import TABLE, after, apply, fold
from edge_node.errors import StepRefused
from edge_node.samples.alarm import Alarm, Ask, Finding, Phase, Priority, State, Step, Who

NS = 1_000_000_000
ZHANG = Who("zhang", "clinic", "张", "Zhang")
LOW = Finding("spo2-low", Priority.MEDIUM, "B1", value="90", limit="92", onset_ns=5 * NS)
LATCHING = Finding("apnoea", Priority.HIGH, "B1", latching=True)
S, P = State, Phase

# Written out by hand from clinical 2.4; the product's table must be exactly this one.
POSSIBLE = {
    S.INACTIVE: {P.START},
    S.ACTIVE: {P.ESCALATE, P.DEESCALATE, P.END, P.SEEN, P.ACCEPTED, P.AUDIO_PAUSED, P.RESOLVED, P.UPDATE},
    S.ESCALATED: {P.ESCALATE, P.DEESCALATE, P.END, P.SEEN, P.ACCEPTED, P.AUDIO_PAUSED, P.RESOLVED, P.UPDATE},
    S.ACKNOWLEDGED: {P.ESCALATE, P.DEESCALATE, P.END, P.SEEN, P.ACCEPTED, P.RESOLVED, P.UPDATE},
    S.AUDIO_PAUSED: {P.ESCALATE, P.DEESCALATE, P.END, P.SEEN, P.ACCEPTED, P.AUDIO_RESUMED, P.RESOLVED, P.UPDATE},
    S.LATCHED: {P.START, P.END, P.RESET, P.SEEN, P.ACCEPTED, P.RESOLVED},
    S.CLEARED: {P.SEEN, P.ACCEPTED, P.RESOLVED},
}
FORBIDDEN = [(state, phase) for state, phase in itertools.product(State, Phase) if phase not in POSSIBLE[state]]


def step(phase: Phase, seq: int, *, at_s: int = 0, finding: Finding = LOW, who: Who | None = None, **more: int) -> Step:
    return Step("a", seq, phase, at_s * NS, finding, "p", who, until_ns=more.get("until_ns", 0))


def talk(*phases: Phase, finding: Finding = LOW) -> Alarm:
    steps = [
        step(phase, number, finding=finding, who=ZHANG if phase in (P.ACCEPTED, P.SEEN, P.RESOLVED) else None)
        for number, phase in enumerate(phases, start=1)
    ]
    return fold(steps)["a"]


def test_the_table_has_every_state_and_what_is_possible_is_as_specified() -> None:
    assert {state: set(row) for state, row in TABLE.items()} == POSSIBLE


@pytest.mark.parametrize(("state", "phase"), FORBIDDEN)
def test_everything_else_is_refused_with_what_is_possible(state: State, phase: Phase) -> None:
    with pytest.raises(StepRefused) as refused:
        after(state, phase, latching=False)
    assert refused.value.allowed == machine.allowed(state)


def test_accepting_silences_and_names_who_has_it() -> None:
    alarm = talk(P.START, P.ACCEPTED)
    assert (alarm.state, alarm.sounds, alarm.accepted_by) == (S.ACKNOWLEDGED, False, ZHANG)


def test_a_worse_condition_sounds_again_whatever_was_accepted_or_paused() -> None:
    for before in (P.ACCEPTED, P.AUDIO_PAUSED):
        alarm = talk(P.START, before, P.ESCALATE)
        assert (alarm.state, alarm.sounds, alarm.accepted_by) == (S.ESCALATED, True, None)


def test_seeing_is_not_accepting() -> None:
    alarm = talk(P.START, P.SEEN)
    assert (alarm.sounds, alarm.seen_by, alarm.accepted_by) == (True, ZHANG, None)


def test_a_latching_alarm_stays_until_a_person_resets_it() -> None:
    alarm = talk(P.START, P.END, finding=LATCHING)
    assert (alarm.state, alarm.wants_attention) == (S.LATCHED, True)
    assert talk(P.START, P.END, P.ACCEPTED, P.RESET, finding=LATCHING).state is S.CLEARED
    assert talk(P.START, P.END, P.START, finding=LATCHING).sounds


def test_an_alarm_that_ended_unanswered_still_wants_an_answer() -> None:
    assert talk(P.START, P.END).wants_attention
    assert not talk(P.START, P.ACCEPTED, P.END).wants_attention
    assert not talk(P.START, P.END, P.RESOLVED).wants_attention


def test_a_pause_is_no_longer_than_two_minutes_and_one_at_home() -> None:
    assert machine.pause_until_ns(Ask("pause", pause_s=500), False, 0) == 120 * NS
    assert machine.pause_until_ns(Ask("pause", pause_s=120), True, 0) == 60 * NS
    assert machine.pause_until_ns(Ask("pause", pause_s=30), True, 0) == 30 * NS


def test_a_pause_cannot_be_renewed_while_it_runs() -> None:
    with pytest.raises(StepRefused):
        apply(talk(P.START, P.AUDIO_PAUSED), step(P.AUDIO_PAUSED, 3))


def test_steps_told_twice_or_out_of_place_change_nothing() -> None:
    steps = [step(P.START, 1), step(P.START, 1), step(P.RESET, 2), step(P.ACCEPTED, 3, who=ZHANG), step(P.SEEN, 3)]
    alarm = fold(steps)["a"]
    assert (alarm.state, alarm.seq) == (S.ACKNOWLEDGED, 3)


def test_the_onset_is_that_of_the_first_step() -> None:
    later = Finding("spo2-low", Priority.HIGH, "B1", value="80", onset_ns=9 * NS)
    alarm = fold([step(P.START, 1), step(P.ESCALATE, 2, finding=later)])["a"]
    assert (alarm.finding.onset_ns, alarm.finding.priority) == (5 * NS, Priority.HIGH)


def test_there_is_no_action_that_is_not_in_the_table() -> None:
    with pytest.raises(StepRefused):
        machine.phase_of("mute")
