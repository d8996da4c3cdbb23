"""A hub that has just started is greeted soon, and not by everybody at once."""

from collections import Counter
from itertools import accumulate
from random import Random

from edge_node.uplink import greeting

LONGEST_S = 5.0


def test_the_wait_grows_to_the_longest_and_stays() -> None:
    waits = [greeting.wait_s(times, LONGEST_S, lambda: 1.0) for times in range(6)]

    assert waits == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert greeting.wait_s(10**6, LONGEST_S, lambda: 0.0) == LONGEST_S / 2


def test_a_short_heartbeat_is_never_waited_over() -> None:
    assert greeting.wait_s(0, 0.2, lambda: 1.0) == 0.2


def test_a_thousand_nodes_that_were_greeted_by_nobody_spread_and_slow_down() -> None:
    draw = Random(5).random
    said = [
        at_s for _ in range(1000) for at_s in accumulate(greeting.wait_s(times, LONGEST_S, draw) for times in range(9))
    ]
    a_second = Counter(int(at_s) for at_s in said)

    assert a_second[0] <= 2200
    assert max(a_second[second] for second in range(1, 20)) < 1000
    assert all(a_second[second] < 400 for second in range(8, 20))
