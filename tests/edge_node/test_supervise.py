"""Stages that crash come back; drivers that cannot work are left alone for a while."""

import asyncio

import pytest

from edge_node import supervise
from edge_node.supervise import Budget, keep

pytestmark = pytest.mark.anyio


async def test_a_stage_that_crashes_is_started_again_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_WAIT_S", 0.001)
    starts = 0
    third = asyncio.Event()

    async def crash() -> None:
        nonlocal starts
        starts += 1
        if starts == 3:
            third.set()
            await asyncio.Event().wait()
        raise ValueError("broken")

    task = asyncio.create_task(keep("stage", crash))
    async with asyncio.timeout(5):
        await third.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_stage_that_ends_by_itself_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_WAIT_S", 0.001)
    starts: list[int] = []
    twice = asyncio.Event()

    async def end() -> None:
        starts.append(1)
        if len(starts) == 2:
            twice.set()

    task = asyncio.create_task(keep("stage", end))
    async with asyncio.timeout(5):
        await twice.wait()
    task.cancel()
    await asyncio.wait([task])


def test_the_wait_never_grows_over_a_second() -> None:
    assert supervise.LONGEST_WAIT_S <= 1.0


def test_a_driver_that_spends_its_restarts_rests() -> None:
    budget = Budget(restarts=3, within_s=60, rest_s=60)
    assert [budget.wait_s(second, 1) for second in (0, 1, 2)] == [1, 1, 1]
    assert budget.wait_s(3, 1) == 60
    assert budget.wait_s(100, 1) == 1
