"""What repeats may use beyond the alarms' bucket, by the round trips of the datagrams themselves."""

from collections.abc import Callable

import pytest

from edge_node.uplink.spare import FIRST_BPS, LEAST_BPS, MOST_BPS, Spare

QUICK_S = 0.06
SIZE_BYTES = 400


def quick(_now_s: float) -> float:
    return QUICK_S


def silent(_now_s: float) -> float | None:
    return None


def wanted(spare: Spare, from_s: int, until_s: int, trip_s: Callable[[float], float | None]) -> float:
    """Ask every ten milliseconds, a round trip told every half second; return the bits a second given."""
    given_bytes = 0
    for step in range(from_s * 100, until_s * 100):
        now_s = step / 100
        told_s = trip_s(now_s) if step % 50 == 0 else None
        if told_s is not None:
            spare.told(told_s, now_s)
        given_bytes += SIZE_BYTES * spare.take(SIZE_BYTES, now_s)
    return given_bytes * 8 / (until_s - from_s)


def test_an_open_link_gives_more_and_more_as_long_as_more_is_wanted() -> None:
    spare = Spare()
    assert FIRST_BPS <= wanted(spare, 0, 1, quick) <= 3 * FIRST_BPS
    wanted(spare, 1, 5, quick)
    assert wanted(spare, 5, 8, quick) == pytest.approx(MOST_BPS, rel=0.15)


def test_a_link_of_which_nothing_is_heard_gets_next_to_nothing() -> None:
    spare = Spare()
    wanted(spare, 0, 5, quick)
    wanted(spare, 5, 9, silent)
    assert wanted(spare, 9, 30, silent) <= LEAST_BPS + 1_000


def test_round_trips_that_stood_in_a_queue_take_it_back_at_once() -> None:
    spare = Spare()
    wanted(spare, 0, 5, quick)
    wanted(spare, 5, 8, lambda _now_s: QUICK_S + 0.3)
    assert wanted(spare, 8, 12, lambda _now_s: QUICK_S + 0.3) <= LEAST_BPS + 1_000


def test_a_link_that_carries_little_is_filled_without_a_long_queue() -> None:
    spare, queue_s, longest_s = Spare(), 0.0, 0.0
    for step in range(3_000):
        now_s = step / 100
        queue_s = max(0.0, queue_s - 0.01)
        if step % 20 == 0:
            spare.told(QUICK_S + queue_s, now_s)
        if spare.take(SIZE_BYTES, now_s):
            queue_s += SIZE_BYTES * 8 / 64_000
        longest_s = max(longest_s, queue_s if step > 500 else 0.0)
    assert longest_s < 0.5


def test_a_way_that_has_become_longer_is_taken_for_open_again() -> None:
    spare = Spare()
    wanted(spare, 0, 5, quick)
    wanted(spare, 5, 155, lambda _now_s: 0.4)
    assert wanted(spare, 155, 160, lambda _now_s: 0.4) > FIRST_BPS


def test_a_queue_is_not_taken_for_the_way_however_often_it_is_told_of() -> None:
    spare = Spare()
    wanted(spare, 0, 5, quick)
    for step in range(500, 2_500):
        spare.told(QUICK_S + 0.2, step / 100)
    assert not spare.is_open(25)
    assert spare.rate_bps <= LEAST_BPS


def test_a_path_that_was_silent_for_weeks_is_judged_anew() -> None:
    spare = Spare()
    wanted(spare, 0, 5, quick)
    spare.told(0.4, 3_000_000)
    assert spare.is_open(3_000_000)


def test_what_is_not_wanted_is_not_kept() -> None:
    spare = Spare()
    wanted(spare, 0, 6, quick)
    assert spare.rate_bps > 200_000
    for now_s in range(6, 120):
        spare.told(QUICK_S, now_s)
        assert spare.take(10, now_s)
    assert spare.rate_bps == pytest.approx(LEAST_BPS)


def test_after_a_new_address_it_begins_careful() -> None:
    spare = Spare()
    wanted(spare, 0, 6, quick)
    spare.restart()
    assert spare.rate_bps == LEAST_BPS
