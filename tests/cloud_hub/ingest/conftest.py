"""A whole intake on a real broker and real databases."""

import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, Table, func, select
from telemed.topics import NodeAddress
from telemed.v1 import alarm_pb2, audit_pb2, event_pb2, sample_pb2, uplink_pb2

from cloud_hub.config import HubConfig, StoreConfig
from cloud_hub.ingest.gateway import Ingest
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from tests.fakes.brokers import RunningBroker, find_mosquitto, running, running_broker
from tests.fakes.containers import CLINIC
from tests.fakes.edge import FakeEdge


class PlainCare:
    """Counts what it is given; "poison" in an id breaks it."""

    def __init__(self) -> None:
        self.alarms: list[str] = []
        self.events: list[str] = []
        self.poisoned = 0
        self.commits = 0
        self.in_thread: set[str] = set()

    def take_alarm(
        self, connection: Connection, address: NodeAddress, event: alarm_pb2.AlarmEvent, received_ns: int
    ) -> bool:
        self.in_thread.add(threading.current_thread().name)
        if event.alarm_id == "poison":
            self.poisoned += 1
            raise LookupError("cannot be folded")
        own = address.node == "hub"
        self.alarms.append(f"hub: {event.condition}" if own else f"{event.alarm_id}/{event.alarm_seq}")
        return True

    def take_event(
        self, connection: Connection, address: NodeAddress, event: event_pb2.Event, received_ns: int
    ) -> event_pb2.OrderedEvent:
        self.events.append(event.event_id)
        return event_pb2.OrderedEvent(event=event)

    def take_audit(self, connection: Connection, address: NodeAddress, message: audit_pb2.Audit, ns: int) -> None:
        """Take it."""

    def committed(self) -> None:
        self.commits += 1


class PlainLog:
    """An event log in memory."""

    def __init__(self) -> None:
        self.events: list[event_pb2.OrderedEvent] = []

    def append(self, event_id: str) -> None:
        event = event_pb2.Event(event_id=event_id)
        self.events.append(event_pb2.OrderedEvent(site_seq=len(self.events) + 1, event=event))

    def events_after(self, connection: Connection, site: str, after: int, limit: int) -> list[event_pb2.OrderedEvent]:
        return self.events[after : after + limit] if site == "baoshan-clinic" else []

    def head(self, connection: Connection, site: str) -> int:
        return len(self.events) if site == "baoshan-clinic" else 0


@dataclass
class Screen:
    """A live sink that remembers."""

    values: list[str] = field(default_factory=list)
    waves_seen: int = 0
    presences: list[uplink_pb2.Presence] = field(default_factory=list)
    signals: list[uplink_pb2.Signal] = field(default_factory=list)
    contacts: set[str] = field(default_factory=set)

    def numerics(
        self, address: NodeAddress, device: str, sample: sample_pb2.NumericSet, received_ns: int, came_ns: int = 0
    ) -> None:
        self.values.extend(f"{address.node}/{device}/{value.value}" for value in sample.values)

    def waves(self, address: NodeAddress, device: str, sample: sample_pb2.WaveformSet, received_ns: int) -> None:
        self.waves_seen += 1

    def presence(self, address: NodeAddress, presence: uplink_pb2.Presence, received_ns: int) -> None:
        self.presences.append(presence)

    def signal(self, address: NodeAddress, signal: uplink_pb2.Signal) -> None:
        self.signals.append(signal)

    def contact(self, address: NodeAddress, received_ns: int) -> None:
        self.contacts.add(address.node)


@dataclass
class Hub:
    """The intake under test and everything around it."""

    ingest: Ingest
    samples: Database
    care: Database
    intake: PlainCare
    log: PlainLog
    screen: Screen
    registry: CollectorRegistry
    broker: RunningBroker
    edge: FakeEdge
    noted: Counter[str]
    """What the operator is told of, by node and code."""

    def count(self, database: Database, table: Table) -> int:
        return database.read_blocking(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())

    def column(self, database: Database, table: Table, name: str) -> list[object]:
        return database.read_blocking(lambda c: list(c.execute(select(table.c[name])).scalars()))

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0


@pytest.fixture(params=["amqtt", "mosquitto"])
async def broker(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningBroker]:
    """Each of the two brokers."""
    if request.param == "mosquitto" and find_mosquitto() is None:
        pytest.skip("Mosquitto is not installed (Debian: mosquitto)")
    async with running_broker(request.param, tmp_path) as found:
        yield found


def hub_config(broker: RunningBroker, url: Callable[[str], str]) -> HubConfig:
    """The configuration of a hub at this broker."""
    store = StoreConfig(samples_url=url("samples"), care_url=url("care"))
    return HubConfig(region="baoshan", name_zh="测试", name_en="Test", store=store, broker=broker.config)


@pytest.fixture
async def hub(broker: RunningBroker, tmp_path: Path) -> AsyncIterator[Hub]:
    """A running intake with one connected edge."""
    config = hub_config(broker, lambda name: f"sqlite:///{tmp_path / name}.db")
    samples = Database(config.store.samples_url, SAMPLES, "samples")
    care = Database(config.store.care_url, CARE, "care")
    with contextlib.closing(samples), contextlib.closing(care):
        samples.migrate()
        care.migrate()
        intake, log, screen, registry = PlainCare(), PlainLog(), Screen(), CollectorRegistry()
        ingest = Ingest(config, samples, care, intake=intake, events=log, registry=registry, sinks=[screen])
        noted: Counter[str] = Counter()
        ingest.note = lambda address, code, times: noted.update({f"{address.node}: {code}": times})
        edge = FakeEdge(broker.login("edge-clinic"), CLINIC)
        async with running(ingest.run(), edge.run()):
            await edge.until(lambda: ingest.is_connected and edge.link.is_connected)
            yield Hub(ingest, samples, care, intake, log, screen, registry, broker, edge, noted)
