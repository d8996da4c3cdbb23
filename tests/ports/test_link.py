"""What every link to the broker must do, for the one over MQTT and for the fake that stands in for it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from telemed.topics import Down, NodeAddress, Up

from edge_node.config import UplinkConfig
from edge_node.uplink import mqtt
from edge_node.uplink.dscp import Dscp, marked
from edge_node.uplink.link import Link, LinkEvents
from edge_node.uplink.mqtt import Identity, MqttLink
from tests.edge_node.uplink.mosquitto import running_broker
from tests.fakes.link import FakeLink

ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass(slots=True)
class Told:
    """What a link told."""

    up: int = 0
    down: int = 0
    messages: list[tuple[Down, bytes]] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)

    def events(self) -> LinkEvents:
        def is_up() -> None:
            self.up += 1

        def is_down() -> None:
            self.down += 1

        return LinkEvents(
            is_up,
            is_down,
            on_message=lambda down, payload: self.messages.append((down, payload)),
            on_acknowledged=lambda size_bytes, _trip_s: self.acknowledged.append(size_bytes),
            on_lost=self.lost.append,
        )


@dataclass(slots=True)
class Bench:
    """A link, and the other side of it."""

    link: Link
    told: Told
    network_comes: Callable[[], None]
    network_goes: Callable[[], None]
    network_stalls: Callable[[], None]
    """From now on nothing is acknowledged, though the connection stands."""
    hub_says: Callable[[Down, bytes], None]


@contextlib.asynccontextmanager
async def fake_bench(_folder: Path) -> AsyncIterator[Bench]:
    told = Told()
    link = FakeLink("control", True, told.events())
    yield Bench(link, told, link.network.set, link.cut, link.stall, link.say)


@contextlib.asynccontextmanager
async def mqtt_bench(folder: Path, longest_retry_s: float = 0.1) -> AsyncIterator[Bench]:
    told = Told()
    with running_broker(folder) as broker:
        broker.kill()
        (folder / "secret").write_text("s3cret")
        config = UplinkConfig(
            secret_file=folder / "secret",
            broker_port=broker.port,
            first_retry_s=longest_retry_s / 5,
            longest_retry_s=longest_retry_s,
        )
        link = MqttLink(config, Identity(ADDRESS, "control", "s3cret"), True, told.events())

        def say(down: Down, payload: bytes) -> None:
            hub = paho.Client(CallbackAPIVersion.VERSION2)
            hub.connect("127.0.0.1", broker.port)
            hub.loop_start()
            hub.publish(ADDRESS.down(down), payload, qos=1).wait_for_publish(5)
            hub.disconnect()
            hub.loop_stop()

        yield Bench(link, told, broker.start, broker.kill, broker.stall, say)


@pytest.fixture(params=[fake_bench, mqtt_bench], ids=["fake", "mqtt"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with request.param(tmp_path) as bench:
        task = asyncio.create_task(bench.link.run())
        yield bench
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def test_a_connection_bears_the_mark_of_its_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    right = mqtt._Conversation.on_socket_open

    def seen(self: mqtt._Conversation, client: paho.Client, data: object, sock: Any) -> None:
        right(self, client, data, sock)
        opened.append(sock)

    monkeypatch.setattr(mqtt._Conversation, "on_socket_open", seen)
    async with mqtt_bench(tmp_path) as bench:
        bench.network_comes()
        task = asyncio.create_task(bench.link.run())
        await until(lambda: bench.link.is_up)
        assert marked(opened[0]) == Dscp.AF31
        task.cancel()
        await asyncio.wait([task])


async def test_a_long_wait_ends_when_another_connection_of_the_node_is_back(tmp_path: Path) -> None:
    async with mqtt_bench(tmp_path, longest_retry_s=3_600) as bench:
        task = asyncio.create_task(bench.link.run())
        await asyncio.sleep(0.3)
        bench.network_comes()

        def is_up() -> bool:
            bench.link.hurry()
            return bench.link.is_up

        await until(is_up)
        task.cancel()
        await asyncio.wait([task])


async def test_a_call_that_comes_during_an_attempt_leaves_out_the_wait_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "CONNECT_LIMIT_S", 0.1)
    (tmp_path / "secret").write_text("s3cret")
    came: list[asyncio.StreamWriter] = []
    # It takes connections and never answers, so that every attempt lasts.
    silent = await asyncio.start_server(lambda _reader, writer: came.append(writer), "127.0.0.1", 0)
    config = UplinkConfig(
        secret_file=tmp_path / "secret",
        broker_port=silent.sockets[0].getsockname()[1],
        first_retry_s=3_600,
        longest_retry_s=3_600,
    )
    link = MqttLink(config, Identity(ADDRESS, "control", "s3cret"), True, Told().events())
    task = asyncio.create_task(link.run())
    await until(lambda: len(came) == 1)
    link.hurry()
    await until(lambda: len(came) == 2)
    task.cancel()
    await asyncio.wait([task])
    for writer in came:
        writer.close()
    silent.close()


async def until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not claim():  # noqa: ASYNC110 - looks at another process's work
            await asyncio.sleep(0.01)


async def test_without_a_network_nothing_can_be_published(bench: Bench) -> None:
    await asyncio.sleep(0.05)
    assert not bench.link.is_up
    assert not bench.link.publish(Up.HELLO, b"x")
    assert bench.told.up == 0


async def test_it_comes_up_by_itself_and_comes_back_after_a_loss(bench: Bench) -> None:
    bench.network_comes()
    await until(lambda: bench.told.up == 1)
    assert bench.link.is_up
    assert bench.link.publish(Up.HELLO, b"xyz")
    await until(lambda: bench.told.acknowledged == [3])
    bench.network_goes()
    await until(lambda: bench.told.down == 1)
    assert not bench.link.publish(Up.HELLO, b"x")
    bench.network_comes()
    await until(lambda: bench.told.up == 2)


async def test_what_the_hub_says_after_it_is_up_is_heard(bench: Bench) -> None:
    bench.network_comes()
    await until(lambda: bench.told.up == 1)
    bench.hub_says(Down.SIGNAL, b"hello")
    await until(lambda: bench.told.messages == [(Down.SIGNAL, b"hello")])


async def test_what_was_under_way_when_the_connection_ended_is_lost(bench: Bench) -> None:
    bench.network_comes()
    await until(lambda: bench.told.up == 1)
    bench.network_stalls()
    assert bench.link.publish(Up.HELLO, b"xyz")
    bench.network_goes()
    await until(lambda: bench.told.down == 1)
    assert (bench.told.acknowledged, bench.told.lost) == ([], [3])
