"""The hub's side of a comparison over real stores inside the test's own process, with or without its server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry
from sqlalchemy import text
from telemed.topics import NodeAddress
from telemed.wire import Record

from cloud_hub.config import RpcConfig
from cloud_hub.rpc.comparing import Reconciling, Work
from cloud_hub.rpc.identity import SecretIdentity
from cloud_hub.rpc.metrics import ReconcileMetrics
from cloud_hub.rpc.server import RpcServer
from cloud_hub.store.care_records import CareLedger
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import Name
from cloud_hub.store.intake import Ledger, take
from cloud_hub.store.reconciliations import Reconciliation
from cloud_hub.store.samples import SampleLedger
from cloud_hub.store.streams import Incoming
from tests.fakes.brokers import running
from tests.fakes.containers import CLINIC, T0_NS
from tests.fakes.ports import free_port
from tests.fakes.rpc_hub import REGION, users


@dataclass
class ReconcileHub:
    """Stores that take records in, and the comparison over them."""

    care: Database
    samples: Database
    notes: list[tuple[str, int]] = field(default_factory=list)
    ended: list[Reconciliation] = field(default_factory=list)
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reopened: dict[str, int] = field(default_factory=dict)
    """Stream -> contig of the receipt that was sent."""

    def __post_init__(self) -> None:
        self.ledgers: dict[bool, Ledger] = {True: CareLedger(), False: SampleLedger()}
        self.reconciling = Reconciling(
            care=self.care,
            samples=self.samples,
            reopen=self._reopen,
            note=lambda _address, code, times: self.notes.append((code, times)),
            told=self.ended.append,
            metrics=ReconcileMetrics(self.registry),
            clock=lambda: T0_NS,
        )

    def take(self, *records: Record, address: NodeAddress = CLINIC) -> None:
        """Store records, as the intake does."""
        for record in records:
            is_care = Name(address, record.stream, record.epoch).is_care
            item = Incoming(address, record, record.stamp.wall_ns)
            self._store(is_care).write_blocking(lambda c: take(c, self.ledgers[is_care], [item], T0_NS))  # noqa: B023

    def run(self, statement: str, *, care: bool = False) -> None:
        """Change a store behind the hub's back."""
        self._store(care).write_blocking(lambda c: c.execute(text(statement)).close())

    async def _reopen(self, name: Name, work: Work) -> int:
        mark, count = await self._store(name.is_care).write(work, self.ledgers[name.is_care].streams.forget)
        self.reopened[name.stream] = mark.contig
        return count

    def _store(self, care: bool) -> Database:
        return self.care if care else self.samples


@contextlib.asynccontextmanager
async def serving(hub: ReconcileHub, folder: Path) -> AsyncIterator[int]:
    """Run the hub's real gRPC server while the block runs; yields its port."""
    config = RpcConfig(port=free_port(), folder=folder / "blobs")
    server = RpcServer(config, REGION, hub.care, SecretIdentity(users()), CollectorRegistry())
    server.reconciling = hub.reconciling
    async with running(server.run()):
        async with asyncio.timeout(30):
            await server.listening.wait()
        yield server.port
