"""Clock offset, link state and what is told of them."""

import pytest
from telemed.topics import Up
from telemed.v1 import uplink_pb2

from edge_node.buffer.store import Waiting
from edge_node.uplink import presence
from edge_node.uplink.presence import OffsetEstimate

MS = 1_000_000
SECOND = 1000 * MS


def answer(sent_ns: int, hub_ns: int, held_ns: int = 0) -> uplink_pb2.HubPresence:
    return uplink_pb2.HubPresence(hub_unix_ns=hub_ns, echo_boottime_ns=sent_ns, held_ns=held_ns)


def test_the_quickest_round_trip_gives_the_offset() -> None:
    estimate = OffsetEstimate()
    # Sent at 1 s, back after 400 ms of which 300 on the way down: half of it is a bad guess.
    estimate.take(answer(1 * SECOND, 5000 * SECOND + 100 * MS), 1 * SECOND + 400 * MS)
    # Sent at 2 s, back after 10 ms beside 3 s at the hub.
    estimate.take(answer(2 * SECOND, 5004 * SECOND + 5 * MS, 3 * SECOND), 5 * SECOND + 10 * MS)
    best = estimate.best()
    assert best is not None
    assert (best.round_trip_ns, best.ahead_ns) == (10 * MS, 4999 * SECOND)


def test_old_round_trips_are_forgotten() -> None:
    estimate = OffsetEstimate()
    estimate.take(answer(1 * SECOND, 0), 1 * SECOND + 1 * MS)
    estimate.take(answer(900 * SECOND, 0), 900 * SECOND + 50 * MS)
    best = estimate.best()
    assert best is not None
    assert best.round_trip_ns == 50 * MS


def test_an_answer_to_nothing_or_of_another_boot_is_not_used() -> None:
    estimate = OffsetEstimate()
    estimate.take(answer(0, 5), 7)
    estimate.take(answer(50 * SECOND, 5), 1 * SECOND)
    assert estimate.best() is None
    assert estimate.last_round_trip_ms() == 0


@pytest.mark.parametrize(
    ("heard_ago_s", "round_trip_ms", "lag_s", "state"),
    [
        (None, 0, 0, "never"),
        (15.1, 0, 0, "lost"),
        (15.0, 0, 0, "live"),
        (1, 1001, 0, "weak"),
        (1, 20, 11, "weak"),
        (1, 20, 10, "live"),
    ],
)
def test_the_state_of_the_link(heard_ago_s: float | None, round_trip_ms: float, lag_s: int, state: str) -> None:
    assert presence.link_state(heard_ago_s, 15, round_trip_ms, lag_s * SECOND) == state


def test_records_on_their_way_do_not_count_as_waiting() -> None:
    second = 10**9
    waiting = {
        Up.VITALS: Waiting(4, 100 * second),
        Up.WAVES: Waiting(9, 30 * second),
        Up.ALARM: Waiting(1, 90 * second),
    }
    told = presence.held_up(waiting, 101 * second)
    assert {up: each.records for up, each in told.items()} == {Up.VITALS: 0, Up.WAVES: 0, Up.ALARM: 1}
    assert presence.held_up(waiting, 106 * second)[Up.WAVES].records == 9


def test_caught_up_is_just_before_the_oldest_that_waits() -> None:
    assert presence.caught_up_to_ns({Up.VITALS: Waiting(3, 500), Up.ALARM: Waiting(1, 400)}, 1000) == 399
    # Waves that wait for their block do not count, waves that wait for longer do.
    assert presence.caught_up_to_ns({Up.VITALS: Waiting(3, 500), Up.WAVES: Waiting(1, 400)}, 1000) == 499
    assert presence.caught_up_to_ns({Up.WAVES: Waiting(1, 400)}, 400 + 76 * 10**9) == 399
    assert presence.caught_up_to_ns({Up.VITALS: Waiting(0, 0)}, 1000) == 1000
