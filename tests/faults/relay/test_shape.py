"""One direction of a link: rates, queues, losses and their statistics, on a clock of the test's own."""

from dataclasses import replace
from itertools import groupby, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.relay.settings import Loss, Settings, bursts, plain
from tests.faults.relay.shape import Drop, Flip, Line
from tests.faults.relay.traces import Capacity, constant, stepped

PACKET_BYTES = 1000
PACKET_BITS = PACKET_BYTES * 8
MANY = 40_000


def line(settings: Settings, seed: str = "1/up") -> Line[int]:
    return Line(settings, seed, 0.0)


def arrivals(of: Line[int], until_s: float = float("inf")) -> list[tuple[float, int]]:
    """Return when what arrived."""
    return [(arrival.due_s, arrival.item) for arrival in of.take_due(until_s)]


def fates(of: Line[int], count: int, gap_s: float = 0.001) -> list[bool]:
    """Offer packets evenly and return which of them were lost."""
    return [of.offer(number, PACKET_BYTES, number * gap_s).drop is Drop.LOSS for number in range(count)]


def test_a_perfect_line_hands_everything_on_at_once() -> None:
    perfect = line(Settings())
    assert perfect.offer(7, PACKET_BYTES, 3.0) == ((3.0,), None)
    assert arrivals(perfect, 3.0) == [(3.0, 7)]


def test_nothing_is_handed_on_before_its_time() -> None:
    slow = line(Settings(delay_s=0.3))
    slow.offer(1, PACKET_BYTES, 1.0)
    assert slow.next_due_s == 1.3
    assert arrivals(slow, 1.29) == []
    assert arrivals(slow, 1.3) == [(1.3, 1)]
    assert slow.next_due_s == float("inf")


@pytest.mark.parametrize("rate_bps", [64_000, 256_000, 10_000_000])
def test_a_saturated_line_carries_its_rate(rate_bps: float) -> None:
    saturated = line(Settings(rate=constant(rate_bps), queue_bytes=4 * PACKET_BYTES))
    gap_s = PACKET_BITS / rate_bps / 3
    for number in range(3000):
        saturated.offer(number, PACKET_BYTES, number * gap_s)
    end_s = 3000 * gap_s
    arrived = len(arrivals(saturated, end_s))
    assert arrived * PACKET_BITS / end_s == pytest.approx(rate_bps, rel=0.02)
    assert saturated.counts(end_s).wire_bytes == arrived * PACKET_BYTES


def test_a_line_that_follows_a_course_carries_what_the_course_allows() -> None:
    course = stepped([(2, 1_000_000), (1, 0), (3, 250_000), (0.5, 4_000_000)])
    saturated = line(Settings(rate=course, queue_bytes=8 * PACKET_BYTES))
    arrived: list[float] = []
    for step in range(26_000):
        saturated.offer(step, PACKET_BYTES, step * 0.001)
        arrived += [due_s for due_s, _ in arrivals(saturated, step * 0.001)]
    for begin_s, end_s in pairwise((0, 2, 3, 6, 6.5, 13, 26)):
        carried_bits = PACKET_BITS * sum(begin_s < due_s <= end_s for due_s in arrived)
        allowed_bits = course.bits_until(end_s) - course.bits_until(begin_s)
        assert carried_bits == pytest.approx(allowed_bits, rel=0.02, abs=PACKET_BITS)


def test_the_queue_never_holds_more_than_its_limit_and_drops_the_newest() -> None:
    full = line(Settings(rate=constant(8_000), queue_bytes=2500))
    drops = [full.offer(number, PACKET_BYTES, 0.0).drop for number in range(4)]
    assert drops == [None, None, Drop.QUEUE, Drop.QUEUE]
    assert full.counts(0.0).waiting_bytes == 2000
    assert full.offer(4, 500, 0.0).drop is None
    assert arrivals(full, 2.6) == [(1.0, 0), (2.0, 1), (2.5, 4)]


def test_a_queue_smaller_than_a_packet_still_lets_one_through_at_a_time() -> None:
    tiny = line(Settings(rate=constant(8_000), queue_bytes=0))
    assert tiny.offer(0, PACKET_BYTES, 0.0).at_s == (1.0,)
    assert tiny.offer(1, PACKET_BYTES, 0.5).drop is Drop.QUEUE
    assert tiny.offer(2, PACKET_BYTES, 1.0).at_s == (2.0,)


def test_a_rate_that_falls_also_slows_what_already_waits() -> None:
    falling = line(Settings(rate=constant(8_000), queue_bytes=10_000))
    for number in range(3):
        falling.offer(number, PACKET_BYTES, 0.0)
    # Half of the first is out; the rest takes four times as long.
    falling.change(Settings(rate=constant(2_000), queue_bytes=10_000), 0.5)
    assert arrivals(falling) == [(2.5, 0), (6.5, 1), (10.5, 2)]


def test_a_rate_that_changes_twice_sends_no_bit_twice() -> None:
    changing = line(Settings(rate=constant(8_000)))
    changing.offer(0, PACKET_BYTES, 0.0)
    changing.change(Settings(rate=constant(4_000)), 0.5)
    changing.change(Settings(rate=constant(1_000)), 1.0)
    assert arrivals(changing) == [(3.0, 0)]


def test_a_rate_that_rises_lets_nothing_overtake_what_is_in_flight() -> None:
    rising = line(Settings(rate=constant(8_000), delay_s=1.0))
    rising.offer(0, PACKET_BYTES, 0.0)
    rising.change(Settings(rate=constant(8_000)), 0.5)
    rising.offer(1, PACKET_BYTES, 0.5)
    rising.change(Settings(rate=constant(80_000)), 1.1)
    assert arrivals(rising) == [(2.0, 0), (2.0, 1)]


def test_a_rate_of_zero_holds_everything_until_there_is_one_again() -> None:
    stalled = line(Settings(rate=constant(0), delay_s=0.1))
    assert stalled.offer(0, PACKET_BYTES, 0.0).at_s == (float("inf"),)
    stalled.offer(1, PACKET_BYTES, 0.0)
    assert stalled.next_due_s == float("inf")
    stalled.change(Settings(rate=constant(8_000), delay_s=0.1), 60.0)
    assert arrivals(stalled) == [(61.1, 0), (62.1, 1)]


def test_a_rate_that_is_set_again_goes_on_where_it_was() -> None:
    course = stepped([(1, 8_000), (1, 0)])
    unchanged, other = (line(Settings(rate=course)) for _ in range(2))
    unchanged.change(Settings(rate=stepped([(1, 8_000), (1, 0)]), delay_s=0.5), 0.75)
    other.change(Settings(rate=stepped([(1, 8_000), (1, 1)]), delay_s=0.5), 0.75)
    assert unchanged.offer(0, PACKET_BYTES, 0.75).at_s == (3.25,)
    assert other.offer(0, PACKET_BYTES, 0.75).at_s == (2.25,)


def test_plain_loss_strikes_the_share_that_was_set() -> None:
    lost = fates(line(Settings(loss=plain(0.2))), MANY)
    assert sum(lost) / MANY == pytest.approx(0.2, abs=0.01)
    runs = [len(list(run)) for was_lost, run in groupby(lost) if was_lost]
    # Independent losses: a run of losses is 1 / (1 - share) long.
    assert sum(runs) / len(runs) == pytest.approx(1.25, rel=0.03)


@pytest.mark.parametrize(("share", "mean_packets"), [(0.05, 4), (0.2, 10), (0.5, 3)])
def test_bursts_have_the_share_and_the_length_that_were_set(share: float, mean_packets: float) -> None:
    lost = fates(line(Settings(loss=bursts(share, mean_packets))), MANY)
    runs = [len(list(run)) for was_lost, run in groupby(lost) if was_lost]
    assert sum(lost) / MANY == pytest.approx(share, rel=0.12)
    assert sum(runs) / len(runs) == pytest.approx(mean_packets, rel=0.1)


def test_the_full_model_loses_in_both_of_its_states() -> None:
    model = Loss(to_bad=0.02, to_good=0.1, in_good=0.01, in_bad=0.6)
    lost = fates(line(Settings(loss=model)), MANY)
    assert model.mean_share == pytest.approx((0.02 * 0.6 + 0.1 * 0.01) / 0.12)
    assert sum(lost) / MANY == pytest.approx(model.mean_share, rel=0.1)


def test_a_lost_packet_has_used_the_capacity() -> None:
    lossy = line(Settings(rate=constant(8_000), loss=plain(1)))
    lossy.offer(0, PACKET_BYTES, 0.0)
    lossy.change(Settings(rate=constant(8_000)), 0.0)
    assert lossy.offer(1, PACKET_BYTES, 0.0).at_s == (2.0,)
    assert lossy.counts(2.0).wire_bytes == 2 * PACKET_BYTES


def test_the_same_seed_gives_the_same_fates_and_another_seed_others() -> None:
    rough = Settings(
        rate=constant(500_000),
        jitter_s=0.03,
        delay_s=0.05,
        loss=bursts(0.2, 3),
        reorder=0.1,
        duplicate=0.1,
        corrupt=0.1,
    )
    first, again, other = (line(rough, seed) for seed in ("1/up", "1/up", "2/up"))
    told = [[each.offer(number, 500, number * 0.01) for number in range(500)] for each in (first, again, other)]
    assert told[0] == told[1] != told[2]
    assert first.take_due(1e9) == again.take_due(1e9)


@pytest.mark.parametrize(
    "rough",
    [
        Settings(loss=plain(0.3)),
        Settings(delay_s=1, jitter_s=1),
        Settings(reorder=0.3),
        Settings(duplicate=0.3),
        Settings(corrupt=0.3),
    ],
)
def test_each_impairment_follows_the_seed(rough: Settings) -> None:
    first, other = (line(rough, seed) for seed in ("1/up", "2/up"))
    for number in range(100):
        first.offer(number, 500, float(number))
        other.offer(number, 500, float(number))
    assert first.take_due(1e9) != other.take_due(1e9)


def test_turning_one_impairment_on_does_not_change_whom_another_strikes() -> None:
    alone = line(Settings(loss=plain(0.3)))
    beside_others = line(Settings(loss=plain(0.3), jitter_s=0.01, duplicate=0.5, corrupt=0.5, reorder=0.5))
    assert fates(alone, 1000) == fates(beside_others, 1000)


def test_jitter_varies_the_delay_evenly_and_keeps_the_order() -> None:
    jittery = line(Settings(delay_s=0.05, jitter_s=0.03))
    travel_s = [jittery.offer(number, PACKET_BYTES, number * 0.1).at_s[0] - number * 0.1 for number in range(MANY)]
    assert min(travel_s) == pytest.approx(0.02, abs=0.001)
    assert max(travel_s) == pytest.approx(0.08, abs=0.001)
    assert sum(travel_s) / MANY == pytest.approx(0.05, abs=0.001)

    crowded = line(Settings(delay_s=0.05, jitter_s=0.03))
    for number in range(1000):
        crowded.offer(number, PACKET_BYTES, number * 0.001)
    assert [item for _, item in arrivals(crowded)] == list(range(1000))


def test_a_packet_held_back_is_overtaken_and_holds_no_other_back() -> None:
    mixed = line(Settings(delay_s=0.05, reorder=0.1, reorder_by_s=0.02))
    for number in range(5000):
        mixed.offer(number, PACKET_BYTES, number * 0.01)
    arrived = arrivals(mixed)
    held = mixed.counts(1e9).reordered
    assert held / 5000 == pytest.approx(0.1, abs=0.02)
    delays_s = [round(due_s - number * 0.01, 6) for due_s, number in arrived]
    assert delays_s.count(0.07) == held
    assert delays_s.count(0.05) == 5000 - held
    assert any(earlier > later for (_, earlier), (_, later) in pairwise(arrived))


def test_a_duplicate_arrives_with_the_original_and_uses_no_capacity() -> None:
    double = line(Settings(rate=constant(8_000), duplicate=1))
    assert double.offer(0, PACKET_BYTES, 0.0).at_s == (1.0, 1.0)
    assert double.offer(1, PACKET_BYTES, 0.0).at_s == (2.0, 2.0)
    assert arrivals(double) == [(1.0, 0), (1.0, 0), (2.0, 1), (2.0, 1)]
    assert double.counts(2.0).wire_bytes == 2 * PACKET_BYTES


def test_corruption_changes_exactly_one_byte_of_the_share_that_was_set() -> None:
    dirty = line(Settings(corrupt=0.1))
    content = bytes(range(200))
    changed = 0
    for number in range(MANY // 4):
        dirty.offer(number, len(content), number * 0.001)
        (arrival,) = dirty.take_due(number * 0.001)
        got = arrival.flip.applied(content) if arrival.flip else content
        differing = sum(sent != received for sent, received in zip(content, got, strict=True))
        assert differing == (arrival.flip is not None)
        changed += differing
    assert changed / (MANY // 4) == pytest.approx(0.1, abs=0.01)
    assert dirty.counts(1e9).corrupted == changed


def test_nothing_can_be_changed_in_an_empty_packet() -> None:
    assert Flip(0.5, 1).applied(b"") == b""
    assert Flip(0.999999, 1).applied(b"ab") == b"ac"


def test_a_cut_loses_what_is_under_way_and_lets_nothing_in_until_it_is_healed() -> None:
    settings = Settings(rate=constant(8_000), delay_s=1.0)
    flaky = line(settings)
    for number in range(3):
        flaky.offer(number, PACKET_BYTES, 0.0)
    assert arrivals(flaky, 2.0) == [(2.0, 0)]
    flaky.change(replace(settings, cut=True), 2.5)
    assert flaky.offer(3, PACKET_BYTES, 3.0).drop is Drop.CUT
    flaky.change(settings, 4.0)
    assert flaky.offer(4, PACKET_BYTES, 4.0).at_s == (6.0,)
    assert arrivals(flaky) == [(6.0, 4)]
    assert flaky.counts(6.0).dropped_cut == 3


def test_counts_that_were_given_out_do_not_change_any_more() -> None:
    counted = line(Settings())
    before = counted.counts(0.0)
    counted.offer(0, PACKET_BYTES, 0.0)
    assert (before.offered, counted.counts(0.0).offered) == (0, 1)


ways = st.builds(
    Settings,
    rate=st.sampled_from([None, constant(0), constant(64_000), stepped([(0.1, 1e6), (0.2, 0)])]),
    queue_bytes=st.sampled_from([0, 3000, 48_000]),
    delay_s=st.sampled_from([0.0, 0.1]),
    jitter_s=st.sampled_from([0.0, 0.05]),
    loss=st.sampled_from([plain(0), plain(0.3), bursts(0.3, 2)]),
    reorder=st.sampled_from([0.0, 0.3]),
    duplicate=st.sampled_from([0.0, 0.3]),
    cut=st.sampled_from([False, False, False, True]),
)


@given(st.lists(st.tuples(st.integers(0, 10), st.floats(0, 0.3), ways), min_size=1, max_size=12))
def test_whatever_is_done_to_it_no_packet_vanishes_uncounted(course: list[tuple[int, float, Settings]]) -> None:
    driven = line(Settings())
    now_s = 0.0
    taken: list[float] = []
    for count, wait_s, settings in course:
        driven.change(settings, now_s)
        for number in range(count):
            driven.offer(number, PACKET_BYTES, now_s)
        now_s += wait_s
        due = driven.take_due(now_s)
        assert all(arrival.due_s <= now_s for arrival in due)
        taken += [arrival.due_s for arrival in due]
        counts = driven.counts(now_s)
        dropped = counts.dropped_queue + counts.dropped_loss + counts.dropped_cut
        assert counts.offered + counts.duplicated == counts.delivered + dropped + counts.under_way
        assert counts.delivered == len(taken)
        assert counts.waiting_bytes <= max(*(other.queue_bytes for _, _, other in course), PACKET_BYTES)
    assert taken == sorted(taken)


@given(st.lists(st.tuples(st.floats(0, 0.05), ways), min_size=2, max_size=30))
def test_without_reordering_what_arrives_arrives_in_order(course: list[tuple[float, Settings]]) -> None:
    driven = line(Settings())
    now_s = 0.0
    for number, (wait_s, settings) in enumerate(course):
        driven.change(replace(settings, reorder=0, duplicate=0), now_s)
        driven.offer(number, PACKET_BYTES, now_s)
        now_s += wait_s
    driven.change(Settings(), now_s)
    items = [item for _, item in arrivals(driven)]
    assert items == sorted(items)


@pytest.mark.parametrize(
    "wrong",
    [
        {"delay_s": -1},
        {"jitter_s": float("nan")},
        {"reorder": 1.1},
        {"duplicate": -0.1},
        {"queue_bytes": -1},
        {"piece_bytes": 0},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|time|queue"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_bursts_that_cannot_lose_their_share_are_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        bursts(0.9, 1)
    with pytest.raises(ValueError, match="burst"):
        bursts(0.1, 0.5)
    with pytest.raises(ValueError, match="share"):
        plain(1.5)


def test_a_capacity_is_not_needed_to_lose_or_delay() -> None:
    assert Settings().rate is None
    assert isinstance(Settings(rate=constant(1)).rate, Capacity)
