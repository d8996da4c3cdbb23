"""Delay, hysteresis and latch as a truth table, on a clock that is counted by hand."""

from collections.abc import Sequence
from decimal import Decimal

import pytest

from edge_node.alarms import limits, ruleset
from edge_node.alarms.limits import Reading, Track
from edge_node.alarms.ruleset import Rule
from edge_node.samples.alarm import Priority

NS = 1_000_000_000
RULES = {rule.condition: rule for rule in ruleset.load().rules}
SPO2, HR, SBP = RULES["spo2-low"], RULES["hr-high"], RULES["nibp_sys-high"]
MEDIUM, HIGH = Priority.MEDIUM, Priority.HIGH
Timed = Sequence[tuple[float, float]]


def play(rule: Rule, values: Timed, *, home: bool = False, until_s: float | None = None, gap_s: float = 150) -> Track:
    """Feed (second, value) pairs, with a tick each second between them and up to `until_s`."""
    track = limits.fresh(rule)
    now_s = values[0][0]
    for at_s, value in values:
        while now_s < at_s:
            track = limits.settle(rule, track, int(now_s * NS), home)
            now_s += 1
        reading = Reading(rule.when.metric[0], Decimal(str(value)), str(value), int(at_s * NS), gap_s)
        track = limits.observe(rule, track, reading, home)
    while until_s is not None and now_s <= until_s:
        track = limits.settle(rule, track, int(now_s * NS), home)
        now_s += 1
    return track


def steady(value: float, seconds: int, start_s: int = 0) -> list[tuple[float, float]]:
    return [(start_s + second, value) for second in range(seconds)]


@pytest.mark.parametrize(
    ("values", "home", "expected"),
    [
        (steady(91, 15), False, None),
        (steady(91, 16), False, MEDIUM),
        (steady(91, 30), True, None),
        (steady(91, 31), True, MEDIUM),
        (steady(92, 60), False, None),
        (steady(84, 16), False, HIGH),
        (steady(85, 16), False, MEDIUM),
        ([*steady(91, 14), (14, 93), *steady(91, 15, 15)], False, None),
        (steady(91, 16) + steady(84, 15, 16), False, MEDIUM),
        (steady(91, 16) + steady(84, 16, 16), False, HIGH),
    ],
)
def test_a_condition_must_stand_for_its_delay(values: Timed, home: bool, expected: Priority | None) -> None:
    assert limits.priority(SPO2, play(SPO2, values, home=home)) == expected


def test_at_one_message_a_minute_two_consecutive_breaches_are_the_delay() -> None:
    assert limits.priority(SPO2, play(SPO2, [(0, 88)], until_s=59)) is None
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (60, 88)])) is MEDIUM
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (60, 96), (120, 88)])) is None


def test_the_delay_ends_between_two_readings() -> None:
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (10, 88)], until_s=14)) is None
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (10, 88)], until_s=15)) is MEDIUM


def test_a_long_silence_begins_the_count_anew() -> None:
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (151, 88)])) is None
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (150, 88)])) is MEDIUM


def test_a_device_that_reports_every_five_minutes_alarms_on_its_second_breach() -> None:
    assert limits.gap_s(300) == 750
    assert limits.priority(SPO2, play(SPO2, [(0, 88), (300, 88)], gap_s=750)) is MEDIUM


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (steady(94, 60, 16), MEDIUM),
        (steady(95, 10, 16), MEDIUM),
        (steady(95, 11, 16), None),
        ([*steady(95, 9, 16), (25, 94), *steady(95, 10, 26)], MEDIUM),
    ],
)
def test_it_is_over_only_after_ten_seconds_well_inside(after: Timed, expected: Priority | None) -> None:
    assert limits.priority(SPO2, play(SPO2, [*steady(90, 16), *after])) == expected


def test_a_high_alarm_goes_back_to_medium_before_it_ends() -> None:
    assert limits.priority(SPO2, play(SPO2, steady(84, 16) + steady(89, 11, 16))) is MEDIUM
    assert limits.priority(SPO2, play(SPO2, steady(84, 16) + steady(96, 11, 16))) is None


def test_a_cuff_reading_alarms_at_once_and_one_good_reading_ends_it() -> None:
    assert limits.priority(SBP, play(SBP, [(0, 180)])) is MEDIUM
    assert limits.priority(SBP, play(SBP, [(0, 220)])) is HIGH
    assert limits.priority(SBP, play(SBP, [(0, 190), (100, 150)], until_s=111)) is None


def test_a_fast_heart_is_judged_after_ten_seconds() -> None:
    assert limits.priority(HR, play(HR, steady(121, 10))) is None
    assert limits.priority(HR, play(HR, steady(121, 11))) is MEDIUM
    assert limits.priority(HR, play(HR, steady(141, 11))) is HIGH


@pytest.mark.parametrize(("lowest", "latches"), [(80, False), (79, True)])
def test_a_saturation_below_eighty_latches(lowest: int, latches: bool) -> None:
    assert play(SPO2, steady(lowest, 16)).latching is latches
    assert play(SPO2, [*steady(84, 16), (16, lowest)]).latching is latches


def test_the_next_alarm_does_not_inherit_the_latch() -> None:
    track = play(SPO2, steady(75, 16) + steady(97, 11, 16) + steady(90, 16, 30))
    assert (limits.priority(SPO2, track), track.latching) == (MEDIUM, False)


def test_the_onset_is_the_first_breach() -> None:
    assert play(SPO2, steady(97, 5) + steady(90, 20, 5)).onset_ns == 5 * NS


TABLE = [
    ("hr-low", 49, 50, 39, 10),
    ("hr-high", 121, 120, 141, 10),
    ("rr-low", 9, 10, 7, 20),
    ("rr-high", 25, 24, 31, 20),
    ("spo2-low", 91, 92, 84, 15),
    ("nibp_sys-low", 99, 100, 89, 0),
    ("nibp_sys-high", 180, 179, 220, 0),
    ("nibp_dia-high", 110, 109, 120, 0),
    ("temp-low", 34.9, 35.0, 33.9, 0),
    ("temp-high", 38.6, 38.5, 40.1, 0),
    ("glu-low", 3.9, 4.0, 2.9, 0),
    ("glu-high", 16.7, 16.6, 25, 0),
    ("etco2-low", 29, 30, 19, 20),
    ("etco2-high", 51, 50, 66, 20),
]


@pytest.mark.parametrize(("condition", "medium", "inside", "high", "delay_s"), TABLE)
def test_the_built_in_ruleset_is_the_table_of_decision_23(
    condition: str, medium: float, inside: float, high: float, delay_s: int
) -> None:
    rule = RULES[condition]
    enough = max(2, delay_s + 1)
    assert limits.priority(rule, play(rule, steady(inside, enough + 60))) is None
    assert limits.priority(rule, play(rule, steady(medium, enough))) is MEDIUM
    assert limits.priority(rule, play(rule, steady(high, enough))) is HIGH
    if delay_s:
        assert limits.priority(rule, play(rule, steady(high, delay_s))) is None


def test_no_breath_is_high_at_once_and_latches() -> None:
    track = play(RULES["apnoea"], [(0, 0)])
    assert (limits.priority(RULES["apnoea"], track), track.latching) == (HIGH, True)
