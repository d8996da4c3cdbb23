"""A hub that has just started is greeted soon, not by everybody at once, and told of all that a node has."""

from collections import Counter
from itertools import accumulate
from random import Random

from telemed.topics import STORED, Up

from edge_node.buffer.outbox import StreamKey, StreamState
from edge_node.uplink import greeting
from edge_node.uplink.greeting import PART_STREAMS, Roll

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


def known(epochs: int) -> dict[Up, dict[StreamKey, StreamState]]:
    """Return what a node knows that was started so often: an alarm and a set of each life, all at the hub."""
    names = {Up.ALARM: "node/alarm", Up.VITALS: "monitor-1/numeric"}
    return {
        up: {
            StreamKey(names[up], epoch): StreamState(names[up], epoch, 2, 1, is_closed=epoch < epochs)
            for epoch in range(1, epochs + 1 if up in names else 1)
        }
        for up in STORED
    }


def told(roll: Roll, run: int) -> list[list[StreamKey]]:
    """Answer every part as a run of the hub; return them."""
    parts = [roll.part()]
    while roll.answered(parts[-1], run):
        parts.append(roll.part())
    return parts


def test_a_hub_is_told_of_every_epoch_of_a_node_that_was_started_very_often() -> None:
    roll, epochs = Roll(), PART_STREAMS
    roll.begin(known(epochs))
    parts = told(roll, run=7)

    assert [len(part) for part in parts] == [PART_STREAMS, PART_STREAMS]
    assert len({key for part in parts for key in part}) == 2 * epochs
    assert not roll.is_open


def test_what_waits_and_what_goes_on_is_told_first() -> None:
    waiting = StreamKey("monitor-1/numeric", 3)
    states = known(PART_STREAMS)
    states[Up.VITALS][waiting] = states[Up.VITALS][waiting]._replace(acked=0)
    roll = Roll()
    roll.begin(states)

    going_on = [StreamKey("node/alarm", PART_STREAMS), StreamKey("monitor-1/numeric", PART_STREAMS)]
    assert roll.part()[:3] == [waiting, *going_on]


def test_a_hub_that_was_told_of_all_and_still_runs_is_told_the_first_part_alone() -> None:
    roll = Roll()
    for run, parts in ((7, 2), (7, 1), (8, 2), (7, 2)):
        roll.begin(known(PART_STREAMS))
        assert len(told(roll, run)) == parts


def test_an_answer_that_comes_twice_is_followed_by_one_part() -> None:
    roll = Roll()
    roll.begin(known(2 * PART_STREAMS))
    first = roll.part()

    assert roll.answered(first, 7)
    assert not roll.answered(first, 7)
    assert roll.is_open
