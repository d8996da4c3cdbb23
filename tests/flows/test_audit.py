"""Both audit trails over a real broker: entries go up, heads both ways, and each side finds out the other."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from telemed.audit import Entry, Head
from telemed.audit_seal import open_seal
from telemed.errors import Code
from telemed.topics import NodeAddress

from cloud_hub.access.audit_heads import AuditHeads
from cloud_hub.config import HubConfig, StoreConfig
from cloud_hub.desk.intake import Intake
from cloud_hub.ingest.gateway import Ingest
from cloud_hub.store import audit_trail, edge_trails, events
from cloud_hub.store.edge_trails import EdgeTrail
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import CARE, SAMPLES
from edge_node.audittrail import AuditTrail
from edge_node.buffer.outbox import Batch
from edge_node.buffer.store import Buffer
from edge_node.config import UplinkConfig
from edge_node.samples.alarm import Who
from edge_node.uplink.uplink import Callbacks, Uplink
from tests.fakes.brokers import SECRETS, RunningBroker, running, running_broker

ADDRESS = NodeAddress("baoshan", "baoshan-clinic", "edge-clinic")
DOCTOR = Who("huangqi", "clinic")
pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@dataclass
class Side:
    """A hub with its trail, joined as the product joins it."""

    config: HubConfig
    folder: Path
    told: list[str] = field(default_factory=list)
    care: Database = field(init=False)
    heads: AuditHeads = field(init=False)

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        store = self.config.store
        with (
            contextlib.closing(Database(store.samples_url, SAMPLES, "samples")) as samples,
            contextlib.closing(Database(store.care_url, CARE, "care")) as self.care,
        ):
            samples.migrate()
            self.care.migrate()
            intake = Intake(lambda _taken: None)
            intake.on_audit_fault = lambda _address, fault: self.told.append(fault.finding)
            ingest = Ingest(self.config, samples, self.care, intake=intake, events=events, registry=CollectorRegistry())
            ingest.note = lambda _address, code, _times: self.told.append(code)
            self.heads = AuditHeads(self.care, "baoshan", open_seal(self.folder / "audit"), time.time_ns)
            ingest.downlink.audit_head = lambda: self.heads.newest
            ingest.agrees_with = self.heads.agrees_with
            async with running(ingest.run()):
                yield

    async def sign(self) -> Head:
        """Write an entry and sign."""
        await self.care.write(lambda c: audit_trail.append(c, [Entry(1, "a", "r", "x", "o", "ok")]))
        await self.heads.settle()
        assert self.heads.newest is not None
        return self.heads.newest

    async def trail(self) -> EdgeTrail | None:
        """Return the one trail of the node that is known here."""
        found = await self.care.read(lambda c: edge_trails.trails(c, "baoshan"))
        return found[0] if found else None


@dataclass
class World:
    hub: Side
    broker: RunningBroker
    buffer: Buffer
    uplink: Uplink
    audit: AuditTrail

    def waiting(self) -> int:
        return sum(each.records for each in self.buffer.waiting().values())


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "secret").write_text(SECRETS["edge-clinic"]["secret"])
    async with running_broker("amqtt", tmp_path) as broker:
        folder = tmp_path / "hub"
        folder.mkdir()
        urls = StoreConfig(samples_url=f"sqlite:///{folder}/samples.db", care_url=f"sqlite:///{folder}/care.db")
        hub = Side(HubConfig(region="baoshan", name_zh="测", name_en="T", store=urls, broker=broker.config), folder)
        config = UplinkConfig(
            secret_file=tmp_path / "secret",
            broker_port=broker.port,
            first_retry_s=0.1,
            longest_retry_s=0.5,
            resend_after_s=1,
            presence_every_s=0.3,
            silence_after_s=2,
            datagram_enabled=False,
        )
        with contextlib.closing(Buffer.open(tmp_path / "edge")) as buffer:
            trail = AuditTrail(buffer, ADDRESS, open_seal(tmp_path / "edge"), time.time_ns)
            yield World(hub, broker, buffer, Uplink(config, buffer, ADDRESS, Callbacks()), trail)


async def until(claim: Callable[[], bool], limit_s: float = 40) -> None:
    async with asyncio.timeout(limit_s):
        while not claim():  # noqa: ASYNC110 - looks at other processes' work
            await asyncio.sleep(0.02)


async def anchored(world: World, head: Head) -> None:
    """Wait until the node keeps a head of the hub."""
    async with asyncio.timeout(30):
        while await world.buffer.audit.newest_anchor() != head:  # noqa: ASYNC110 - looks at other processes' work
            await asyncio.sleep(0.05)


async def test_entries_and_heads_of_the_node_arrive_and_verify_and_the_hubs_head_comes_down(world: World) -> None:
    for number in range(30):
        await world.audit.note(DOCTOR, "alarm-accept", f"alarm/{number}")
    await world.audit.sign()
    async with running(world.uplink.run()), world.hub.up():
        await until(lambda: world.waiting() == 0)
        found = await world.hub.trail()
        assert found is not None
        assert (found.n, found.fault, found.key) == (30, "", open_seal(world.hub.folder.parent / "edge").public)
        await anchored(world, await world.hub.sign())
        await anchored(world, await world.hub.sign())
    assert world.hub.told == []


async def test_a_hub_that_lost_its_past_is_found_out_by_the_head_that_a_node_keeps(world: World) -> None:
    async with running(world.uplink.run()):
        async with world.hub.up():
            for _ in range(3):
                head = await world.hub.sign()
            await anchored(world, head)
        _cut_back(world.hub.folder)
        await until(lambda: world.uplink.link.state == "lost")
        async with world.hub.up():
            await until(lambda: Code.HUB_AUDIT_DIFFERS in world.hub.told)


def _cut_back(folder: Path) -> None:
    """Do what somebody does who has the hub's files: as if the last two entries had never been."""
    with contextlib.closing(sqlite3.connect(folder / "care.db")) as file, file:
        for name in ("audit_no_delete", "audit_head_no_delete"):
            file.execute(f"DROP TRIGGER {name}")
        file.execute("DELETE FROM audit WHERE id > 1")
        file.execute("DELETE FROM audit_head WHERE n > 1")
        file.execute("UPDATE audit_chain SET n = 1, hash = (SELECT hash FROM audit)")
    (folder / "audit" / "audit.head").unlink()


async def test_a_node_whose_trail_was_rewritten_is_told_of_when_its_next_entry_arrives(world: World) -> None:
    async with running(world.uplink.run()), world.hub.up():
        for number in range(5):
            await world.audit.note(DOCTOR, "alarm-accept", f"alarm/{number}")
        await until(lambda: world.waiting() == 0)
        await world.buffer._files["care.db"].write(_forget_the_last)
        await world.audit.note(DOCTOR, "alarm-accept", "alarm/other")
        await until(lambda: bool(world.hub.told))
    assert world.hub.told == ["audit-rewritten"]


def _forget_the_last(batch: Batch) -> None:
    batch.connection.execute("DROP TRIGGER a1")
    batch.connection.execute("DELETE FROM audit WHERE n > 4")
