"""Alarms by datagram into a real store with half of all packets lost: none lost, none twice, whatever the order."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import select
from telemed.topics import NodeAddress, Up
from telemed.v1 import uplink_pb2

from cloud_hub.ingest.admit import admit
from cloud_hub.ingest.batch import Batch, Batcher
from cloud_hub.ingest.datagram import DatagramServer, listen
from cloud_hub.ingest.datagram_proof import SecretProver
from cloud_hub.ingest.metrics import IngestMetrics
from cloud_hub.ingest.receipts import receipt
from cloud_hub.ingest.stores import CareStore
from cloud_hub.store.engine import Database
from cloud_hub.store.intake import Taken
from cloud_hub.store.schema import CARE, care_record
from edge_node.uplink.datagram import AlarmPath, PathEvents
from edge_node.uplink.datagram_socket import PathSettings
from tests.cloud_hub.ingest.conftest import PlainCare
from tests.fakes.containers import CLINIC, HOME, alarm
from tests.fakes.datagram_wire import credentials, secrets_file
from tests.fakes.lossy import Lossy

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(180)]
ALARMS = 120
SPACING_S = 0.02
NODES = (CLINIC, HOME)


@dataclass
class Intake:
    """Admission, batches and a care store on disk, joined to the datagram server as the hub joins them."""

    folder: Path
    care: Database
    plain: PlainCare = field(default_factory=PlainCare)
    port: int = 0
    commits: int = 0
    server: DatagramServer = field(init=False)
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    def start(self) -> None:
        self._batches = Batcher(self.care, CareStore(self.plain), self._committed, IngestMetrics(CollectorRegistry()))
        self.server = DatagramServer(SecretProver(secrets_file(self.folder)), self._take)
        listener = listen("127.0.0.1", self.port)
        self.port = listener.getsockname()[1]
        self._tasks = [asyncio.create_task(self.server.run(listener)), asyncio.create_task(self._batches.run())]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def rows(self) -> list[tuple[object, ...]]:
        columns = (care_record.c.stream_id, care_record.c.seq)
        return self.care.read_blocking(lambda c: [tuple(row) for row in c.execute(select(*columns))])

    def _take(self, address: NodeAddress, what: Up, container: bytes) -> None:
        admission = admit(address, what, container)
        self._batches.put(admission.records, admission.unusable, len(container), time.time_ns())

    def _committed(self, taken: Taken, _batch: Batch) -> None:
        self.commits += 1
        for (address, stream, epoch), mark in taken.marks.items():
            told = uplink_pb2.Receipts(receipts=[receipt(stream, epoch, mark)], hub_unix_ns=time.time_ns())
            self.server.publish(address, told)


@pytest.fixture
async def intake(tmp_path: Path) -> AsyncIterator[Intake]:
    care = Database(f"sqlite:///{tmp_path / 'care.db'}", CARE, "care")
    with contextlib.closing(care):
        care.migrate()
        found = Intake(tmp_path, care)
        found.start()
        try:
            yield found
        finally:
            await found.stop()


@contextlib.asynccontextmanager
async def paths(port: int, *ports: int) -> AsyncIterator[list[AlarmPath]]:
    """A path of each node through each port, running."""
    found = [
        AlarmPath(PathSettings(port=each), credentials(node.node), PathEvents(lambda _: None))
        for node in NODES
        for each in (port, *ports)
    ]
    tasks = [asyncio.create_task(path.run()) for path in found]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def drained(found: list[AlarmPath], within_s: float = 60) -> None:
    async with asyncio.timeout(within_s):
        while any(path.repeats.waiting for path in found):  # noqa: ASYNC110 - the network has no event for it
            await asyncio.sleep(0.01)


def stored_once(intake: Intake) -> None:
    """Each alarm of each node is one row, and was folded once."""
    rows = Counter(intake.rows())
    assert len(rows) == len(NODES) * ALARMS
    assert set(rows.values()) == {1}
    assert sorted(int(str(seq)) for _, seq in rows) == sorted(list(range(1, ALARMS + 1)) * len(NODES))
    assert Counter(intake.plain.alarms) == {f"alarm/{seq}": len(NODES) for seq in range(1, ALARMS + 1)}


async def test_with_half_of_all_packets_lost_every_alarm_is_one_row(intake: Intake) -> None:
    lossy = Lossy(("127.0.0.1", intake.port), loss=0.5)
    await lossy.open()
    async with paths(lossy.port) as found:
        for seq in range(1, ALARMS + 1):
            for path in found:
                path.send([alarm(seq, "alarm")])
            await asyncio.sleep(SPACING_S)
        await drained(found)
    lossy.close()
    stored_once(intake)


async def test_over_two_lossy_paths_at_once_and_a_hub_started_again_every_alarm_is_one_row(intake: Intake) -> None:
    ways = [Lossy(("127.0.0.1", intake.port), loss=0.3) for _ in range(2)]
    for way in ways:
        await way.open()
    async with paths(*(way.port for way in ways)) as found:
        for seq in range(1, ALARMS + 1):
            for path in found:
                path.send([alarm(seq, "alarm")])
            if seq == ALARMS // 2:
                await intake.stop()
                intake.start()
            await asyncio.sleep(SPACING_S)
        await drained(found)
    for way in ways:
        way.close()
    stored_once(intake)
