"""What goes first when the store fills up."""

import pytest
from telemed.v1 import alarm_pb2

from edge_node.buffer import shedding
from edge_node.buffer.outbox import StreamState
from edge_node.buffer.shedding import AROUND_ALARM_NS, Order, Window

NOW_NS = 1_790_000_000 * 10**9
START, SEEN = alarm_pb2.PHASE_START, alarm_pb2.PHASE_SEEN


def event(device: str, phase: alarm_pb2.Phase.ValueType = START, *, technical: bool = False) -> alarm_pb2.AlarmEvent:
    return alarm_pb2.AlarmEvent(device=device, phase=phase, at_unix_ns=NOW_NS, technical=technical)


@pytest.mark.parametrize(("used_share", "copies", "unsent"), [(0.80, 0, 0), (0.81, 3, 0), (0.85, 3, 0), (0.86, 3, 5)])
def test_copies_go_from_eighty_and_what_was_not_sent_from_eighty_five_per_cent(
    used_share: float, copies: int, unsent: int
) -> None:
    steps = shedding.steps(used_share)
    assert (sum(step.is_copy for step in steps), sum(not step.is_copy for step in steps)) == (copies, unsent)


def test_the_order_is_copies_then_old_waves_then_young_ones_then_old_numerics() -> None:
    assert [(step.kind, step.is_copy, step.is_thinned) for step in shedding.steps(1)] == [
        ("wave", True, False),
        ("envelope", True, False),
        ("numeric", True, False),
        ("wave", False, True),
        ("envelope", False, False),
        ("wave", False, True),
        ("envelope", False, False),
        ("numeric", False, True),
    ]


def test_no_step_ever_takes_alarms_care_or_declarations() -> None:
    assert {one.value.kind for one in Order} == {"wave", "envelope", "numeric"}


def test_only_streams_with_something_unsent_are_asked_for_it_the_oldest_first() -> None:
    states = [
        StreamState("b/wave", 1, next_seq=5, acked=1, oldest_ns=20),
        StreamState("a/wave", 1, next_seq=5, acked=1, oldest_ns=10),
        StreamState("done/wave", 1, next_seq=5, acked=4),
        StreamState("given/wave", 1, next_seq=5, acked=1, gone=3),
        StreamState("a/numeric", 1, next_seq=5, acked=1, oldest_ns=1),
    ]
    assert [state.stream for state in shedding.candidates(states, Order.OLD_WAVES.value)] == ["a/wave", "b/wave"]


def test_near_an_alarm_is_five_minutes_around_what_happened_to_the_patient() -> None:
    near = shedding.windows([event("mon-b01"), event("mon-b02", SEEN), event("mon-b03", technical=True)])
    assert near == [Window("mon-b01", NOW_NS - AROUND_ALARM_NS, NOW_NS + AROUND_ALARM_NS)]
    assert shedding.is_spared("mon-b01", NOW_NS + AROUND_ALARM_NS, near)
    assert not shedding.is_spared("mon-b01", NOW_NS + AROUND_ALARM_NS + 1, near)
    assert not shedding.is_spared("mon-b02", NOW_NS, near)


def test_an_alarm_of_a_whole_bed_spares_what_all_devices_sent() -> None:
    assert shedding.is_spared("mon-b02", NOW_NS, shedding.windows([event("")]))
