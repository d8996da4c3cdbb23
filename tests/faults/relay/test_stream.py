"""The TCP relay on real sockets."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.relay.punctual import timed
from tests.faults.relay.settings import Settings, plain
from tests.faults.relay.stream import Address, StreamRelay
from tests.faults.relay.traces import constant, stepped

pytestmark = pytest.mark.anyio
ANYWHERE = ("127.0.0.1", 0)
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
NOT_YET_S = 0.1
"""How long something is watched that must not happen."""


class Client:
    """A connection through the relay."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self, count: int) -> bytes:
        async with asyncio.timeout(30):
            return await self.reader.readexactly(count)

    async def is_silent(self) -> bool:
        """Say whether nothing comes for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(NOT_YET_S):
                await self.reader.readexactly(1)
                return False
        return True


@asynccontextmanager
async def serving(talk: Talk) -> AsyncIterator[Address]:
    server = await asyncio.start_server(talk, *ANYWHERE)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


@asynccontextmanager
async def relaying(
    target: Address, up: Settings | None = None, down: Settings | None = None
) -> AsyncIterator[StreamRelay]:
    relay = await StreamRelay.open(ANYWHERE, target, up or Settings(), down or Settings(), seed=1)
    try:
        yield relay
    finally:
        await relay.close()


@asynccontextmanager
async def connected(relay: StreamRelay) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*relay.address)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(65_536):
            writer.write(content)
            await writer.drain()
    writer.close()


async def test_every_byte_arrives_once_in_order_both_ways() -> None:
    content = random.Random(1).randbytes(1_000_000)
    rough = Settings(rate=stepped([(0.05, 30e6), (0.02, 0)]), delay_s=0.01, jitter_s=0.01, queue_bytes=20_000)
    async with serving(echo) as target, relaying(target, rough, rough) as relay, connected(relay) as client:
        client.writer.write(content)
        client.writer.write_eof()
        assert await client.read(len(content)) == content
        assert await client.reader.read() == b""
        counts = relay.report().up
        assert counts.offered_bytes == counts.wire_bytes == len(content)


async def test_bytes_pass_at_the_rate_that_was_set_whatever_the_number_of_connections() -> None:
    async with (
        serving(echo) as target,
        relaying(target, Settings(rate=constant(800_000), queue_bytes=8_000)) as relay,
        connected(relay) as one,
        connected(relay) as two,
    ):
        with timed() as span:
            for client in (one, two):
                client.writer.write(bytes(50_000))
            await asyncio.gather(one.read(50_000), two.read(50_000))
        assert span.is_about(1.0, within_s=0.08), str(span)


async def test_a_queue_that_is_shorter_than_the_delay_does_not_slow_it_down() -> None:
    far = Settings(rate=constant(800_000), queue_bytes=3_000, delay_s=0.3)
    async with serving(echo) as target, relaying(target, far) as relay, connected(relay) as client:
        with timed() as span:
            client.writer.write(bytes(50_000))
            await client.read(50_000)
        assert span.is_about(0.8, within_s=0.08), str(span)


async def test_an_answer_takes_both_delays() -> None:
    async with (
        serving(echo) as target,
        relaying(target, Settings(delay_s=0.08), Settings(delay_s=0.04)) as relay,
        connected(relay) as client,
    ):
        with timed() as span:
            client.writer.write(b"?")
            assert await client.read(1) == b"?"
        assert span.is_about(0.16, within_s=0.04), str(span)


async def test_a_slow_drip_comes_piece_by_piece() -> None:
    drip = Settings(rate=constant(800), piece_bytes=1)
    async with serving(echo) as target, relaying(target, drip) as relay, connected(relay) as client:
        with timed() as span:
            client.writer.write(b"drip")
            for byte in b"drip":
                assert await client.read(1) == bytes((byte,))
        assert span.is_about(0.04, within_s=0.01), str(span)
        assert relay.report().up.offered == 4


async def test_a_cut_stalls_what_exists_and_healing_lets_all_of_it_go_on() -> None:
    async with serving(echo) as target, relaying(target, Settings(delay_s=0.02)) as relay, connected(relay) as client:
        client.writer.write(b"before ")
        relay.cut("up", is_cut=True)
        client.writer.write(b"during ")
        assert await client.is_silent()
        relay.cut("up", is_cut=False)
        client.writer.write(b"after")
        assert await client.read(19) == b"before during after"


async def test_a_cut_holds_what_is_in_flight_and_the_end_of_the_bytes_too() -> None:
    async with serving(echo) as target, relaying(target, Settings(delay_s=0.05)) as relay, connected(relay) as client:
        client.writer.write(b"last words")
        client.writer.write_eof()
        while relay.report().up.under_way < 2:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.001)
        relay.cut("up", is_cut=True)
        assert await client.is_silent()
        relay.cut("up", is_cut=False)
        async with asyncio.timeout(5):
            assert await client.reader.read() == b"last words"


async def test_what_was_in_flight_at_the_cut_comes_before_what_waited() -> None:
    async with serving(echo) as target, relaying(target, Settings(delay_s=0.05)) as relay, connected(relay) as client:
        client.writer.write(b"first ")
        while relay.report().up.under_way < 1:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.001)
        relay.change("up", Settings(cut=True))
        client.writer.write(b"second")
        assert await client.is_silent()
        relay.change("up", Settings())
        assert await client.read(12) == b"first second"


async def test_a_sender_cannot_fill_a_cut_link_without_end() -> None:
    async with (
        serving(echo) as target,
        relaying(target, Settings(queue_bytes=10_000)) as relay,
        connected(relay) as client,
    ):
        client.writer.write(b"?")
        await client.read(1)
        relay.cut("up", is_cut=True)
        client.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.writer.write(bytes(2_000_000))
        await asyncio.sleep(NOT_YET_S)
        assert relay.report().up.offered_bytes < 15_000
        assert client.writer.transport.get_write_buffer_size() > 1_500_000
        client.writer.transport.abort()


async def test_the_target_hears_nothing_of_a_connection_made_during_a_cut() -> None:
    arrived = asyncio.Event()

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        writer.write(b"welcome")
        writer.close()

    async with serving(greet) as target, relaying(target) as relay:
        relay.cut("down", is_cut=True)
        async with connected(relay) as client:
            assert await client.is_silent()
            assert not arrived.is_set()
            relay.cut("down", is_cut=False)
            assert await client.read(7) == b"welcome"


async def test_a_reset_breaks_what_exists_and_new_connections_work() -> None:
    async with serving(echo) as target, relaying(target) as relay:
        async with connected(relay) as client:
            client.writer.write(b"?")
            await client.read(1)
            relay.reset()
            with pytest.raises(ConnectionResetError):
                await client.read(1)
        async with connected(relay) as client:
            client.writer.write(b"!")
            assert await client.read(1) == b"!"


async def test_one_side_may_finish_while_the_other_goes_on() -> None:
    async def answer_at_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = await reader.read()
        writer.write(b"answer to " + question)
        writer.close()

    async with serving(answer_at_the_end) as target, relaying(target) as relay, connected(relay) as client:
        client.writer.write(b"question")
        client.writer.write_eof()
        assert await client.read(18) == b"answer to question"


async def test_a_target_that_breaks_the_connection_is_seen_to() -> None:
    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        writer.transport.abort()

    async with serving(break_off) as target, relaying(target) as relay, connected(relay) as client:
        client.writer.write(b"?")
        with pytest.raises(ConnectionResetError):
            await client.read(1)


async def test_a_target_that_refuses_is_seen_as_a_reset() -> None:
    async with serving(echo) as target:
        pass
    async with relaying(target) as relay, connected(relay) as client:
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.read(1)


@pytest.mark.parametrize(
    "impossible", [Settings(loss=plain(0.1)), Settings(reorder=0.1), Settings(duplicate=0.1), Settings(corrupt=0.1)]
)
async def test_what_tcp_hides_is_refused_and_changes_nothing(impossible: Settings) -> None:
    with pytest.raises(ValueError, match="cannot lose"):
        await StreamRelay.open(ANYWHERE, ANYWHERE, impossible, Settings(), seed=1)
    async with serving(echo) as target, relaying(target, Settings(delay_s=0.01)) as relay:
        with pytest.raises(ValueError, match="cannot lose"):
            relay.change("up", impossible)
        assert relay._up.settings == Settings(delay_s=0.01)
