"""The second way against a real gRPC server of the hub, beside a broker that the test turns on and off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from telemed.topics import Down, Up

from edge_node.uplink import second_way
from edge_node.uplink.link import Link, LinkEvents
from edge_node.uplink.second_way import SecondWay, Waits
from edge_node.uplink.transfer.channel import Login
from tests.fakes.brokers import running, until
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import CLINIC, SECRETS, RunningHub, running_hub, sqlite

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_way, "LOOK_EVERY_S", 0.01)


@dataclass
class Broker:
    """A connection to a broker, as the uplink sees it."""

    events: LinkEvents
    is_up: bool = False
    sent: list[tuple[Up, bytes]] = field(default_factory=list)

    def publish(self, what: Up, payload: bytes) -> bool:
        if self.is_up:
            self.sent.append((what, payload))
        return self.is_up

    async def run(self) -> None:
        await asyncio.Event().wait()

    def hurry(self) -> None:
        raise AssertionError("not in these tests")

    def go_up(self) -> None:
        self.is_up = True
        self.events.on_up()

    def go_down(self) -> None:
        self.is_up = False
        self.events.on_down()


@dataclass
class Node:
    """The second way of a node with one connection, and what it was told."""

    way: SecondWay
    told: list[object] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    switched: int = 0
    link: Link = field(init=False)
    broker: Broker = field(init=False)

    def __post_init__(self) -> None:
        def connect(_name: str, _listens: bool, events: LinkEvents) -> Link:
            self.broker = Broker(events)
            return self.broker

        self.way.on_switch = self._switch
        self.link = self.way.beside(connect)(
            "control",
            True,
            LinkEvents(
                on_up=lambda: self.told.append("up"),
                on_down=lambda: self.told.append("down"),
                on_message=lambda down, payload: self.told.append((down, payload)),
                on_acknowledged=lambda size_bytes, _trip_s: self.acknowledged.append(size_bytes),
                on_lost=self.lost.append,
            ),
        )

    def _switch(self) -> None:
        self.switched += 1


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    care = sqlite(tmp_path)
    async with running_hub(tmp_path, care) as server:
        yield server
    await asyncio.to_thread(care.close)


def node_of(port: int, silence_s: float = 0.0, secret: str = SECRETS[CLINIC.node]) -> Node:
    return Node(SecondWay(Login("127.0.0.1", port, CLINIC, secret), Waits(silence_s, 0.01, 0.05)))


@contextlib.asynccontextmanager
async def held(node: Node) -> AsyncIterator[None]:
    async with running(asyncio.create_task(node.way.run())):
        yield


async def test_while_the_broker_leads_nowhere_everything_goes_to_the_hub_and_comes_back(hub: RunningHub) -> None:
    came: list[tuple[str, bytes]] = []
    hub.server.talks.take = lambda topic, payload: came.append((topic, payload))
    node = node_of(hub.port)
    async with held(node):
        await until(lambda: node.link.is_up)
        assert node.told == ["up"]
        for number in range(3):
            assert node.link.publish(Up.VITALS, bytes(10 + number))
        await until(lambda: node.acknowledged == [10, 11, 12])
        assert came == [(CLINIC.up(Up.VITALS), bytes(10 + number)) for number in range(3)]
        assert hub.registry.get_sample_value("hub_talks") == 1
        hub.server.talks.publish(CLINIC.down(Down.RECEIPT), b"receipts", 0)
        await until(lambda: (Down.RECEIPT, b"receipts") in node.told)
    await until(lambda: hub.registry.get_sample_value("hub_talks") == 0)


async def test_a_hub_that_is_heard_through_its_broker_is_talked_to_through_it_alone(hub: RunningHub) -> None:
    node = node_of(hub.port, silence_s=60)
    async with held(node):
        node.broker.go_up()
        assert node.link.publish(Up.CARE, b"event")
        await asyncio.sleep(0.1)
        assert (node.told, node.broker.sent, node.way.is_open) == (["up"], [(Up.CARE, b"event")], False)


async def test_once_the_hub_is_heard_through_its_broker_again_the_call_ends(hub: RunningHub) -> None:
    node = node_of(hub.port, silence_s=0.3)
    async with held(node):
        await until(lambda: node.way.is_open)
        node.broker.go_up()
        assert node.told == ["up"], "the way in use is not disturbed by a broker behind which nobody is heard"
        node.broker.events.on_message(Down.PRESENCE, b"here")
        await until(lambda: not node.way.is_open)
        assert node.told == ["up", (Down.PRESENCE, b"here"), "down", "up"]
        assert node.switched == 2
        assert node.link.publish(Up.CARE, b"event")
        assert node.broker.sent == [(Up.CARE, b"event")]


async def test_a_broker_that_is_connected_and_silent_is_left_for_the_second_way(hub: RunningHub) -> None:
    node = node_of(hub.port, silence_s=0.2)
    node.broker.go_up()
    async with held(node):
        await until(lambda: node.way.is_open)
        assert node.told == ["up", "down", "up"]
        node.broker.go_down()
        assert node.told == ["up", "down", "up"]


async def test_what_was_under_way_when_the_hub_died_is_told_lost_and_the_call_is_made_again(tmp_path: Path) -> None:
    care, port = sqlite(tmp_path), free_port()
    node = node_of(port)
    async with held(node):
        async with running_hub(tmp_path, care, port=port) as hub:
            hub.server.talks.take = lambda _topic, _payload: None
            await until(lambda: node.link.is_up)
        await until(lambda: not node.link.is_up, 10)
        assert node.told == ["up", "down"]
        assert not node.link.publish(Up.VITALS, b"nobody")
        async with running_hub(tmp_path, care, port=port) as hub:
            await until(lambda: node.link.is_up, 10)
            assert node.link.publish(Up.VITALS, b"12345")
            await until(lambda: node.acknowledged == [5])
            # Handed over and never written: the task that writes has not run when the node stops.
            node.link.publish(Up.VITALS, b"123456")
            node.way._end()
            assert node.lost == [6]
    await asyncio.to_thread(care.close)


async def test_a_node_that_the_hub_does_not_know_is_refused_and_nothing_is_taken(hub: RunningHub) -> None:
    came: list[str] = []
    hub.server.talks.take = lambda topic, _payload: came.append(topic)
    node = node_of(hub.port, secret="wrong")
    async with held(node):
        await until(lambda: hub.counted("faults", reason="caller-unknown") == 1)
        await asyncio.sleep(0.2)
        assert not node.link.publish(Up.VITALS, b"mine")
        assert (came, node.told) == ([], [])
        assert hub.counted("faults", reason="caller-unknown") == 1, "it does not ask again at once"
