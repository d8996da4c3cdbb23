"""kill -9 of the hub between commit and receipt: nothing receipted is lost, nothing is there twice."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select
from telemed.topics import Up

from cloud_hub.ingest import failpoint
from cloud_hub.store.engine import Database
from cloud_hub.store.schema import alarm_step, care_record, record
from tests.fakes import ingest_process
from tests.fakes.brokers import RunningBroker, running, running_broker
from tests.fakes.containers import CLINIC, alarm, numeric
from tests.fakes.edge import FakeEdge

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(240)]


class Killed:
    """Keeps the intake process running, with a failpoint for each of its first lives."""

    def __init__(self, folder: Path, broker: RunningBroker, points: list[str]) -> None:
        self._words = [str(folder), str(broker.port), str(broker.secrets)]
        self._points = points
        self.deaths: list[int] = []

    async def run(self) -> None:
        while True:
            point = self._points.pop(0) if self._points else ""
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                ingest_process.__file__,
                *self._words,
                env={**os.environ, failpoint.VARIABLE: point},
                stdout=asyncio.subprocess.DEVNULL,
            )
            try:
                self.deaths.append(await process.wait())
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


def count(database: Database, table: Table) -> int:
    return database.read_blocking(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


async def test_a_hub_killed_after_the_commit_and_before_the_receipt_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with running_broker("amqtt", tmp_path) as broker:
        hub = Killed(tmp_path, broker, [f"committed:kill:{number}" for number in (1, 2, 3, 5, 8, 1)])
        edge = FakeEdge(broker.login("edge-clinic"), CLINIC)
        async with running(hub.run(), edge.run()):
            await edge.link.subscribed.wait()
            # As long as it takes: on a busy machine one commit holds more records.
            for seq in range(1, 1500):
                edge.send(Up.VITALS, numeric(seq, str(seq % 100)))
                edge.send(Up.ALARM, alarm(seq, f"alarm-{seq}", 1))
                await asyncio.sleep(0.04)
                if seq >= 120 and len(hub.deaths) >= 6:
                    break
            await edge.drained(60)
            acked = max(receipt.contig for receipt in edge.receipts if receipt.stream == "mon-b01/numeric")
        assert hub.deaths == [-9] * 6
    samples, care = ingest_process.stores(tmp_path)
    assert (count(samples, record), count(care, care_record), count(care, alarm_step)) == (seq, seq, seq)
    assert acked == seq
    samples.close()
    care.close()
