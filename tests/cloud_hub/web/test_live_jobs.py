"""The queue of what the live picture asks a database: nothing twice, and what fails until it succeeds."""

import asyncio

import pytest
from structlog.testing import capture_logs

from cloud_hub.errors import StoreFailure
from cloud_hub.web.live_jobs import Jobs

pytestmark = pytest.mark.anyio


class Desk:
    """Notes what is done; does nothing for those who are refused."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.refused: set[str] = set()

    async def look_up(self, name: str) -> None:
        self.done.append(name)
        if name in self.refused:
            raise StoreFailure(f"care: {name}")


async def test_what_waits_is_done_once_and_in_the_order_in_which_it_was_first_asked() -> None:
    jobs, desk = Jobs(), Desk()
    for name in ("b", "a", "b", "c", "a"):
        jobs.put(desk.look_up, name)
    await jobs.work_off()
    jobs.put(desk.look_up, "a")
    await jobs.work_off()
    assert desk.done == ["b", "a", "c", "a"]


async def test_what_fails_holds_up_nothing_and_is_done_again_until_it_succeeds() -> None:
    jobs, desk = Jobs(), Desk()
    desk.refused = {"a"}
    for name in ("a", "b"):
        jobs.put(desk.look_up, name)
    with capture_logs() as logged:
        await jobs.work_off()
        await jobs.work_off()
        jobs.again()
        await jobs.work_off()
        desk.refused.clear()
        jobs.again()
        await jobs.work_off()
        jobs.again()
        await jobs.work_off()
    assert desk.done == ["a", "b", "a", "a"]
    # An hour without a database is one line, and not one every ten seconds.
    assert [line["code"] for line in logged] == [StoreFailure.code]


async def test_what_is_asked_for_while_something_else_is_done_is_done_too() -> None:
    jobs, desk, over = Jobs(), Desk(), asyncio.Event()

    async def first() -> None:
        jobs.put(desk.look_up, "a")
        jobs.put(last)

    async def last() -> None:
        over.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(jobs.run())
        jobs.put(first)
        await over.wait()
        running.cancel()
    assert desk.done == ["a"]
