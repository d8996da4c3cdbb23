"""The estimate of the link's capacity, against a queue that grows when too much is sent."""

import pytest

from edge_node.uplink.capacity import LEAST_BPS, LONG_S, START_BPS, TICK_S, WINDOW_S, Capacity
from edge_node.uplink.schedule import Traffic
from tests.edge_node.uplink.bottleneck import Bottleneck


def told(trips_s: list[float], size_bytes: int = 500) -> Capacity:
    """A capacity that has seen these round trips, one each tick."""
    capacity = Capacity()
    for number, trip_s in enumerate(trips_s, 1):
        now_s = number * TICK_S
        capacity.sent(size_bytes, now_s - trip_s)
        capacity.acknowledged(size_bytes, trip_s, now_s)
        capacity.tick(now_s)
    return capacity


def queued() -> Capacity:
    """A capacity that sent eight messages at once, which a link of 64 kbit/s let through one each 62.5 ms."""
    capacity = told([0.05])
    for _ in range(8):
        capacity.sent(500, 1.0)
    for number in range(1, 9):
        capacity.acknowledged(500, 0.05 + number * 0.0625, 1.05 + number * 0.0625)
    capacity.tick(1.6)
    return capacity


def test_at_first_nothing_is_known_and_little_is_sent() -> None:
    assert Capacity().rate_bps == START_BPS


def test_who_sends_little_learns_nothing_about_more() -> None:
    assert told([0.05] * 50, size_bytes=50).estimate_bps == START_BPS


def test_a_queue_that_has_grown_cuts_the_pace_to_half_of_what_really_arrives() -> None:
    capacity = queued()
    assert capacity.queue_s > LONG_S
    assert capacity.estimate_bps == pytest.approx(0.85 * 64_000)
    assert capacity.rate_bps == pytest.approx(0.5 * 0.85 * 64_000)


def test_when_the_queue_is_gone_the_pace_is_whole_again() -> None:
    capacity = queued()
    cut_bps = capacity.rate_bps
    capacity.sent(500, 2.0)
    capacity.acknowledged(500, 0.05, 2.05)
    capacity.tick(2.1)
    assert capacity.rate_bps >= 2 * cut_bps * 0.99


def test_a_stall_does_not_make_the_link_a_thin_one() -> None:
    capacity = told([0.05] * 5)
    before_bps = capacity.estimate_bps
    capacity.sent(500, 1.2)
    for tick in range(7, 30):
        capacity.tick(tick * TICK_S)
    assert capacity.estimate_bps == before_bps
    assert capacity.queue_s > 1


def test_no_more_is_under_way_than_a_round_trip_and_a_short_queue_hold() -> None:
    capacity = told([0.05] * 5)
    assert capacity.window_bytes == max(1500, int(capacity.rate_bps / 8 * (0.05 + WINDOW_S)))


def test_a_connection_that_ends_takes_what_was_under_way_with_it() -> None:
    capacity = Capacity()
    capacity.sent(700, 0)
    capacity.lost(700)
    assert capacity.under_way_bytes == 0
    capacity.tick(60)
    assert capacity.queue_s == 0


def test_after_a_hand_over_everything_begins_anew() -> None:
    capacity = told([0.05] * 20, size_bytes=4000)
    assert capacity.estimate_bps > START_BPS
    capacity.restart(10, 64_000)
    assert (capacity.rate_bps, capacity.under_way_bytes) == (64_000, 0)
    capacity.restart(10, 1)
    assert capacity.rate_bps == LEAST_BPS


@pytest.mark.parametrize(
    ("rate_bps", "used", "alarm_s"),
    [(32_000, 0.75, 0.5), (64_000, 0.8, 0.3), (256_000, 0.9, 0.25), (1_000_000, 0.85, 0.25), (10_000_000, 0.8, 0.3)],
)
def test_a_saturating_upload_uses_the_link_and_alarms_hardly_notice(
    rate_bps: float, used: float, alarm_s: float
) -> None:
    link = Bottleneck(lambda _: rate_bps)
    link.run(20)
    link.carried_bytes.clear()
    link.run(50)
    carried = sum(link.carried_bps(traffic, 30) for traffic in link.carried_bytes)
    if rate_bps >= 64_000:
        assert carried > used * rate_bps
    assert carried < 1.02 * rate_bps
    assert link.worst_alarm_s(5) < alarm_s


@pytest.mark.parametrize("rate_bps", [2_000_000, 10_000_000])
def test_a_hub_that_often_stands_still_for_a_moment_does_not_make_the_link_a_thin_one(rate_bps: float) -> None:
    link = Bottleneck(lambda _: rate_bps)
    link.run(20)
    link.stall_every_s, link.stall_s = 1.07, 0.25
    link.carried_bytes.clear()
    link.run(60)
    assert sum(link.carried_bps(traffic, 40) for traffic in link.carried_bytes) > 0.7 * rate_bps
    assert link.worst_alarm_s(5) < 0.25


def test_a_link_that_falls_fourfold_within_a_second_delays_no_alarm_by_half_a_second() -> None:
    link = Bottleneck(lambda now_s: 256_000 if now_s < 20 else max(64_000.0, 256_000 - 192_000 * (now_s - 20)))
    link.run(40)
    assert link.worst_alarm_s(19, share=1.0) < 0.5


def test_a_link_that_gets_better_is_used_again_within_half_a_minute() -> None:
    link = Bottleneck(lambda now_s: 128_000 if now_s < 20 else 2_000_000)
    link.run(50)
    link.carried_bytes.clear()
    link.run(60)
    assert link.carried_bps(Traffic.IMAGE, 10) > 0.7 * 2_000_000
