"""Writes the messages of one call, and leaves the call in a state in which its status can still be sent."""

import asyncio
from typing import Any, Generic, TypeVar

import grpc

M = TypeVar("M")


class Telling(Generic[M]):
    """The writing half of one call.

    A write that was begun cannot be taken back: whoever waits for it may be cancelled, it goes on by itself, and no
    status can be sent before it has ended.
    """

    def __init__(self, context: "grpc.aio.ServicerContext[Any, M]") -> None:
        self._context = context
        self._under_way: asyncio.Task[None] | None = None

    async def write(self, message: M) -> None:
        """Write one message; one at a time."""
        self._under_way = asyncio.create_task(self._write(message))
        self._under_way.add_done_callback(_look_at)
        await asyncio.shield(self._under_way)

    async def settled(self, limit_s: float) -> bool:
        """Wait until nothing is being written; return False where the other side does not read."""
        if self._under_way is not None and not self._under_way.done():
            await asyncio.wait([self._under_way], timeout=limit_s)
        return self._under_way is None or self._under_way.done()

    async def _write(self, message: M) -> None:
        await self._context.write(message)


def _look_at(written: asyncio.Task[None]) -> None:
    """Take note of how a write ended, as nobody may be waiting for it any more."""
    if not written.cancelled():
        written.exception()
