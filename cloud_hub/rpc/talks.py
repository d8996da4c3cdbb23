"""Nodes that cannot reach the broker talk over a call to the hub itself (reliability 2.8)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge
from telemed.topics import NodeAddress, Up
from telemed.v1 import talk_pb2, talk_pb2_grpc
from telemed.wire import CONTAINER_LIMIT_BYTES

from cloud_hub.errors import ReaderStalled, TalkUnreadable
from cloud_hub.rpc.judging import Context, Judge

UNREAD_LIMIT = 1000
"""Messages that wait for a node to read them; what is over goes: whoever needs it asks again, as with the broker."""
UPWARD = frozenset(Up)

Take = Callable[[str, bytes], None]
Write = Callable[[talk_pb2.Downward], Awaitable[None]]


class Talks:
    """The open calls of all nodes; used on the event loop."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.take: Take = lambda _topic, _payload: None
        """Handed topic and payload of what comes in, as the broker's messages are; set by whoever joins the parts."""
        self._calls: dict[str, asyncio.Queue[talk_pb2.Downward]] = {}
        nodes = Gauge("hub_talks", "Nodes that talk to the hub past the broker.", registry=registry)
        nodes.set_function(lambda: len(self._calls))

    def publish(self, topic: str, payload: bytes, _qos: int) -> None:
        """Tell the node of a downward topic, if it talks this way; what it does not read in time is lost."""
        prefix, _, what = topic.rpartition("/")
        said = self._calls.get(prefix + "/")
        if said is not None and not said.full():
            said.put_nowait(talk_pb2.Downward(what=what, payload=payload))

    @contextmanager
    def open(self, address: NodeAddress) -> Iterator["asyncio.Queue[talk_pb2.Downward]"]:
        """Have a node told what goes down while the block runs; the newest call of a node counts."""
        said: asyncio.Queue[talk_pb2.Downward] = asyncio.Queue(UNREAD_LIMIT)
        self._calls[address.down_prefix] = said
        try:
            yield said
        finally:
            if self._calls.get(address.down_prefix) is said:
                del self._calls[address.down_prefix]


class TalkServicer(talk_pb2_grpc.TalkServicer):
    """The calls as gRPC sees them."""

    def __init__(self, talks: Talks, judge: Judge, write_limit_s: float) -> None:
        self._talks = talks
        self._judge = judge
        self._write_limit_s = write_limit_s

    async def Hold(  # type: ignore[override]  # noqa: N802 - the name of the contract
        self, request_iterator: AsyncIterator[talk_pb2.Upward], context: Context
    ) -> None:
        """Carry everything both ways until the node ends the call."""
        async with self._judge.judged(context) as call:
            await context.send_initial_metadata(())
            with self._talks.open(call.address) as said:
                hearing = _Hearing(said)
                async with asyncio.TaskGroup() as group:
                    telling = group.create_task(self._tell(hearing, call.telling.write))
                    await self._hear(call.address, request_iterator, hearing)
                    telling.cancel()

    async def _hear(self, address: NodeAddress, messages: AsyncIterator[talk_pb2.Upward], hearing: "_Hearing") -> None:
        async for message in messages:
            if message.what not in UPWARD:
                raise TalkUnreadable(f"{address.node}: {message.what[:20]!r} is nothing that goes up")
            if len(message.payload) > CONTAINER_LIMIT_BYTES:
                # The broker would not take it either.
                raise TalkUnreadable(f"{address.node}: {len(message.payload)} bytes")
            self._talks.take(address.up(Up(message.what)), message.payload)
            hearing.took()

    async def _tell(self, hearing: "_Hearing", write: Write) -> None:
        while True:
            message = await hearing.next()
            try:
                async with asyncio.timeout(self._write_limit_s):
                    await write(message)
            except TimeoutError:
                raise ReaderStalled(f"not read for {self._write_limit_s:g} s") from None


class _Hearing:
    """What is to be told next on one call: what goes down, and how much came up."""

    def __init__(self, said: "asyncio.Queue[talk_pb2.Downward]") -> None:
        self._said = said
        self._taken, self._told = 0, 0

    def took(self) -> None:
        """Count a message; that is told with what goes down anyhow, or else by itself."""
        self._taken += 1
        if self._said.empty():
            self._said.put_nowait(talk_pb2.Downward())

    async def next(self) -> talk_pb2.Downward:
        """Wait for something to tell."""
        while True:
            message = await self._said.get()
            if message.what or self._taken > self._told:
                message.taken = self._told = self._taken
                return message
