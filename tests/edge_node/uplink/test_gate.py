"""Waiting for a turn on the event loop, with a clock the test turns."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from edge_node.uplink.gate import HEADER_BYTES, Gate
from edge_node.uplink.schedule import Traffic

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def gate(clock: Clock) -> AsyncIterator[Gate]:
    made = Gate(clock)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_turn_comes_at_once_while_there_is_room(gate: Gate) -> None:
    asked = await gate.turn(Traffic.IMAGE, 300)
    assert asked.granted_bytes == 300 + HEADER_BYTES
    gate.settle(asked, 300)
    assert gate.capacity.under_way_bytes == 300 + HEADER_BYTES


async def test_who_waits_goes_on_when_something_is_acknowledged(gate: Gate, clock: Clock) -> None:
    gate.spend(Traffic.IMAGE, gate.capacity.window_bytes)
    waiting = asyncio.create_task(gate.turn(Traffic.IMAGE, 300))
    await settled()
    assert not waiting.done()
    clock.now_s += 1
    gate.acknowledged(gate.capacity.window_bytes, 0.05)
    async with asyncio.timeout(5):
        gate.settle(await waiting, 0)


async def test_who_waits_goes_on_when_the_connection_ended_that_held_it_back(gate: Gate, clock: Clock) -> None:
    held_bytes = gate.capacity.window_bytes
    gate.spend(Traffic.IMAGE, held_bytes)
    waiting = asyncio.create_task(gate.turn(Traffic.IMAGE, 300))
    await settled()
    clock.now_s += 1
    gate.lost(held_bytes)
    async with asyncio.timeout(5):
        gate.settle(await waiting, 0)


async def test_who_gives_up_waiting_leaves_no_wish_and_no_promise_behind(gate: Gate, clock: Clock) -> None:
    gate.spend(Traffic.IMAGE, gate.capacity.window_bytes)
    waiting = asyncio.create_task(gate.turn(Traffic.IMAGE, 300))
    await settled()
    waiting.cancel()
    await asyncio.wait([waiting])
    clock.now_s += 60
    gate.restart()
    await settled()
    before = gate.capacity.window_bytes
    asked = await gate.turn(Traffic.IMAGE, before)
    assert asked.granted_bytes > 0


async def test_an_alarm_does_not_wait(gate: Gate) -> None:
    gate.spend(Traffic.IMAGE, 10**6)
    asked = await gate.turn(Traffic.ALARM, 300)
    assert asked.granted_bytes == 300 + HEADER_BYTES
