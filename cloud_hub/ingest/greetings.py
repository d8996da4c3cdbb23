"""Nodes' greetings that wait for their answer: one for each node, the newest.

A node repeats a greeting until it is answered; a thousand nodes that do so must not lengthen the line in which they
stand.
"""

import asyncio

from telemed.topics import NodeAddress
from telemed.v1 import uplink_pb2


class Greetings:
    """The line of those who greeted; used on the event loop alone."""

    def __init__(self, limit: int) -> None:
        """Hold the greetings of so many nodes at most; the others greet again."""
        self._limit = limit
        self._waiting: dict[NodeAddress, uplink_pb2.Hello] = {}
        self._is_any = asyncio.Event()

    def put(self, address: NodeAddress, hello: uplink_pb2.Hello) -> None:
        """Let a node wait; one that waits already keeps its place and is answered what it says now."""
        if address in self._waiting or len(self._waiting) < self._limit:
            self._waiting[address] = hello
            self._is_any.set()

    async def get(self) -> tuple[NodeAddress, uplink_pb2.Hello]:
        """Return the next and take it out of the line, waiting until there is one."""
        await self._is_any.wait()
        address = next(iter(self._waiting))
        hello = self._waiting.pop(address)
        if not self._waiting:
            self._is_any.clear()
        return address, hello
