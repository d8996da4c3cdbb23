"""When to compare, and what."""

from datetime import datetime
from zoneinfo import ZoneInfo

from edge_node.uplink.reconcile.agenda import NS, Night, chosen

ZONE = ZoneInfo("Asia/Shanghai")


def night(node: str = "edge-clinic", spread: int = 120) -> Night:
    return Night(2, spread, node, ZONE)


def at(day: int, hour: int, minute: int = 0) -> int:
    return int(datetime(2026, 11, day, hour, minute, tzinfo=ZONE).timestamp()) * NS


def test_it_is_time_at_the_hour_of_the_sites_zone() -> None:
    exact = night(spread=0)
    assert exact.due_ns(at(25, 3), at(25, 12)) == at(26, 2)
    assert exact.due_ns(at(25, 3), at(26, 1)) == at(26, 2)


def test_a_night_that_was_missed_is_made_up_at_once() -> None:
    assert night(spread=0).due_ns(at(24, 2, 5), at(25, 12)) == at(25, 2)
    assert night(spread=0).due_ns(at(20, 2, 5), at(25, 1)) == at(24, 2)


def test_after_a_comparison_by_day_the_next_night_is_the_next() -> None:
    assert night(spread=0).due_ns(at(25, 11), at(25, 12)) == at(26, 2)


def test_nodes_begin_at_minutes_of_their_own_and_the_same_every_night() -> None:
    minutes = {night(f"edge-{number}").minute for number in range(200)}
    assert len(minutes) > 60
    assert max(minutes) < 120
    assert night().minute == night().minute
    assert night().slot_ns(datetime(2026, 11, 26, tzinfo=ZONE)) == at(26, 2) + night().minute * 60 * NS


def test_everything_recent_and_a_part_of_the_rest_is_chosen_all_of_it_in_some_nights() -> None:
    blocks = [(first, first + 1023) for first in range(1, 1024 * 20, 1024)]
    recent = blocks[-3:]
    nights = [chosen(blocks, recent[0][0] + 5, number, 7) for number in range(7)]
    assert all(set(recent) <= set(found) and len(found) <= 6 for found in nights)
    assert {block for found in nights for block in found} == set(blocks)
    assert chosen(blocks, 0, 3, 1) == blocks


def test_a_comparison_of_a_clock_that_ran_ahead_does_not_put_off_the_next_ones() -> None:
    assert night(spread=0).due_ns(at(28, 3), at(25, 12)) == at(25, 2)


def test_a_node_whose_minute_lies_in_the_next_day_knows_its_time_before_it() -> None:
    late = Night(23, 600, "edge-late", ZONE)
    assert late.minute > 60
    now_ns = late.slot_ns(datetime(2026, 11, 24, tzinfo=ZONE)) - NS
    assert datetime.fromtimestamp(now_ns / NS, ZONE).day == 25
    assert late.due_ns(now_ns - NS, now_ns) == now_ns + NS
