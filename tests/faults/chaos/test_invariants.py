"""Each invariant finds the bug that it is there for, and nothing in what is right."""

from dataclasses import replace

import pytest

from tests.faults.chaos import invariants, ledger
from tests.faults.chaos.invariants import Size
from tests.faults.chaos.ledger import Ledger
from tests.faults.chaos.seen import EdgeSeen, EdgeStream, HubSeen, Mark, Stamped, Violation

KEY = ("mon-b01/numeric", "00ff00ff00ff00ff")
ALARMS = ("node/alarm", "00ff00ff00ff00ff")
SECOND_NS = 1_000_000_000
NOON_NS = 1_800_000_000 * SECOND_NS


def crc(seq: int) -> int:
    return seq * 7919


def edge_with(next_seq: int, acked: int, rows: range) -> EdgeSeen:
    return EdgeSeen({KEY: EdgeStream(next_seq, acked)}, {KEY: {seq: crc(seq) for seq in rows}})


def hub_with(seqs: range, contig: int | None = None, gaps: tuple[tuple[int, int], ...] = ()) -> HubSeen:
    most = seqs.stop - 1
    mark = Mark(most if contig is None else contig, most, gaps)
    return HubSeen({KEY: mark}, {KEY: [(seq, crc(seq)) for seq in seqs]})


EDGE = edge_with(next_seq=8, acked=5, rows=range(4, 8))
HUB = hub_with(range(1, 6))


def taken(seq: int, lag_s: float = 0.1, source: str = "") -> Stamped:
    wall_ns = NOON_NS + seq * SECOND_NS
    return Stamped(wall_ns, seq * SECOND_NS, 1, 0, 5, wall_ns + int(lag_s * SECOND_NS), source)


def named(found: list[Violation]) -> set[str]:
    return {each.invariant for each in found}


def test_a_certificate_that_is_refused_by_all_but_one_listener_is_found() -> None:
    assert invariants.certificate_is_refused("ended", {"broker": False, "gRPC": False}) == []
    (found,) = invariants.certificate_is_refused("ended", {"broker": False, "gRPC": True})
    assert str(found) == "14: a certificate that is ended is let in by gRPC"


def test_what_is_stored_of_a_node_that_is_refused_is_found() -> None:
    hub = replace(HUB, sources=frozenset({"b01-1"}))
    assert invariants.nothing_is_stored(["b01-2"], hub) == []
    assert named(invariants.nothing_is_stored(["b01-1", "b01-2"], hub)) == {"14"}


def test_a_node_with_no_bundle_on_duty_or_two_is_found() -> None:
    assert invariants.one_serves(["1.0.1"]) == []
    assert named(invariants.one_serves([])) == named(invariants.one_serves(["1.0.1", "1.0.2"])) == {"18"}


def test_a_bundle_on_duty_that_is_not_the_newest_good_one_is_found_and_so_is_one_that_ever_was_and_is_bad() -> None:
    assert invariants.newest_serves(["1.0.4"], "1.0.4") == []
    (older,) = invariants.newest_serves(["1.0.2"], "1.0.4")
    assert str(older) == "18: on duty is 1.0.2, the newest good one is 1.0.4"
    assert invariants.only_good_ones_served({"1.0.2"}, ["1.0.2", "1.0.4"]) == []
    (bad,) = invariants.only_good_ones_served({"1.0.2", "1.0.3"}, ["1.0.2", "1.0.4"])
    assert str(bad) == "18: bundles were on duty that must be refused: 1.0.3"


def test_a_bad_bundle_that_was_not_refused_or_for_another_reason_is_found_and_so_is_a_good_one_that_was() -> None:
    expected = {("bundle/blur/1.0.3", "hash-wrong")}
    assert invariants.bad_ones_are_refused(expected, expected) == []
    (untold,) = invariants.bad_ones_are_refused(expected, set())
    assert str(untold) == "18: refused without a word at the hub, or taken: bundle/blur/1.0.3 hash-wrong"
    other = {("bundle/blur/1.0.3", "too-slow"), ("bundle/blur/1.0.4", "too-slow")}
    assert [each.invariant for each in invariants.bad_ones_are_refused(expected, expected | other)] == ["18"]
    assert len(invariants.bad_ones_are_refused(expected, other)) == 2


def test_what_is_right_violates_nothing() -> None:
    assert invariants.no_loss(EDGE, HUB, settled=False) == []
    assert invariants.no_duplicates(EDGE, HUB) == []
    assert invariants.acknowledged_is_stored(EDGE, HUB) == []
    assert invariants.order_is_kept(hub_with(range(1, 4)), HUB) == []


def test_a_record_that_is_nowhere_is_a_loss() -> None:
    lost = edge_with(next_seq=8, acked=5, rows=range(7, 8))

    assert "neither at the hub nor waiting: 6 of 7" in str(*invariants.no_loss(lost, HUB, settled=False))


def test_an_acknowledged_record_that_the_hub_has_not_is_a_loss_although_a_grace_copy_lies_at_the_edge() -> None:
    hub = hub_with(range(1, 5))

    assert named(invariants.no_loss(EDGE, hub, settled=False)) == {"I1"}
    assert invariants.no_loss(EDGE, hub, settled=False, hub_was_set_back=True) == []


def test_dead_letters_and_declared_ranges_are_no_loss() -> None:
    hub = replace(hub_with(range(1, 4)), dead={KEY: {4: "poison"}}, shed={KEY: [(5, 5, "disk")]})

    assert invariants.no_loss(EDGE, hub, settled=False) == []


def test_nothing_may_wait_once_everything_had_time_to_arrive() -> None:
    assert named(invariants.no_loss(EDGE, HUB, settled=True)) == {"I1"}
    done = edge_with(next_seq=6, acked=5, rows=range(4, 6))
    assert invariants.no_loss(done, HUB, settled=True) == []


def test_a_number_used_for_two_records_is_found_in_the_rows_and_in_the_dead_letters() -> None:
    other = replace(HUB, pages={KEY: [(seq, crc(seq) + (seq == 4)) for seq in range(1, 6)]})
    conflict = replace(HUB, dead={KEY: {3: invariants.CONFLICT}})

    assert "not what the edge has: 4" in str(*invariants.no_duplicates(EDGE, other))
    assert "a number used for two records: 3" in str(*invariants.no_duplicates(EDGE, conflict))
    assert named(invariants.clone_is_found(HUB, replace(conflict, notices=frozenset({invariants.CLONED})))) == {"I2"}


def test_a_row_that_is_there_twice_is_found() -> None:
    twice = replace(HUB, pages={KEY: [*HUB.pages[KEY], (5, crc(5))]})

    assert named(invariants.no_duplicates(None, twice)) == {"I2"}
    assert named(invariants.order_is_kept(None, twice)) == {"I4"}


def test_an_edge_that_believes_more_than_the_hub_says_is_found() -> None:
    too_sure = edge_with(next_seq=8, acked=6, rows=range(7, 8))

    assert "acknowledged to 6, the hub has up to 5" in str(*invariants.acknowledged_is_stored(too_sure, HUB))
    assert invariants.acknowledged_is_stored(too_sure, HUB, hub_was_set_back=True) == []


def test_a_watermark_that_was_committed_before_its_rows_is_found() -> None:
    before_rows = replace(HUB, marks={KEY: Mark(7, 7)})

    assert "claims what is not there: 6, 7" in str(*invariants.claims_are_true(before_rows))
    with_gap = replace(HUB, marks={KEY: Mark(5, 7, ((6, 7),))})
    assert invariants.claims_are_true(with_gap) == []


@pytest.mark.parametrize("now", [HubSeen({}, {}), hub_with(range(1, 5))])
def test_a_watermark_that_went_back_is_found(now: HubSeen) -> None:
    assert named(invariants.order_is_kept(HUB, now)) == {"I4"}


def test_a_promise_without_a_row_is_found() -> None:
    book = Ledger()
    book.take([ledger.line(ledger.SENT, "a-1", "mon-b01", 1), ledger.line(ledger.ACKNOWLEDGED, "a-1", "mon-b01", 2)])

    assert named(invariants.promises_are_kept(book, EDGE, HUB)) == {"I5"}
    assert invariants.promises_are_kept(book, replace(EDGE, sources=frozenset({"a-1"})), HUB) == []
    assert named(invariants.promises_are_kept(book, None, HUB)) == {"I5"}
    assert invariants.promises_are_kept(book, None, replace(HUB, sources=frozenset({"a-1"}))) == []


def test_a_message_that_was_never_acknowledged_is_no_promise() -> None:
    book = Ledger()
    book.take([ledger.line(ledger.SENT, "a-1", "mon-b01", 1), ledger.line(ledger.REFUSED, "a-1", "mon-b01", 2)])

    assert invariants.promises_are_kept(book, EDGE, HUB) == []
    assert (book.refused, list(book.open)) == (1, ["a-1"])


def test_a_file_that_was_queued_and_is_not_whole_at_the_hub_is_found() -> None:
    assert named(invariants.files_are_kept(["ab" * 32], HUB)) == {"I1"}
    assert invariants.files_are_kept(["ab" * 32], replace(HUB, files=frozenset({"ab" * 32}))) == []


def test_an_alarm_in_a_range_that_was_given_up_is_found_and_a_wave_is_not() -> None:
    waves = ("mon-b01/wave", KEY[1])

    assert named(invariants.alarms_are_never_given_up(replace(HUB, shed={ALARMS: [(1, 2, "disk")]}))) == {"I6"}
    assert invariants.alarms_are_never_given_up(replace(HUB, shed={waves: [(1, 2, "disk")]})) == []


def test_an_alarm_that_a_damaged_disk_took_is_no_alarm_given_up_for_room() -> None:
    assert invariants.alarms_are_never_given_up(replace(HUB, shed={ALARMS: [(1, 2, "damaged")]})) == []


def test_what_the_node_has_declared_and_the_hub_does_not_know_yet_is_no_loss_and_does_not_wait() -> None:
    lost = replace(edge_with(next_seq=8, acked=5, rows=range(7, 8)), declared={KEY: [(6, 6)]})

    assert invariants.no_loss(lost, HUB, settled=False) == []
    assert (EDGE.waiting, lost.waiting) == (2, 1)


def test_a_message_whose_row_a_disk_took_is_excused_only_where_that_is_declared_or_nobody_can_know() -> None:
    before = replace(EDGE, rows={"a-6": (KEY, 6), "a-7": (KEY, 7), "a-5": (KEY, 5)})
    left = edge_with(next_seq=7, acked=5, rows=range(4, 6))

    assert invariants.owned_up(before, left, HUB) == {"a-7"}
    assert invariants.owned_up(before, replace(left, declared={KEY: [(6, 6)]}), HUB) == {"a-6", "a-7"}
    assert invariants.owned_up(before, left, replace(HUB, shed={KEY: [(6, 6, "damaged")]})) == {"a-6", "a-7"}


def test_rows_of_a_damaged_file_that_vanish_without_a_word_are_found() -> None:
    left = edge_with(next_seq=8, acked=5, rows=range(4, 7))

    assert named(invariants.damage_is_told(EDGE, left, is_set_aside=False)) == {"I1"}
    assert invariants.damage_is_told(EDGE, left, is_set_aside=True) == []
    assert named(invariants.damage_is_told(EDGE, left, is_set_aside=True, holds_all=True)) == {"I1"}
    assert invariants.damage_is_told(EDGE, EDGE, is_set_aside=False) == []


def test_unreadable_records_that_hold_up_their_stream_or_vanish_are_found() -> None:
    right = HubSeen({KEY: Mark(4, 4)}, {KEY: [(2, 1), (4, 1)]}, dead={KEY: {1: "x", 3: "x"}})

    assert invariants.unreadable_is_set_aside(KEY, 4, right) == []
    assert invariants.unreadable_is_set_aside(KEY, 0, HubSeen({}, {})) == []
    for wrong in (
        replace(right, marks={KEY: Mark(2, 4)}),
        replace(right, dead={KEY: {1: "x"}}),
        replace(right, pages={KEY: [(2, 1)]}),
    ):
        assert named(invariants.unreadable_is_set_aside(KEY, 4, wrong)) == {"I1"}


def test_a_second_machine_that_nobody_notices_or_that_replaces_what_was_there_is_found() -> None:
    noticed = replace(HUB, notices=frozenset({invariants.CLONED}))

    assert named(invariants.clone_is_found(HUB, HUB)) == {"I2"}
    assert invariants.clone_is_found(HUB, noticed) == []
    replaced = replace(noticed, pages={KEY: [(seq, crc(seq) + (seq == 4)) for seq in range(1, 6)]})
    assert named(invariants.clone_is_found(HUB, replaced)) == {"I2"}


def test_an_alarm_that_is_late_in_calm_is_found_and_one_that_arose_in_trouble_is_not() -> None:
    hub = replace(HUB, times={ALARMS: {1: taken(1, lag_s=1.2)}})
    calm_ns, trouble_ns = (NOON_NS, NOON_NS + 9 * SECOND_NS), (NOON_NS + 5 * SECOND_NS, NOON_NS + 9 * SECOND_NS)

    assert named(invariants.alarms_are_quick(hub, calm_ns)) == {"I6"}
    assert invariants.alarms_are_quick(hub, trouble_ns) == []


@pytest.mark.parametrize(
    ("sizes", "peaks", "depth"),
    [
        ([Size("disk", 97, 96)], [], (0, 0)),
        ([], [(65, 64)], (0, 0)),
        ([], [], (3, 4)),
    ],
)
def test_each_bound_that_is_broken_is_found(
    sizes: list[Size], peaks: list[tuple[int, int]], depth: tuple[float, int]
) -> None:
    assert named(invariants.is_bounded(sizes, peaks, depth)) == {"I7"}
    assert invariants.is_bounded([Size("disk", 96, 96)], [(64, 64)], (4, 4)) == []


def test_a_lag_that_stays_long_in_calm_is_found_and_so_is_silence() -> None:
    calm_ns = (NOON_NS, NOON_NS + 100 * SECOND_NS)
    slow = replace(HUB, times={KEY: {seq: taken(seq, lag_s=2.5) for seq in range(1, 20)}})
    quick = replace(HUB, times={KEY: {seq: taken(seq) for seq in range(1, 20)}})

    assert named(invariants.lag_is_short(slow, calm_ns)) == {"I8"}
    assert named(invariants.lag_is_short(HUB, calm_ns)) == {"I8"}
    assert invariants.lag_is_short(quick, calm_ns) == []


def test_a_time_that_is_not_when_it_was_sent_is_found() -> None:
    book = Ledger()
    sent_ns = NOON_NS + SECOND_NS
    book.take([ledger.line(ledger.SENT, "a-1", "m", sent_ns), ledger.line(ledger.ACKNOWLEDGED, "a-1", "m", sent_ns)])
    right = taken(1, source="a-1")
    hub = replace(HUB, times={KEY: {1: right}})

    assert invariants.times_are_true(book, hub) == []
    jumped = replace(right, wall_ns=right.wall_ns + 3600 * SECOND_NS)
    assert named(invariants.times_are_true(book, replace(HUB, times={KEY: {1: jumped}}))) == {"I9"}
    corrected = replace(jumped, offset_ms=-3_600_000)
    assert invariants.times_are_true(book, replace(HUB, times={KEY: {1: corrected}})) == []
    unknown = replace(jumped, offset_error_ms=invariants.OFFSET_UNKNOWN_MS)
    assert invariants.times_are_true(book, replace(HUB, times={KEY: {1: unknown}})) == []


def test_an_interval_that_is_negative_inside_a_boot_is_found_and_over_two_boots_is_not() -> None:
    back = {1: taken(5), 2: taken(4)}
    other_boot = {1: taken(5), 2: replace(taken(4), boot=2)}

    assert named(invariants.times_are_true(Ledger(), replace(HUB, times={KEY: back}))) == {"I9"}
    assert invariants.times_are_true(Ledger(), replace(HUB, times={KEY: other_boot})) == []
