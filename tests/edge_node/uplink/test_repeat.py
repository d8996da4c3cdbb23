"""When which alarm is sent again, on a clock that the test moves."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed import wire
from telemed.datagram import DATAGRAM_LIMIT_BYTES, SEALED_BYTES, SMALL_LIMIT_BYTES
from telemed.v1 import uplink_pb2
from telemed.wire import Codec, Kind, Record, Stamp

from edge_node.uplink.repeat import PACKET_HEAD_BYTES, RepeatPolicy, Repeats
from tests.fakes.containers import EPOCH, alarm

STREAM = "node/alarm"


def always(_size_bytes: int, _now_s: float) -> bool:
    return True


def receipt(contig: int, most: int = 0, *gaps: tuple[int, int], epoch: int = EPOCH) -> uplink_pb2.Receipt:
    ranges = [uplink_pb2.SeqRange(first=first, last=last) for first, last in gaps]
    return uplink_pb2.Receipt(stream=STREAM, epoch=epoch, contig=contig, max=most or contig, gaps=ranges)


def seqs(containers: list[bytes]) -> list[list[int]]:
    return [[record.seq for record in wire.decode(container)] for container in containers]


def of_size(payload_bytes: int, seq: int, stream: str = STREAM) -> Record:
    return wire.seal(
        stream=stream,
        kind=Kind.ALARM_EVENT,
        epoch=EPOCH,
        seq=seq,
        stamp=Stamp(1, 1, 1),
        codec=Codec.PLAIN,
        payload=bytes(payload_bytes),
    )


def goes(repeats: Repeats, until_s: float) -> list[float]:
    """Play until a time; return when something was sent."""
    sent = []
    while (next_s := repeats.next_s()) is not None and next_s <= until_s:
        if repeats.due(next_s, always):
            sent.append(round(next_s, 3))
    return sent


def test_an_alarm_goes_at_once_and_again_every_50_ms_until_its_receipt() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 10.0)
    assert goes(repeats, 10.21) == [10.0, 10.05, 10.1, 10.15, 10.2]
    repeats.take([receipt(1)], 10.22)
    assert (repeats.waiting, repeats.next_s()) == (0, None)


def test_after_eight_goes_the_waits_grow_up_to_a_second() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    sent = goes(repeats, 20)
    waits = [round(later - sooner, 3) for sooner, later in pairwise(sent)]
    assert waits[:8] == [0.05] * 8
    assert waits[8:11] == [pytest.approx(0.075, abs=0.001), pytest.approx(0.113, abs=0.001), pytest.approx(0.169, 0.01)]
    assert waits[-1] == max(waits) == 1.0


def test_a_long_round_trip_makes_the_waits_a_quarter_longer_than_it_but_never_over_a_second() -> None:
    repeats = Repeats()
    for _ in range(50):
        repeats.measured(0.6)
    assert repeats.wait_s == pytest.approx(0.75)
    for _ in range(50):
        repeats.measured(5.0)
    assert repeats.wait_s == 1.0


def test_a_receipt_measures_the_round_trip_only_of_what_went_once() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    repeats.due(0.0, always)
    repeats.take([receipt(1)], 0.4)
    assert repeats.wait_s == pytest.approx(0.5)
    repeats.add([alarm(2)], 1.0)
    repeats.due(1.0, always)
    repeats.due(1.5, always)
    repeats.take([receipt(2)], 1.501)
    assert repeats.wait_s == pytest.approx(0.5)


def test_a_receipt_that_came_by_another_path_measures_nothing() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    repeats.due(0.0, always)
    repeats.forget([receipt(1)])
    assert (repeats.waiting, repeats.wait_s) == (0, 0.05)


def test_what_lies_in_a_gap_of_the_receipt_goes_on() -> None:
    repeats = Repeats()
    repeats.add([alarm(seq) for seq in range(1, 8)], 0.0)
    repeats.due(0.0, always)
    repeats.take([receipt(1, 6, (3, 4))], 0.01)
    assert seqs(repeats.due(1.0, always)) == [[3, 4, 7]]


def test_a_receipt_of_another_epoch_or_stream_covers_nothing() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    other = uplink_pb2.Receipt(stream="node/other", epoch=EPOCH, contig=9, max=9)
    repeats.take([receipt(9, epoch=EPOCH - 1), other], 0.01)
    assert repeats.waiting == 1


def test_what_another_path_delivered_is_not_repeated() -> None:
    repeats = Repeats()
    repeats.add([alarm(1), alarm(2)], 0.0)
    repeats.due(0.0, always)
    repeats.acknowledged(STREAM, EPOCH, [1, 99])
    assert seqs(repeats.due(1.0, always)) == [[2]]


def test_an_alarm_offered_again_is_not_sent_twice_as_often() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    repeats.due(0.0, always)
    repeats.add([alarm(1)], 0.01)
    assert goes(repeats, 0.11) == [0.05, 0.1]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40), st.sampled_from([STREAM, "a/alarm", "x" * 100]))
def test_alarms_share_datagrams_of_at_most_1200_bytes_and_none_is_left_out(sizes: list[int], name: str) -> None:
    repeats = Repeats()
    records = [of_size(size, seq, name if seq % 2 else STREAM) for seq, size in enumerate(sizes, 1)]
    repeats.add(records, 0.0)
    containers = repeats.due(0.0, always)
    assert all(len(container) + SEALED_BYTES <= DATAGRAM_LIMIT_BYTES for container in containers)
    sent = sorted(seq for group in seqs(containers) for seq in group)
    fitting = [each.seq for each in records if len(wire.encode([each])) + SEALED_BYTES <= DATAGRAM_LIMIT_BYTES]
    assert sent == fitting
    assert repeats.too_large == len(records) - len(fitting)


def test_three_alarms_of_300_bytes_share_one_datagram() -> None:
    repeats = Repeats()
    repeats.add([of_size(240, seq) for seq in (1, 2, 3)], 0.0)
    assert seqs(repeats.due(0.0, always)) == [[1, 2, 3]]


def test_on_a_path_for_small_packets_they_share_less() -> None:
    repeats = Repeats()
    repeats.body_limit_bytes = SMALL_LIMIT_BYTES - SEALED_BYTES
    repeats.add([of_size(240, seq) for seq in (1, 2, 3)], 0.0)
    assert seqs(repeats.due(0.0, always)) == [[1], [2], [3]]


def test_the_budget_is_asked_for_what_goes_over_the_link_and_a_no_holds_everything_back() -> None:
    repeats, asked = Repeats(), []

    def never(size_bytes: int, now_s: float) -> bool:
        asked.append((size_bytes, now_s))
        return False

    repeats.add([of_size(1000, 1), of_size(1000, 2)], 0.0)
    assert repeats.due(0.0, never) == []
    assert asked == [(len(wire.encode([of_size(1000, 1)])) + SEALED_BYTES + PACKET_HEAD_BYTES, 0.0)]
    assert repeats.next_s() == pytest.approx(0.02)
    assert seqs(repeats.due(0.02, always)) == [[1], [2]]


def test_under_a_short_budget_a_new_alarm_goes_before_repeats() -> None:
    repeats, left = Repeats(), [1]

    def once(_size_bytes: int, _now_s: float) -> bool:
        left[0] -= 1
        return left[0] >= 0

    repeats.add([of_size(1000, 1)], 0.0)
    repeats.due(0.0, always)
    repeats.add([of_size(1000, 2)], 0.06)
    assert seqs(repeats.due(0.06, once)) == [[2]]


def test_a_budget_that_is_too_short_for_a_full_datagram_still_carries_the_new_alarm() -> None:
    repeats = Repeats()
    repeats.add([of_size(300, 1), of_size(300, 2)], 0.0)
    repeats.due(0.0, always)
    repeats.add([of_size(300, 3)], 0.06)
    assert seqs(repeats.due(0.06, lambda size_bytes, _now_s: size_bytes < 600)) == [[3]]
    assert repeats.next_s() == pytest.approx(0.08)
    assert seqs(repeats.due(0.08, always)) == [[1, 2]]


def test_what_went_twice_in_vain_is_repeated_twice_as_fast() -> None:
    repeats = Repeats()
    repeats.measured(0.16)
    repeats.add([alarm(1)], 0.0)
    assert times(repeats, 8) == pytest.approx([0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


def test_where_a_queue_stands_nothing_is_repeated_faster() -> None:
    repeats = Repeats()
    repeats.measured(0.16)
    repeats.is_queue_known_short = False
    repeats.add([alarm(1)], 0.0)
    assert times(repeats, 5) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_where_much_is_lost_the_second_go_follows_at_once_and_none_waits_for_its_answer() -> None:
    repeats = Repeats()
    repeats.measured(0.16)
    repeats.is_much_lost = True
    repeats.add([alarm(1)], 0.0)
    assert times(repeats, 6) == pytest.approx([0.0, 0.02, 0.12, 0.22, 0.32, 0.42])


def test_where_much_is_lost_the_waits_grow_only_after_twenty_four_goes() -> None:
    repeats = Repeats()
    repeats.is_much_lost = True
    repeats.add([alarm(1)], 0.0)
    waits = [round(later - sooner, 3) for sooner, later in pairwise(times(repeats, 40))]
    assert waits[:24] == [0.02, *[0.05] * 23]
    assert waits[24] > 0.05
    assert waits[-1] == 1.0


def test_a_queue_keeps_everything_patient_however_much_is_lost() -> None:
    repeats = Repeats()
    repeats.measured(0.16)
    repeats.is_much_lost, repeats.is_queue_known_short = True, False
    repeats.add([alarm(1)], 0.0)
    assert times(repeats, 5) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8])


def test_the_answer_to_a_ping_shortens_the_wait_only_where_no_receipt_would_tell_it() -> None:
    """A receipt waits for a commit, and what is repeated before it could come is repeated for nothing."""
    repeats = Repeats()
    repeats.measured(0.16)
    repeats.answered(0.08)
    assert repeats.wait_s == pytest.approx(1.25 * 0.15)
    repeats.add([alarm(1)], 0.0)
    repeats.answered(0.08)
    assert repeats.wait_s == pytest.approx(1.25 * 0.15)
    repeats.answered(0.25)
    assert repeats.wait_s == pytest.approx(1.25 * 0.2)
    repeats.is_much_lost = True
    repeats.answered(0.12)
    assert repeats.wait_s == pytest.approx(1.25 * 0.19)


def test_a_way_that_has_become_slow_is_believed_sooner_than_one_that_has_become_quick() -> None:
    slower, quicker = Repeats(), Repeats()
    for repeats, trips_s in ((slower, (0.1, 0.5)), (quicker, (0.5, 0.1))):
        for trip_s in trips_s:
            repeats.measured(trip_s)
    assert slower.wait_s == pytest.approx(1.25 * 0.3)
    assert quicker.wait_s == pytest.approx(1.25 * 0.45)


def times(repeats: Repeats, most: int) -> list[float]:
    """Return when a record that is never answered goes."""
    found: list[float] = []
    while len(found) < most:
        due_s = repeats.next_s()
        assert due_s is not None
        assert repeats.due(due_s, always)
        found.append(due_s)
    return found


def test_a_new_session_makes_everything_due_at_once() -> None:
    repeats = Repeats()
    repeats.add([alarm(1)], 0.0)
    goes(repeats, 10)
    repeats.restart(10.0)
    assert goes(repeats, 10.11) == [10.0, 10.05, 10.1]


def test_no_more_than_the_limit_is_held_and_the_rest_is_offered_again() -> None:
    repeats = Repeats(RepeatPolicy(most_waiting=3))
    assert repeats.add([alarm(seq) for seq in range(1, 6)], 0.0) == 3
    repeats.take([receipt(2)], 0.1)
    assert repeats.add([alarm(4), alarm(5)], 0.1) == 2
    assert repeats.waiting == 3


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.2, 0.5]))
def test_whatever_is_lost_every_alarm_gets_its_receipt(seed: int, loss: float) -> None:
    draw = random.Random(seed).random
    repeats, stored = Repeats(), set[int]()
    repeats.add([alarm(seq) for seq in range(1, 21)], 0.0)
    for _ in range(400):
        now_s = repeats.next_s()
        if now_s is None:
            break
        for group in seqs(repeats.due(now_s, always)):
            if draw() < loss:
                continue
            stored.update(group)
            missing = [(seq, seq) for seq in range(1, 21) if seq not in stored]
            if draw() >= loss:
                repeats.take([receipt(0, max(stored), *missing)], now_s + 0.001)
    assert (repeats.waiting, stored) == (0, set(range(1, 21)))
