"""The uplink against a real Mosquitto and a tiny hub: what is stored arrives, once, whatever breaks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from telemed.history import MAGIC, PACKER
from telemed.topics import Down, NodeAddress, Up
from telemed.v1 import alarm_pb2, event_pb2, uplink_pb2

from cloud_hub.ingest.datagram import DatagramServer, listen
from cloud_hub.ingest.datagram_proof import SecretProver
from edge_node.buffer.outbox import StreamKey
from edge_node.buffer.schema import VITALS
from edge_node.buffer.store import Buffer
from edge_node.config import UplinkConfig
from edge_node.errors import BufferDamaged
from edge_node.samples.measurement import Intake, NumericSet, Value
from edge_node.uplink import greeting
from edge_node.uplink.link import LinkEvents
from edge_node.uplink.presence import LinkView
from edge_node.uplink.uplink import Callbacks, Uplink
from tests.edge_node.uplink.mosquitto import Broker, TinyHub, running_broker
from tests.fakes.brokers import SECRETS
from tests.fakes.datagram_wire import secrets_file
from tests.fakes.link import FakeLink
from tests.fakes.outbox import key_of

ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
STREAM = "monitor-1/numeric"
pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path) as running:
        yield running


@pytest.fixture
def hub(broker: Broker) -> Iterator[TinyHub]:
    hub = TinyHub(broker.port)
    yield hub
    hub.stop()


@contextlib.asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[None]:
    task = asyncio.create_task(uplink.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(claim: Callable[[], bool], limit_s: float = 40) -> None:
    async with asyncio.timeout(limit_s):
        while not claim():  # noqa: ASYNC110 - looks at another process's work
            await asyncio.sleep(0.01)


async def until_many(found: Sequence[object], count: int) -> None:
    await until(lambda: len(found) >= count, limit_s=5)


def intake(device: str = "monitor-1") -> Intake:
    now_ns = time.time_ns()
    return Intake(sets=(NumericSet(device, now_ns, now_ns, (Value("hr", "70", "/min"),)),))


def at(config: UplinkConfig, broker: Broker) -> UplinkConfig:
    return config.model_copy(update={"broker_port": broker.port})


async def test_what_is_stored_reaches_the_hub_and_is_acknowledged_by_its_receipt_alone(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    uplink = Uplink(at(config, broker), buffer, ADDRESS)
    for _ in range(150):
        await buffer.store_intake(intake())
    await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
    await buffer.propose(event_pb2.Event(event_id="e", aggregate_type="bed"))
    async with running(uplink):
        await until(lambda: sum(each.records for each in buffer.waiting().values()) == 0)
        assert uplink.link.state == "live"
    assert hub.seqs(STREAM) == list(range(1, 151))
    assert hub.seqs("node/alarm") == hub.seqs("node/care") == [1]
    stored = await buffer.read_run(Up.VITALS, key_of(buffer, Up.VITALS, STREAM), 1, 150)
    assert [hub.records[STREAM, stored[0].epoch][record.seq] for record in stored] == stored


async def test_a_deaf_hub_behind_a_working_broker_acknowledges_nothing(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    hub.is_deaf = True
    uplink = Uplink(at(config, broker), buffer, ADDRESS)
    async with running(uplink):
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
        await asyncio.sleep(1)
        assert buffer.waiting()[Up.ALARM].records == 1
        assert uplink.link.state == "never"
        hub.is_deaf = False
        await until(lambda: buffer.waiting()[Up.ALARM].records == 0)


async def test_messages_lost_on_the_way_are_sent_again_until_all_are_there(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    hub.drop_every = 3
    uplink = Uplink(at(config, broker), buffer, ADDRESS)
    async with running(uplink):
        for _ in range(40):
            await buffer.store_intake(intake())
            await asyncio.sleep(0.01)
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)
    assert hub.seqs(STREAM) == list(range(1, 41))


async def test_after_the_broker_dies_live_records_go_ahead_and_nothing_is_missing(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    views: list[LinkView] = []
    uplink = Uplink(at(config, broker), buffer, ADDRESS, Callbacks(on_link=views.append))
    async with running(uplink):
        await buffer.store_intake(intake())
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)
        broker.kill()
        for _ in range(300):
            await buffer.store_intake(intake())
        await until(lambda: uplink.link.state == "lost")
        broker.start()
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)
    assert hub.seqs(STREAM) == list(range(1, 302))
    assert [view.state for view in views][:2] == ["live", "lost"]


async def test_the_first_connection_that_is_back_calls_the_others(buffer: Buffer, config: UplinkConfig) -> None:
    links: dict[str, FakeLink] = {}

    def connect(name: str, listens: bool, events: LinkEvents) -> FakeLink:
        links[name] = FakeLink(name, listens, events)
        return links[name]

    async with running(Uplink(config, buffer, ADDRESS, connect=connect)):
        links["vitals"].network.set()
        await until(lambda: [links[name].hurried for name in ("alarm", "control", "bulk")] == [1, 1, 1])


async def test_a_hub_that_is_heard_by_datagram_calls_all_connections(
    buffer: Buffer, config: UplinkConfig, tmp_path: Path
) -> None:
    links: dict[str, FakeLink] = {}

    def connect(name: str, listens: bool, events: LinkEvents) -> FakeLink:
        links[name] = FakeLink(name, listens, events)
        return links[name]

    server = DatagramServer(SecretProver(secrets_file(tmp_path)), lambda *_: None)
    listener = listen("127.0.0.1", 0)
    config.secret_file.write_text(SECRETS[ADDRESS.node]["secret"])
    where = {"datagram_enabled": True, "datagram_host": "127.0.0.1", "datagram_port": listener.getsockname()[1]}
    serving = asyncio.create_task(server.run(listener))
    async with running(Uplink(config.model_copy(update=where), buffer, ADDRESS, connect=connect)):
        await until(lambda: [link.hurried for link in links.values()] == [1] * len(links))
    serving.cancel()
    await asyncio.wait([serving])


async def test_a_file_that_fails_keeps_nothing_of_the_other_classes_from_going(
    buffer: Buffer, config: UplinkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    links: dict[str, FakeLink] = {}

    def connect(name: str, listens: bool, events: LinkEvents) -> FakeLink:
        links[name] = FakeLink(name, listens, events)
        return links[name]

    async def failing(_: Mapping[StreamKey, int]) -> None:
        raise BufferDamaged("disk I/O error")

    await buffer.store_intake(intake())
    await buffer.propose(event_pb2.Event(event_id="e", aggregate_type="bed"))
    monkeypatch.setattr(buffer._files[VITALS], "acknowledge", failing)
    keys = [key_of(buffer, Up.VITALS, STREAM), key_of(buffer, Up.CARE, "node/care")]
    receipts = [uplink_pb2.Receipt(stream=key.stream, epoch=key.epoch, contig=1, max=1) for key in keys]
    async with running(Uplink(config, buffer, ADDRESS, connect=connect)):
        links["control"].network.set()
        await until(lambda: links["control"].is_up)
        told = uplink_pb2.Receipts(receipts=receipts, hub_unix_ns=1, hub_run=7)
        links["control"].say(Down.RECEIPT, told.SerializeToString())
        await until(lambda: buffer.waiting()[Up.CARE].records == 0)
        await buffer.propose(event_pb2.Event(event_id="f", aggregate_type="bed"))
        await until(lambda: Up.CARE in [what for what, _ in links["control"].published])


async def test_only_a_hub_that_says_so_in_its_answer_is_sent_history_containers(
    buffer: Buffer, config: UplinkConfig
) -> None:
    links: dict[str, FakeLink] = {}

    def connect(name: str, listens: bool, events: LinkEvents) -> FakeLink:
        links[name] = FakeLink(name, listens, events)
        return links[name]

    def history() -> list[bool]:
        sent = [payload for link in links.values() for what, payload in link.published if what is Up.VITALS]
        return [payload.startswith(MAGIC) for payload in sent]

    def answer(packer: int, run: int) -> bytes:
        told = uplink_pb2.Receipts(hub_unix_ns=1, hub_run=run, node_run=buffer.life, history_packer=packer)
        return told.SerializeToString()

    await buffer.store_intake(intake())
    async with running(Uplink(config.model_copy(update={"resend_after_s": 60}), buffer, ADDRESS, connect=connect)):
        for link in links.values():
            link.network.set()
        await until(lambda: all(link.is_up for link in links.values()))
        links["control"].say(Down.RECEIPT, answer(PACKER, 7))
        await until(lambda: history() == [True])
        links["vitals"].events.on_down()
        links["control"].say(Down.RECEIPT, answer(0, 8))
        await until(lambda: history() == [True, False])


async def test_a_hub_that_lost_its_last_hour_gets_it_again(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    uplink = Uplink(at(config, broker), buffer, ADDRESS)
    async with running(uplink):
        for _ in range(20):
            await buffer.store_intake(intake())
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)
        for found in hub.records.values():
            for seq in list(found):
                if seq > 5:
                    del found[seq]
        broker.kill()
        broker.start()
        await until(lambda: hub.seqs(STREAM) == list(range(1, 21)))
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)


async def test_a_hub_that_was_restored_while_the_node_stayed_connected_gets_it_again(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    uplink = Uplink(at(config, broker), buffer, ADDRESS)
    async with running(uplink):
        for _ in range(20):
            await buffer.store_intake(intake())
        await until(lambda: buffer.waiting()[Up.VITALS].records == 0)
        for found in hub.records.values():
            for seq in [seq for seq in found if seq > 5]:
                del found[seq]
        hub.run += 1
        await until(lambda: hub.seqs(STREAM) == list(range(1, 21)))


async def test_a_hub_that_was_restored_gets_again_what_no_single_greeting_can_name(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(greeting, "PART_STREAMS", 3)
    streams = [f"monitor-{number}/numeric" for number in range(10)]
    async with running(Uplink(at(config, broker), buffer, ADDRESS)):
        for stream in streams:
            await buffer.store_intake(intake(stream.partition("/")[0]))
        await buffer.append_alarms([alarm_pb2.AlarmEvent(alarm_id="a")])
        await until(lambda: sum(each.records for each in buffer.waiting().values()) == 0)
        hub.records.clear()
        hub.hellos.clear()
        hub.run += 1
        await until(lambda: all(hub.seqs(stream) == [1] for stream in (*streams, "node/alarm")))
        assert {len(each.streams) for each in hub.hellos} == {2, 3}
        assert all(each.is_part for each in hub.hellos)
        # To a hub that still runs, and was told of all, the first part says enough.
        hub.hellos.clear()
        broker.kill()
        broker.start()
        await until(lambda: bool(hub.hellos))
        await asyncio.sleep(1)
        assert {state.stream for each in hub.hellos for state in each.streams} != {*streams, "node/alarm"}


async def test_a_greeting_that_the_hub_missed_is_said_again(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    hub.misses_hellos = 2
    async with running(Uplink(at(config, broker), buffer, ADDRESS)):
        await buffer.store_intake(intake())
        await until(lambda: hub.seqs(STREAM) == [1])
    assert hub.misses_hellos == 0


async def test_a_missed_greeting_is_said_again_sooner_than_the_next_heartbeat(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    hub.misses_hellos = 2
    rare = at(config, broker).model_copy(update={"presence_every_s": 30.0, "silence_after_s": 90.0})
    async with running(Uplink(rare, buffer, ADDRESS)):
        await buffer.store_intake(intake())
        await until(lambda: hub.seqs(STREAM) == [1], limit_s=5)


async def test_each_connection_begins_with_a_sign_of_life_and_is_greeted_once(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    rare = at(config, broker).model_copy(update={"presence_every_s": 30.0, "silence_after_s": 90.0})
    async with running(Uplink(rare, buffer, ADDRESS)):
        for connection in range(1, 4):
            await until_many(hub.hellos, connection)
            second = paho.Client(
                CallbackAPIVersion.VERSION2, client_id="edge-clinic.control", reconnect_on_failure=False
            )
            second.connect("127.0.0.1", broker.port)
            # It is put out again by the first one, which comes back.
            await until_many(hub.presences, connection + 1)
            second.disconnect()
        assert len(hub.hellos) == len(hub.presences) == 4


async def test_events_come_down_in_order_and_the_cursor_goes_up(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    for number in range(1, 6):
        event = event_pb2.Event(event_id=str(number), aggregate_type="bed")
        hub.events.append(event_pb2.OrderedEvent(site_seq=number, event=event))
    heard: list[int] = []
    callbacks = Callbacks(on_events=lambda events: heard.extend(each.site_seq for each in events))
    uplink = Uplink(at(config, broker), buffer, ADDRESS, callbacks)
    async with running(uplink):
        await until(lambda: bool(hub.presences) and hub.presences[-1].event_cursor == 5)
    assert heard == [1, 2, 3, 4, 5]
    assert await buffer.event_cursor() == 5


async def test_signals_pass_both_ways(buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub) -> None:
    heard: list[uplink_pb2.Signal] = []
    uplink = Uplink(at(config, broker), buffer, ADDRESS, Callbacks(on_signal=heard.append))
    signal = uplink_pb2.Signal(consult_id="c", kind="offer", body_json="{}")
    assert not uplink.send_signal(signal)
    async with running(uplink):
        await until(lambda: uplink.link.state == "live")
        assert uplink.send_signal(signal)
        hub.say(ADDRESS, Down.SIGNAL, signal)
        await until(lambda: heard == [signal] and hub.signals == [signal])


async def test_presence_tells_what_waits_and_the_hubs_clock_comes_back(
    buffer: Buffer, config: UplinkConfig, broker: Broker, hub: TinyHub
) -> None:
    device = uplink_pb2.DeviceState(device="monitor-1", state="live")
    uplink = Uplink(at(config, broker), buffer, ADDRESS, Callbacks(devices=lambda: [device]))
    async with running(uplink):
        await until(lambda: uplink.link.hub_offset_ms is not None)
        await until(lambda: bool(hub.presences))
    assert abs((uplink.link.hub_offset_ms or 0) - 5000) < 200
    assert abs(buffer.clock.now_ns() - time.time_ns() - 5 * 10**9) < 200_000_000
    assert list(hub.presences[-1].devices) == [device]
    assert {each.stream_class for each in hub.presences[-1].waiting} == {"alarm", "care", "vitals", "waves"}
    assert hub.presences[-1].tells_behind
