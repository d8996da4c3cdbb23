"""A node that repeats its greeting stands in the line once."""

import asyncio

import pytest
from telemed.topics import NodeAddress
from telemed.v1 import uplink_pb2

from cloud_hub.ingest.greetings import Greetings

FIRST, SECOND, THIRD = (NodeAddress("baoshan", "site", f"node-{number}") for number in range(3))
pytestmark = pytest.mark.anyio


def hello(cursor: int) -> uplink_pb2.Hello:
    return uplink_pb2.Hello(event_cursor=cursor)


async def test_a_repeated_greeting_keeps_its_place_and_is_answered_once_with_its_newest_words() -> None:
    line = Greetings(limit=10)
    line.put(FIRST, hello(1))
    line.put(SECOND, hello(2))
    line.put(FIRST, hello(3))

    assert await line.get() == (FIRST, hello(3))
    assert await line.get() == (SECOND, hello(2))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await line.get()


async def test_a_full_line_takes_nobody_new_and_goes_on_when_there_is_room() -> None:
    line = Greetings(limit=2)
    for number, address in enumerate((FIRST, SECOND, THIRD)):
        line.put(address, hello(number))
    line.put(SECOND, hello(8))

    assert [await line.get(), await line.get()] == [(FIRST, hello(0)), (SECOND, hello(8))]
    line.put(THIRD, hello(9))
    assert await line.get() == (THIRD, hello(9))
