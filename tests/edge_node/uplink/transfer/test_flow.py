"""Turns and the window: bytes leave only when both allow it, and every message is accounted for once."""

import asyncio
from dataclasses import dataclass, field

import pytest

from edge_node.uplink.transfer.flow import Flow, Lane

pytestmark = pytest.mark.anyio


@dataclass(slots=True)
class Scripted:
    """A scheduler that grants what it is told to, and remembers what it was told."""

    window_bytes: int = 100
    grants: list[int] = field(default_factory=list)
    acks: list[tuple[int, float]] = field(default_factory=list)
    losses: list[int] = field(default_factory=list)
    turns_under_way: int = 0
    most_at_once: int = 0

    async def turn(self, most_bytes: int) -> int:
        self.turns_under_way += 1
        self.most_at_once = max(self.most_at_once, self.turns_under_way)
        await asyncio.sleep(0)
        self.turns_under_way -= 1
        return self.grants.pop(0) if self.grants else most_bytes

    def acked(self, sent_bytes: int, delay_s: float) -> None:
        self.acks.append((sent_bytes, delay_s))

    def lost(self, sent_bytes: int) -> None:
        self.losses.append(sent_bytes)

    def window(self) -> int:
        return self.window_bytes


async def test_nothing_goes_while_the_window_is_full_and_goes_on_when_something_landed() -> None:
    pace = Scripted()
    flow = Flow(pace)
    lane = Lane(flow)
    lane.sent(await flow.grant(100))
    waiting = asyncio.create_task(flow.grant(50))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    lane.received(100)
    assert await waiting == 50


async def test_something_always_goes_however_narrow_the_window() -> None:
    assert await Flow(Scripted(window_bytes=0)).grant(10) == 10


async def test_no_more_goes_than_was_granted_and_never_nothing() -> None:
    flow = Flow(Scripted(grants=[7, 0, 999]))
    assert [await flow.grant(50) for _ in range(3)] == [7, 1, 50]


async def test_turns_are_asked_for_one_at_a_time() -> None:
    pace = Scripted(window_bytes=10**6)
    flow = Flow(pace)
    await asyncio.gather(*(flow.grant(10) for _ in range(5)))
    assert pace.most_at_once == 1


async def test_each_message_is_acknowledged_once_with_its_own_delay() -> None:
    now = [10.0]
    pace = Scripted()
    lane = Lane(Flow(pace, lambda: now[0]))
    for size_bytes in (10, 20, 30):
        lane.sent(size_bytes)
        now[0] += 1
    lane.received(35)  # the second is whole, the third is not
    lane.received(35)
    assert pace.acks == [(10, 3.0), (20, 2.0)]
    lane.received(60)
    assert pace.acks[-1] == (30, 1.0)


async def test_what_was_under_way_when_a_call_ended_is_lost_and_frees_the_window() -> None:
    pace = Scripted()
    flow = Flow(pace)
    lane = Lane(flow)
    lane.sent(10)
    lane.sent(0)
    lane.sent(20)
    lane.received(10)
    lane.ended()
    lane.ended()
    assert (pace.losses, flow.under_way_bytes) == ([20], 0)
    assert sum(size_bytes for size_bytes, _ in pace.acks) == 10
