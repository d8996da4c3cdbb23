"""The UDP relay on real sockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest

from tests.faults.relay import datagram
from tests.faults.relay.datagram import HEAD_BYTES, Address, DatagramRelay
from tests.faults.relay.punctual import timed
from tests.faults.relay.settings import Settings, plain
from tests.faults.relay.shape import Drop, Line
from tests.faults.relay.traces import constant

pytestmark = pytest.mark.anyio
ANYWHERE = ("127.0.0.1", 0)


class Peer(asyncio.DatagramProtocol):
    """A UDP socket that keeps what comes, and sends it back if it is an echo."""

    def __init__(self, *, echoes: bool = False) -> None:
        self._echoes = echoes
        self.received: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received.put_nowait((data, asyncio.get_running_loop().time()))
        if self._echoes:
            self.transport.sendto(data, addr)

    @property
    def address(self) -> Address:
        return cast("Address", self.transport.get_extra_info("sockname"))

    def send(self, content: bytes, to: Address) -> None:
        self.transport.sendto(content, to)

    async def next(self) -> bytes:
        async with asyncio.timeout(30):
            return (await self.received.get())[0]


@asynccontextmanager
async def peer(*, echoes: bool = False, at: Address = ANYWHERE) -> AsyncIterator[Peer]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: Peer(echoes=echoes), local_addr=at)
    try:
        yield made
    finally:
        transport.close()


@asynccontextmanager
async def relaying(target: Address, up: Settings, down: Settings | None = None) -> AsyncIterator[DatagramRelay]:
    relay = DatagramRelay.open(ANYWHERE, target, up, down or Settings(), seed=1)
    try:
        yield relay
    finally:
        await relay.close()


async def test_each_client_gets_its_own_answers() -> None:
    async with peer(echoes=True) as echo, peer() as one, peer() as two, relaying(echo.address, Settings()) as relay:
        one.send(b"one", relay.address)
        two.send(b"two", relay.address)
        assert (await one.next(), await two.next()) == (b"one", b"two")


async def test_a_round_trip_takes_both_delays() -> None:
    ways = (Settings(delay_s=0.08), Settings(delay_s=0.04))
    async with peer(echoes=True) as echo, peer() as client, relaying(echo.address, *ways) as relay:
        with timed() as span:
            client.send(b"?", relay.address)
            await client.next()
        assert span.is_about(0.16, within_s=0.04), str(span)
        assert relay.report().timing.deliveries == 2


async def test_exactly_those_datagrams_are_lost_that_the_model_loses() -> None:
    lossy = Settings(loss=plain(0.3))
    model: Line[int] = Line(lossy, "1/up", 0.0)
    expected = [number for number in range(300) if model.offer(number, 10, 0.0).drop is not Drop.LOSS]
    async with peer() as target, peer() as client, relaying(target.address, lossy) as relay:
        for number in range(300):
            client.send(str(number).encode(), relay.address)
        received = [int(await target.next()) for _ in expected]
        assert received == expected
        assert relay.report().up.dropped_loss == 300 - len(expected)


async def test_a_datagram_weighs_its_heads_too() -> None:
    slow = Settings(rate=constant(25_600))
    content = bytes(100 - HEAD_BYTES)
    async with peer() as target, peer() as client, relaying(target.address, slow) as relay:
        with timed() as span:
            for _ in range(32):
                client.send(content, relay.address)
            for _ in range(32):
                await target.next()
        # 32 x 800 bits at 25.6 kbit/s; 0.72 s without the heads.
        assert span.is_about(1.0, within_s=0.08), str(span)


async def test_the_application_sees_a_changed_byte() -> None:
    async with peer() as target, peer() as client, relaying(target.address, Settings(corrupt=1)) as relay:
        client.send(bytes(100), relay.address)
        assert sum(byte != 0 for byte in await target.next()) == 1


async def test_a_cut_one_way_leaves_the_other_open() -> None:
    async with peer(echoes=True) as echo, peer() as client, relaying(echo.address, Settings()) as relay:
        relay.cut("down", is_cut=True)
        client.send(b"unanswered", relay.address)
        assert await echo.next() == b"unanswered"
        while relay.report().down.dropped_cut == 0:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.001)
        relay.cut("down", is_cut=False)
        client.send(b"answered", relay.address)
        assert await client.next() == b"answered"


async def test_settings_can_change_while_it_runs() -> None:
    async with peer() as target, peer() as client, relaying(target.address, Settings(loss=plain(1))) as relay:
        client.send(b"lost", relay.address)
        while relay.report().up.dropped_loss == 0:  # noqa: ASYNC110 - counters have no event
            await asyncio.sleep(0.001)
        relay.change("up", replace(Settings(), duplicate=1))
        client.send(b"twice", relay.address)
        assert [await target.next(), await target.next()] == [b"twice", b"twice"]


async def test_a_target_that_is_away_for_a_while_is_found_again() -> None:
    async with peer() as gone:
        address = gone.address
    async with peer() as client, relaying(address, Settings()) as relay:
        for _ in range(3):
            client.send(b"nobody", relay.address)
            await asyncio.sleep(0.01)
        async with peer(echoes=True, at=address):
            client.send(b"back", relay.address)
            assert await client.next() == b"back"


async def test_the_client_that_was_silent_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagram, "MOST_CLIENTS", 2)
    async with (
        peer(echoes=True) as echo,
        relaying(echo.address, Settings()) as relay,
        peer() as one,
        peer() as two,
        peer() as three,
    ):
        for client in (one, two, one, three):
            client.send(b"?", relay.address)
            assert await client.next() == b"?"
        assert set(relay._clients) == {one.address, three.address}
