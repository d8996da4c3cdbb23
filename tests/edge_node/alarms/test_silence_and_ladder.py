"""When silence is an alarm, and who is called when nobody answers."""

from dataclasses import replace

import pytest

from edge_node.alarms import ruleset, silence
from edge_node.alarms.ladder import next_rung_ns
from edge_node.alarms.machine import fold
from edge_node.samples.alarm import Alarm, Finding, Phase, Priority, Step, Who

NS = 1_000_000_000
RULE, HUB = ruleset.load().silence, ruleset.load().hub_silence
FINDING = Finding("spo2-low", Priority.HIGH, "B1")


@pytest.mark.parametrize(
    ("usual_s", "silent_s", "expected"),
    [
        (1, 14.9, None),
        (1, 15, Priority.LOW),
        (60, 179, None),
        (60, 180, Priority.LOW),
        (1, 299, Priority.LOW),
        (1, 300, Priority.MEDIUM),
        (600, 1799, None),
        (600, 1800, Priority.MEDIUM),
    ],
)
def test_a_device_is_silent_after_three_usual_intervals(
    usual_s: float, silent_s: float, expected: Priority | None
) -> None:
    assert silence.device_silence(RULE, usual_s, 1000 * NS, int((1000 + silent_s) * NS)) == expected


def test_a_device_that_was_never_heard_is_not_silent() -> None:
    assert silence.device_silence(RULE, 1, None, 10**18) is None


def test_the_hub_is_silent_after_fifteen_seconds() -> None:
    assert silence.hub_silence(HUB, 0, 15 * NS - 1) is None
    assert silence.hub_silence(HUB, 0, 15 * NS) is Priority.MEDIUM


def alarm_of(*phases: Phase, finding: Finding = FINDING) -> Alarm:
    who = Who("zhang", "clinic")
    steps = [Step("a", number, phase, number * NS, finding, who=who) for number, phase in enumerate(phases, 1)]
    return fold(steps)["a"]


def test_escalation_stops_on_accept_and_not_on_seen() -> None:
    assert next_rung_ns(alarm_of(Phase.START), 2 * NS) == 61 * NS
    assert next_rung_ns(alarm_of(Phase.START, Phase.SEEN), 2 * NS) == 61 * NS
    assert next_rung_ns(alarm_of(Phase.START, Phase.ACCEPTED), 2 * NS) is None
    assert next_rung_ns(alarm_of(Phase.START, Phase.END), 2 * NS) is None


def test_the_rungs_follow_the_priority_and_end() -> None:
    start = alarm_of(Phase.START)
    assert [next_rung_ns(start, (1 + after) * NS) for after in (60, 120, 180, 300)] == [
        121 * NS,
        181 * NS,
        301 * NS,
        None,
    ]
    medium = alarm_of(Phase.START, finding=replace(FINDING, priority=Priority.MEDIUM))
    assert next_rung_ns(medium, 2 * NS) == 301 * NS
