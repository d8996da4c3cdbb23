"""An answer given at the hub to an alarm that became worse meanwhile (clinical 2.4: worse sounds again at once)."""

import pytest

from edge_node.alarms import machine
from edge_node.alarms.conversation import Conversations
from edge_node.errors import StepRefused
from edge_node.samples.alarm import Alarm, Ask, Finding, Priority, State, Who

NS = 1_000_000_000
PHYSICIAN = Who("physician", "physician")


def worsened() -> tuple[Conversations, Alarm]:
    """An alarm of which the hub knew the first step when it was answered there; the second made it worse."""
    talk = Conversations("rules", "1")
    talk.reconcile("B1", [Finding("spo2-low", Priority.MEDIUM, "B1", value="90")], "p-1", 0)
    ((alarm),) = talk.reconcile("B1", [Finding("spo2-low", Priority.HIGH, "B1", value="80")], "p-1", NS)
    assert (alarm.state, alarm.seq) == (State.ESCALATED, 2)
    return talk, alarm


@pytest.mark.parametrize("action", ["accept", "pause", "resolve"])
def test_what_was_asked_before_it_became_worse_does_not_silence_it(action: str) -> None:
    talk, alarm = worsened()
    with pytest.raises(StepRefused, match="before it became worse"):
        talk.ask(alarm.alarm_id, Ask(action, seen_seq=1), PHYSICIAN, home=False, now_ns=2 * NS)
    assert talk.alarms[alarm.alarm_id].sounds


@pytest.mark.parametrize("seen_seq", [0, 2, 3])
def test_who_knew_of_it_or_stands_at_the_bedside_may_answer(seen_seq: int) -> None:
    talk, alarm = worsened()
    taken = talk.ask(alarm.alarm_id, Ask("accept", seen_seq=seen_seq), PHYSICIAN, home=False, now_ns=2 * NS)
    assert taken.state is State.ACKNOWLEDGED


def test_that_it_was_seen_is_true_whenever_it_was() -> None:
    _, alarm = worsened()
    machine.demand_current(alarm, Ask("seen", seen_seq=1))
