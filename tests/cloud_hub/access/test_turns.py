"""Turns for each address: who waits, who does not, and what a flood is told."""

import asyncio

import pytest

from cloud_hub.access import turns
from cloud_hub.access.turns import Turns
from cloud_hub.errors import TooManyAttempts

pytestmark = pytest.mark.anyio


async def test_so_many_of_one_address_are_at_work_and_other_addresses_do_not_wait() -> None:
    given, at_work, most = Turns(2), 0, 0
    two_are, hold = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        nonlocal at_work, most
        async with given.turn("clinics"):
            at_work += 1
            most = max(most, at_work)
            if at_work == 2:
                two_are.set()
            await hold.wait()
            at_work -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(work())
        await two_are.wait()
        async with given.turn("elsewhere"):
            hold.set()
    assert most == 2


async def test_whoever_waits_too_long_is_told_and_takes_nobodys_turn() -> None:
    given = Turns(1, longest_wait_s=0.01)
    async with given.turn("a"):
        with pytest.raises(TooManyAttempts) as told:
            async with given.turn("a"):
                raise AssertionError("two turns of one")
    assert told.value.retry_after_s == 0.01
    async with given.turn("a"):
        pass


async def test_a_line_that_is_full_is_told_at_once_and_nothing_is_remembered_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "LONGEST_LINE", 0)
    given = Turns(1, longest_wait_s=60)
    async with given.turn("a"):
        with pytest.raises(TooManyAttempts):
            async with asyncio.timeout(1), given.turn("a"):
                raise AssertionError("two turns of one")
    assert given._lines == {}


async def test_when_too_many_addresses_are_at_it_a_new_one_is_told_at_once_and_those_in_line_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "MOST_LINES", 2)
    given = Turns(2)
    async with given.turn("a"), given.turn("b"):
        with pytest.raises(TooManyAttempts):
            async with asyncio.timeout(1), given.turn("c"):
                raise AssertionError("one line too many")
        async with given.turn("a"):
            pass
    async with given.turn("c"):
        pass
    assert given._lines == {}


async def test_work_that_fails_gives_its_turn_back() -> None:
    given = Turns(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            async with given.turn("a"):
                raise ValueError("x")
    assert given._lines == {}
