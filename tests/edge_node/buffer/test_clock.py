"""The node's clock under jumps (reliability 2.6, fault 11)."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from telemed.v1 import alarm_pb2
from telemed.wire import OFFSET_UNKNOWN_MS

from edge_node.buffer.clock import BUILT_NS, DRIFT_PPM, NodeClock
from edge_node.buffer.store import Buffer

S_NS, MS_NS = 10**9, 10**6
HOUR_NS = 3600 * S_NS
TRUE_NS = 1_790_000_000 * S_NS
"""When the machine booted."""


@dataclass
class Machine:
    """A machine whose wall clock may be wrong."""

    steady_ns: int = 100 * S_NS
    wrong_ns: int = 0

    @property
    def true_ns(self) -> int:
        return TRUE_NS + self.steady_ns

    def clock(self) -> NodeClock:
        return NodeClock(7, wall=lambda: self.true_ns + self.wrong_ns, steady=lambda: self.steady_ns)

    def hear(self, clock: NodeClock, error_ns: int = 5 * MS_NS) -> None:
        clock.hear(self.true_ns - self.steady_ns, error_ns, self.steady_ns)


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS, -TRUE_NS])
def test_a_jump_is_noted_once_and_does_not_move_the_nodes_time_where_the_hub_is_known(jump_ns: int) -> None:
    machine = Machine()
    clock = machine.clock()
    machine.hear(clock)
    machine.steady_ns += 10 * S_NS
    before = clock.stamp()
    machine.wrong_ns = jump_ns
    machine.steady_ns += S_NS
    after = clock.stamp()

    assert abs(after.wall_ns - machine.true_ns) < 10 * MS_NS
    assert (after.wall_ns - before.wall_ns, after.mono_ns - before.mono_ns) == (S_NS, S_NS)
    assert after.quality == "synced"
    assert (clock.take_moves(), clock.take_moves()) == ([jump_ns], [])
    assert clock.wrong_by_ns() == jump_ns


@pytest.mark.parametrize("jump_ns", [HOUR_NS, -HOUR_NS])
def test_without_the_hub_the_time_jumps_and_the_stamp_says_that_it_is_not_known(jump_ns: int) -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.stamp()
    machine.wrong_ns = jump_ns
    after = clock.stamp()
    assert after.wall_ns - before.wall_ns == jump_ns
    assert (after.offset_error_ms, after.quality) == (OFFSET_UNKNOWN_MS, "unsynced")
    assert after.mono_ns == before.mono_ns
    assert clock.take_moves() == [jump_ns]


def test_a_clock_that_shows_1970_goes_on_from_what_was_stored_last() -> None:
    machine = Machine(wrong_ns=-TRUE_NS)
    clock = machine.clock()
    assert clock.now_ns() >= BUILT_NS
    clock.not_before(TRUE_NS)
    machine.steady_ns += 60 * S_NS
    assert clock.now_ns() == TRUE_NS + 60 * S_NS
    machine.hear(clock)
    assert clock.now_ns() == machine.true_ns


def test_a_machine_that_is_right_is_believed_and_its_offset_is_told() -> None:
    machine = Machine(wrong_ns=-300 * MS_NS)
    clock = machine.clock()
    machine.hear(clock)
    stamp = clock.stamp()
    assert stamp.wall_ns == machine.true_ns - 300 * MS_NS
    assert (stamp.offset_ms, stamp.quality) == (300, "synced")
    assert clock.wrong_by_ns() is None
    assert clock.hub_offset_ms() == 300


def test_what_is_known_of_the_time_wears_off_while_the_hub_is_not_heard() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.hear(clock)
    qualities = []
    for hours in (0, 1, 24):
        machine.steady_ns = 100 * S_NS + hours * HOUR_NS
        qualities.append(clock.stamp().quality)
    assert qualities == ["synced", "holdover", "unsynced"]
    assert clock.stamp().offset_error_ms == 5 + 24 * 3600 * DRIFT_PPM // 1000


def test_a_hub_whose_own_clock_is_impossible_is_not_followed() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.hear(0, 1, machine.steady_ns)
    assert clock.now_ns() == machine.true_ns


def test_slewing_is_no_jump() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(100):
        clock.now_ns()
        machine.steady_ns += S_NS
        machine.wrong_ns += 400 * MS_NS
    assert clock.take_moves() == []


STEPS = st.lists(
    st.tuples(st.integers(0, HOUR_NS), st.sampled_from([0, 0, HOUR_NS, -HOUR_NS, -TRUE_NS]), st.booleans()), max_size=30
)


@given(STEPS)
def test_inside_a_boot_no_interval_is_negative_and_the_event_time_stays_true_once_the_hub_is_known(
    steps: list[tuple[int, int, bool]],
) -> None:
    machine = Machine()
    clock = machine.clock()
    last = clock.stamp()
    is_known = False
    for after_ns, wrong_ns, hears in steps:
        machine.steady_ns += after_ns
        machine.wrong_ns = wrong_ns
        if hears:
            machine.hear(clock)
            is_known = True
        stamp = clock.stamp()
        assert stamp.mono_ns >= last.mono_ns
        if is_known:
            event_ns = stamp.wall_ns + stamp.offset_ms * MS_NS
            assert abs(event_ns - machine.true_ns) <= (stamp.offset_error_ms + 50) * MS_NS
        last = stamp


def test_an_arrival_a_moment_ago_takes_both_clocks_back() -> None:
    machine = Machine()
    clock = machine.clock()
    stamp = clock.stamp(machine.true_ns - 3 * S_NS)
    assert (stamp.wall_ns, stamp.mono_ns) == (machine.true_ns - 3 * S_NS, machine.steady_ns - 3 * S_NS)
    assert clock.stamp(machine.true_ns + S_NS).wall_ns == machine.true_ns


@pytest.mark.anyio
async def test_a_store_tells_its_clock_how_late_it_must_be(tmp_path: Path) -> None:
    first = Buffer.open(tmp_path)
    first.clock.wall = lambda: TRUE_NS
    await first.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    first.close()
    again = Buffer.open(tmp_path)
    again.clock.wall = lambda: 5
    assert TRUE_NS <= again.clock.now_ns() < TRUE_NS + HOUR_NS
    again.close()


def test_an_arrival_that_was_read_before_the_clock_changed_a_little_is_not_taken_for_a_wait() -> None:
    machine = Machine(wrong_ns=-58 * MS_NS)
    clock = machine.clock()
    machine.hear(clock)
    arrived_ns = clock.now_ns()
    machine.steady_ns += 4 * MS_NS
    machine.wrong_ns = 0
    stamp = clock.stamp(arrived_ns)

    assert (stamp.wall_ns, stamp.mono_ns) == (machine.true_ns, machine.steady_ns)
    machine.steady_ns += S_NS
    later_ns = clock.now_ns()
    machine.steady_ns += S_NS
    assert clock.stamp(later_ns).mono_ns == machine.steady_ns - S_NS


@pytest.mark.parametrize("wrong_ns", [-5 * HOUR_NS, 5 * HOUR_NS])
def test_what_arrived_by_a_wrong_clock_bears_its_time_although_the_clock_was_put_right_before_it_was_stored(
    wrong_ns: int,
) -> None:
    machine = Machine(wrong_ns=wrong_ns)
    clock = machine.clock()
    arrived_ns, arrived_steady_ns = clock.now_ns(), machine.steady_ns
    machine.steady_ns += 10 * MS_NS
    machine.hear(clock)
    assert clock.now_ns() == machine.true_ns
    machine.steady_ns += 10 * MS_NS
    stamp = clock.stamp(arrived_ns)

    # Its measurement was timed by the wrong clock too: the hub puts both right, where no offset is told.
    assert (stamp.wall_ns, stamp.mono_ns) == (arrived_ns, arrived_steady_ns)
    assert stamp.offset_error_ms == OFFSET_UNKNOWN_MS
    assert clock.stamp(clock.now_ns()).wall_ns == machine.true_ns
    assert clock.stamp(arrived_ns + 2 * 60 * S_NS).wall_ns == machine.true_ns
