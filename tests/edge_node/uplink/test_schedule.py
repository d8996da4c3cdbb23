"""Who may send next, on a link in memory and a clock the test turns."""

import pytest

from edge_node.uplink.capacity import START_BPS, Capacity
from edge_node.uplink.schedule import (
    LEAST_SEGMENT_BYTES,
    SEGMENT_BYTES,
    THIN_BPS,
    WIDE_SEGMENT_BYTES,
    Ask,
    Scheduler,
    Traffic,
)
from tests.edge_node.uplink.bottleneck import Bottleneck


def scheduler(rate_bps: float = 500_000) -> Scheduler:
    """A scheduler on a link of known capacity with nothing under way."""
    capacity = Capacity()
    capacity.restart(0, rate_bps)
    return Scheduler(capacity)


def exhausted(rate_bps: float = 500_000) -> Scheduler:
    """A scheduler whose pace is used up."""
    made = scheduler(rate_bps)
    made.spend(Traffic.IMAGE, 10_000, 0)
    made.capacity.lost(10_000)
    return made


def order(granted: list[Ask]) -> list[Traffic]:
    return [one.traffic for one in granted]


def test_an_alarm_never_waits_for_the_pace_nor_for_what_is_under_way() -> None:
    made = exhausted()
    made.capacity.sent(10**6, 0)
    image, alarm = made.ask(Traffic.IMAGE, 1000), made.ask(Traffic.ALARM, 400)
    assert made.grant(0) == [alarm]
    assert (alarm.granted_bytes, image.granted_bytes) == (400, 0)


def test_measurements_have_a_share_that_no_upload_takes_from_them() -> None:
    made = exhausted()
    vitals = made.ask(Traffic.VITALS, 900)
    assert made.grant(0) == [vitals]


def test_measurements_over_their_share_wait_like_everybody() -> None:
    made = exhausted()
    for _ in range(40):
        made.ask(Traffic.VITALS, 1000)
    granted = made.grant(0)
    assert 0 < len(granted) < 40


def test_nothing_of_ours_waits_in_the_modem_beyond_the_window() -> None:
    made = scheduler()
    made.capacity.sent(made.capacity.window_bytes, 0)
    made.ask(Traffic.IMAGE, 1000)
    assert made.grant(0) == []
    assert made.next_s(0) is None
    made.capacity.acknowledged(made.capacity.window_bytes, 0.05, 0.05)
    assert order(made.grant(0.05)) == [Traffic.IMAGE]


def test_a_turn_that_was_not_used_gives_its_room_back() -> None:
    made = scheduler(64_000)
    first = made.ask(Traffic.IMAGE, 2_000)
    made.grant(0)
    made.settle(first, 0, 0)
    made.ask(Traffic.IMAGE, 1_000)
    assert order(made.grant(0)) == [Traffic.IMAGE]


@pytest.mark.parametrize(
    ("rate_bps", "segment_bytes"),
    [(8_000, LEAST_SEGMENT_BYTES), (256_000, SEGMENT_BYTES), (999_000, SEGMENT_BYTES), (1_000_000, WIDE_SEGMENT_BYTES)],
)
def test_segments_are_short_on_a_thin_link(rate_bps: float, segment_bytes: int) -> None:
    made = scheduler(rate_bps)
    assert made.segment_bytes == segment_bytes
    asked = made.ask(Traffic.IMAGE, 10**6)
    made.grant(0)
    assert asked.granted_bytes == (segment_bytes if rate_bps >= THIN_BPS else 0)


def test_on_a_link_of_less_than_64_kbit_only_alarms_and_measurements_are_sent() -> None:
    made = scheduler(45_000)
    for traffic in (Traffic.ALARM, Traffic.VITALS, Traffic.WATCHED, Traffic.IMAGE, Traffic.BACKLOG, Traffic.BULK):
        made.ask(traffic, 100)
    assert order(made.grant(0)) == [Traffic.ALARM, Traffic.VITALS]


def test_model_bundles_wait_for_a_megabit() -> None:
    for rate_bps, expected in ((900_000, []), (1_100_000, [Traffic.BULK])):
        made = scheduler(rate_bps)
        made.ask(Traffic.BULK, 100)
        assert order(made.grant(0)) == expected


def test_what_is_withdrawn_is_never_granted() -> None:
    made = exhausted()
    asked = made.ask(Traffic.IMAGE, 100)
    made.withdraw(asked)
    assert made.grant(60) == []


def test_the_clockwork_is_told_when_to_ask_again() -> None:
    made = exhausted(80_000)
    assert made.next_s(0) is None
    made.ask(Traffic.IMAGE, 100)
    due_s = made.next_s(0)
    assert due_s is not None
    assert made.grant(due_s - 0.01) == []
    assert order(made.grant(due_s + 0.01)) == [Traffic.IMAGE]


def test_classes_share_the_link_by_their_weights() -> None:
    link = Bottleneck(lambda _: 1_000_000, capacity=Capacity(1_000_000))
    wants = (Traffic.WATCHED, Traffic.IMAGE, Traffic.BACKLOG)
    link.run(10, wants, alarms=False)
    link.carried_bytes.clear()
    link.run(40, wants, alarms=False)
    total = sum(link.carried_bytes.values())
    shares = [link.carried_bytes[traffic] / total for traffic in wants]
    assert shares == pytest.approx([8 / 13, 3 / 13, 2 / 13], abs=0.04)


def test_what_is_alone_has_the_whole_link() -> None:
    link = Bottleneck(lambda _: 500_000, capacity=Capacity(500_000))
    link.run(20, (Traffic.BACKLOG,), alarms=False)
    assert link.carried_bps(Traffic.BACKLOG, 20) > 0.8 * 500_000


def test_an_alarm_is_repeated_only_within_the_alarms_own_bucket() -> None:
    made = scheduler(64_000)
    sent = 0
    while made.may_repeat(400, 0):
        sent += 1
    assert sent == 10
    assert made.may_repeat(400, 1)


def test_what_nobody_else_wants_of_the_link_is_there_for_the_repeats_of_alarms() -> None:
    made = scheduler(128_000)
    sent = sum(made.may_repeat(400, step / 100) for step in range(1_000))
    # 128 kbit/s for ten seconds; the bucket alone would carry a quarter of it.
    assert 360 <= sent <= 415


def test_repeats_take_nothing_from_the_pace_while_others_use_it_up() -> None:
    made = exhausted(64_000)
    sent = 0
    for step in range(1_000):
        made.spend(Traffic.IMAGE, 80, step / 100)
        sent += made.may_repeat(400, step / 100)
    assert 100 <= sent <= 115


def sent_in(made: Scheduler, traffic: Traffic, seconds: float) -> int:
    """Bytes that a class which always wants more is granted in so long."""
    total = 0
    for step in range(round(seconds * 100)):
        asked = made.ask(traffic, 1_000)
        made.grant(step / 100)
        made.withdraw(asked)
        total += asked.granted_bytes
        made.settle(asked, asked.granted_bytes, step / 100)
        made.capacity.lost(asked.granted_bytes)
    return total


def test_beside_a_call_files_and_backlog_leave_the_link_to_its_picture() -> None:
    for rate_bps, rest_bps in ((1_000_000, 250_000), (200_000, 64_000), (100_000, 50_000)):
        for traffic in (Traffic.IMAGE, Traffic.BACKLOG):
            made = scheduler(rate_bps)
            made.is_call = True
            assert sent_in(made, traffic, 10) * 8 / 10 == pytest.approx(rest_bps, rel=0.1)


def test_beside_a_call_measurements_and_waves_that_somebody_looks_at_go_as_before() -> None:
    for traffic in (Traffic.VITALS, Traffic.WATCHED):
        made, before = scheduler(300_000), scheduler(300_000)
        made.is_call = True
        assert sent_in(made, traffic, 5) == sent_in(before, traffic, 5)


def test_measurements_gather_for_longer_where_they_are_held_up() -> None:
    assert not scheduler(500_000).is_pressed
    assert scheduler(45_000).is_pressed
    made = scheduler(128_000)
    made.spend(Traffic.VITALS, 8_000, 0)
    assert made.is_pressed


def test_one_message_at_the_start_is_no_pressure() -> None:
    made = scheduler(START_BPS)
    made.spend(Traffic.VITALS, 4_000, 0)
    assert not made.is_pressed
