"""What the table of alarms reckons."""

import math

from bench.alarm_trial import Outcome, at
from bench.alarms import falling, line


def test_the_falling_link_is_down_to_a_quarter_within_a_second() -> None:
    link = falling(256_000)
    before_s, after_s = 19.9, 21.0
    assert link.bits_until(before_s) == 256_000 * before_s
    assert link.bits_until(after_s + 1) - link.bits_until(after_s) == 64_000


def test_percentiles_are_of_what_arrived_and_infinite_where_nothing_did() -> None:
    delays_ms = [float(number) for number in range(100)]
    assert (at(delays_ms, 0.5), at(delays_ms, 0.99), at(delays_ms, 1)) == (50, 99, 99)
    assert at([], 0.5) == math.inf


def test_a_row_without_delays_says_so() -> None:
    row = Outcome("thin", "plain MQTT", 10, 10, 300, (), (), 0.5, 1, 2, 0.1)
    assert line(row) == "| thin | plain MQTT | 10 | 10 | - | - | 50% | 1 | 2 | 0.1 |"
