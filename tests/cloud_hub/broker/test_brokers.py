"""Both brokers, attacked: bad inputs 17, 18, 23 and the holes of amqtt."""

import asyncio
import contextlib
import struct
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from telemed.topics import Up

from cloud_hub.broker import EmbeddedBroker
from cloud_hub.errors import ConfigRefused
from cloud_hub.ingest.mqtt import BrokerLink
from tests.fakes.brokers import RunningBroker, find_mosquitto, running, running_broker, until
from tests.fakes.containers import CLINIC, HOME

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


class Listener:
    """A client that remembers what it receives."""

    def __init__(self, broker: RunningBroker, user: str, *topics: str, secret: str | None = None) -> None:
        self.got: list[tuple[str, bytes]] = []
        self._news = asyncio.Event()
        self.link = BrokerLink(broker.login(user, secret), list(topics), self._take)

    def _take(self, topic: str, payload: bytes) -> None:
        self.got.append((topic, payload))
        self._news.set()

    async def receives(self, payload: bytes) -> None:
        async with asyncio.timeout(30):
            while not any(seen == payload for _, seen in self.got):
                self._news.clear()
                await self._news.wait()


@pytest.fixture(params=["amqtt", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (Debian: mosquitto)")
    async with running_broker(request.param, tmp_path) as found:
        yield found


@pytest.fixture
async def amqtt(tmp_path: Path) -> AsyncIterator[RunningBroker]:
    async with running_broker("amqtt", tmp_path) as found:
        yield found


def text(value: str) -> bytes:
    return struct.pack("!H", len(value)) + value.encode()


def connect_packet(client: str, user: str, secret: str, will: str = "") -> bytes:
    flags = 0xC2 | (0x04 if will else 0)
    body = text("MQTT") + bytes([4, flags, 0, 30]) + text(client)
    body += (text(will) + text("bye") if will else b"") + text(user) + text(secret)
    return bytes([0x10, len(body)]) + body


async def raw(broker: RunningBroker, packet: bytes, within_s: float = 8) -> bytes:
    """Send bytes on a fresh connection; return what comes back until the broker closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    try:
        writer.write(packet)
        async with asyncio.timeout(within_s):
            return await reader.read()
    finally:
        writer.close()


NOT_AUTHORISED = b"\x20\x02\x00\x05"


async def test_a_wrong_password_does_not_make_the_victim_deaf(broker: RunningBroker) -> None:
    hub = Listener(broker, "hub", "up/#")
    victim = Listener(broker, "edge-clinic", CLINIC.down_prefix + "#")
    async with running(hub.link.run(), victim.link.run()):
        await victim.link.subscribed.wait()
        await hub.link.subscribed.wait()
        for secret in ("wrong", "", "home-secret"):
            assert await raw(broker, connect_packet("edge-clinic.ingest", "edge-clinic", secret)) == NOT_AUTHORISED
        hub.link.publish(CLINIC.down_prefix + "receipt", b"still there", 1)
        await victim.receives(b"still there")
        assert victim.link.is_connected


async def test_a_stranger_or_a_foreign_client_id_is_refused(amqtt: RunningBroker) -> None:
    for client, user, secret in (
        ("hub.ingest", "edge-clinic", "clinic-secret"),
        ("edge-home.alarm", "edge-clinic", "clinic-secret"),
        ("x", "nobody", "nothing"),
    ):
        assert await raw(amqtt, connect_packet(client, user, secret)) == NOT_AUTHORISED
    will = connect_packet("edge-clinic.x", "edge-clinic", "clinic-secret", HOME.up_prefix + "alarm")
    assert await raw(amqtt, will) == NOT_AUTHORISED


async def test_a_socket_that_says_nothing_or_too_much_is_cut(amqtt: RunningBroker) -> None:
    began_s = asyncio.get_running_loop().time()
    assert await raw(amqtt, b"") == b""
    assert 4 < asyncio.get_running_loop().time() - began_s < 7
    assert await raw(amqtt, b"\x10\xff\xff\xff\x7f" + bytes(100), 3) == b""


async def test_what_is_published_to_a_foreign_topic_reaches_nobody(broker: RunningBroker) -> None:
    hub = Listener(broker, "hub", "up/#")
    clinic = Listener(broker, "edge-clinic", CLINIC.down_prefix + "#")
    home = Listener(broker, "edge-home", HOME.down_prefix + "#")
    async with running(hub.link.run(), clinic.link.run(), home.link.run()):
        for one in (hub, clinic, home):
            await one.link.subscribed.wait()
        for topic in (HOME.up(Up.ALARM), HOME.down_prefix + "receipt", CLINIC.down_prefix + "receipt"):
            clinic.link.publish(topic, b"forged", 1)
        clinic.link.publish(CLINIC.up(Up.ALARM), b"genuine", 1)
        await hub.receives(b"genuine")
        home.link.publish(HOME.up(Up.ALARM), b"mine", 1)
        await hub.receives(b"mine")
        assert [payload for _, payload in hub.got] == [b"genuine", b"mine"]
        assert (clinic.got, home.got) == ([], [])
    if broker.kind == "amqtt":
        assert broker.embedded.notices["topic-refused"] == 3


async def test_listening_to_others_brings_nothing(broker: RunningBroker) -> None:
    spies = [
        Listener(broker, "edge-home", topics) for topics in ("#", "up/#", "down/+/+/+/#", CLINIC.down_prefix + "#")
    ]
    hub, clinic = Listener(broker, "hub", "up/#"), Listener(broker, "edge-clinic", CLINIC.down_prefix + "#")
    for spy in spies:
        async with running(hub.link.run(), clinic.link.run(), spy.link.run()):
            await hub.link.subscribed.wait()
            await clinic.link.subscribed.wait()
            for number in range(5):
                payload = f"secret {number}".encode()
                clinic.link.publish(CLINIC.up(Up.VITALS), payload, 1)
                await hub.receives(payload)
                hub.link.publish(CLINIC.down_prefix + "receipt", payload, 1)
                await clinic.receives(payload)
            hub.got.clear()
            clinic.got.clear()
        assert spy.got == []


async def test_a_packet_over_the_limit_ends_the_connection_and_reaches_nobody(broker: RunningBroker) -> None:
    hub = Listener(broker, "hub", "up/#")
    clinic = Listener(broker, "edge-clinic", CLINIC.down_prefix + "#")
    async with running(hub.link.run(), clinic.link.run()):
        await hub.link.subscribed.wait()
        await clinic.link.subscribed.wait()
        clinic.link.publish(CLINIC.up(Up.WAVES), bytes(256 * 1024), 1)
        await hub.receives(bytes(256 * 1024))
        clinic.link.publish(CLINIC.up(Up.WAVES), bytes(300 * 1024), 1)
        await until(lambda: not clinic.link.is_connected)
        await clinic.link.subscribed.wait()
        clinic.link.publish(CLINIC.up(Up.WAVES), b"after", 1)
        await hub.receives(b"after")
        assert [len(payload) for _, payload in hub.got] == [256 * 1024, 5]


async def test_the_second_of_two_clients_with_one_id_takes_over_and_is_noticed(amqtt: RunningBroker) -> None:
    first = Listener(amqtt, "edge-clinic", CLINIC.down_prefix + "#")
    hub = Listener(amqtt, "hub", "up/#")
    async with running(hub.link.run(), first.link.run()):
        await first.link.subscribed.wait()
        await hub.link.subscribed.wait()
        second = Listener(amqtt, "edge-clinic", CLINIC.down_prefix + "#")
        async with running(second.link.run()):
            await second.link.subscribed.wait()
            await until(lambda: "taken-over" in amqtt.embedded.notices)


async def test_nothing_is_retained(broker: RunningBroker) -> None:
    body = text(CLINIC.up(Up.ALARM)) + b"old"
    packet = bytes([0x31, len(body)]) + body
    reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
    writer.write(connect_packet("edge-clinic.x", "edge-clinic", "clinic-secret"))
    assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
    writer.write(packet + b"\xc0\x00")
    # amqtt takes it and answers the ping; Mosquitto ends the connection.
    with contextlib.suppress(OSError):
        await reader.read(2)
    writer.close()
    late = Listener(broker, "hub", "up/#")
    clinic = Listener(broker, "edge-clinic", CLINIC.down_prefix + "#")
    async with running(late.link.run(), clinic.link.run()):
        await late.link.subscribed.wait()
        await clinic.link.subscribed.wait()
        clinic.link.publish(CLINIC.up(Up.ALARM), b"new", 1)
        await late.receives(b"new")
        assert late.got == [(CLINIC.up(Up.ALARM), b"new")]


async def test_a_killed_broker_is_back_within_two_seconds_with_another_process(amqtt: RunningBroker) -> None:
    before = amqtt.embedded.pid
    began_s = asyncio.get_running_loop().time()
    amqtt.kill()
    await until(lambda: amqtt.embedded.pid not in (before, None))
    await amqtt.listening()
    assert asyncio.get_running_loop().time() - began_s < 3


async def test_a_port_that_somebody_else_has_is_refused_with_a_hint(
    amqtt: RunningBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloud_hub.broker.PORT_WITHIN_S", 0.2)
    with pytest.raises(ConfigRefused, match=r"broker\.port"):
        await EmbeddedBroker(amqtt.config).run()


async def test_the_broker_ends_with_the_hub_that_started_it(tmp_path: Path) -> None:
    broker = RunningBroker("amqtt", tmp_path)
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cloud_hub.broker_process",
        "--host=127.0.0.1",
        f"--port={broker.port}",
        f"--secrets={broker.secrets}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    await broker.listening()
    assert program.stdin is not None
    program.stdin.close()
    async with asyncio.timeout(6):
        assert await program.wait() == 0
