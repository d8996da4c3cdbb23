"""One database's queue: arrivals are gathered, committed in one transaction, then told (reliability 2.3)."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog
from sqlalchemy import Connection
from telemed.errors import Code

from cloud_hub.errors import StoreFailure
from cloud_hub.ingest.failpoint import reach
from cloud_hub.ingest.metrics import IngestMetrics
from cloud_hub.store.dead_letters import DeadLetter
from cloud_hub.store.engine import Database
from cloud_hub.store.intake import Taken
from cloud_hub.store.streams import Incoming

QUEUE_LIMIT_BYTES = 64 * 1024 * 1024
LONGEST_WAIT_S = 2.0
TRIES = 3
"""How often a record may break its transaction before it is buried (reliability 2.7)."""

log = structlog.get_logger()


@dataclass(slots=True)
class Batch:
    """What goes into one transaction."""

    records: list[Incoming] = field(default_factory=list)
    unusable: list[DeadLetter] = field(default_factory=list)
    received_ns: int = 0
    """Wall clock at the last arrival in it."""
    arrived_s: float = 0.0
    """Steady clock at the first arrival in it."""
    size_bytes: int = 0


class Store(Protocol):
    """What a batch goes into; called in the writer thread."""

    def store(self, connection: Connection, batch: Batch) -> Taken:
        """Store a batch in the transaction."""

    def kept(self) -> None:
        """Called after the commit."""

    def forget(self) -> None:
        """Drop what is remembered, after a transaction that did not commit."""


class Batcher:
    """Takes arrivals on the event loop and commits them in batches, in their order."""

    def __init__(
        self, database: Database, store: Store, committed: Callable[[Taken, Batch], None], metrics: IngestMetrics
    ) -> None:
        """Start nothing yet.

        Args:
            database: where to.
            store: what to do inside the transaction, and after it.
            committed: told on the event loop, right after each commit.
            metrics: counters.
        """
        self._database = database
        self._store = store
        self._committed = committed
        self._metrics = metrics
        self._waiting: deque[Batch] = deque()
        """Batches to commit, in order; only the last one still takes more."""
        self._waiting_bytes = 0
        self._oldest_s = 0.0
        """When the oldest arrival that is not committed came, steady clock; 0 = there is none."""
        self._arrived = asyncio.Event()
        self._is_full = asyncio.Event()
        self.failure: StoreFailure | None = None
        """Why nothing can be committed now; None where all is well."""
        self.on_failure: Callable[[StoreFailure, Batch], None] = lambda _failure, _batch: None
        """Told on the event loop of each try that failed, with what waits for it."""
        self.most_records = 200
        self.longest_wait_s = 0.0
        """How long a batch may wait for more; 0 commits at once what is there."""

    def put(self, records: list[Incoming], unusable: list[DeadLetter], size_bytes: int, received_ns: int) -> bool:
        """Queue what arrived together; False if the queue is full, then the edge sends it again later."""
        if self._waiting_bytes + size_bytes > QUEUE_LIMIT_BYTES:
            return False
        self._waiting_bytes += size_bytes
        last = self._waiting[-1] if self._waiting else None
        if last is None or (last.records and len(last.records) + len(records) > self.most_records):
            if last is not None:
                self._is_full.set()
            last = Batch(arrived_s=time.monotonic())
            self._waiting.append(last)
            self._arrived.set()
        last.records += records
        last.unusable += unusable
        last.size_bytes += size_bytes
        last.received_ns = received_ns
        if len(last.records) >= self.most_records:
            self._is_full.set()
        return True

    @property
    def waited_s(self) -> float:
        """How long the oldest arrival that is not committed has waited."""
        return time.monotonic() - self._oldest_s if self._oldest_s else 0.0

    @property
    def queued_share(self) -> float:
        """How much of the queue is in use, 0 to 1."""
        return self._waiting_bytes / QUEUE_LIMIT_BYTES

    def forget(self) -> None:
        """Drop what is remembered of the database: somebody else wrote there; called in the writer thread."""
        self._store.forget()

    async def run(self) -> None:
        """Commit batches until cancelled; what is then still queued was never receipted."""
        while True:
            await self._arrived.wait()
            await self._gather()
            batch = self._waiting.popleft()
            self._oldest_s = batch.arrived_s
            self._waiting_bytes -= batch.size_bytes
            if not self._waiting:
                self._arrived.clear()
            await self._commit(batch)
            self._oldest_s = self._waiting[0].arrived_s if self._waiting else 0.0

    async def _gather(self) -> None:
        """Wait until the first batch is full or its first arrival has waited long enough."""
        first = self._waiting[0]
        left_s = first.arrived_s + self.longest_wait_s - time.monotonic()
        if left_s <= 0 or len(self._waiting) > 1 or len(first.records) >= self.most_records:
            return
        self._is_full.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await self._is_full.wait()

    async def _commit(self, batch: Batch) -> None:
        failures = 0
        while True:
            try:
                taken = await self._once(batch)
            except StoreFailure as failure:
                failures += 1
                if failures == 1:
                    log.error("store-failed", store=self._database.name, why=str(failure), records=len(batch.records))
                self._fail(failure, batch)
                if not failure.is_passing:
                    await self._commit_apart(batch)
                    return
                await asyncio.sleep(min(0.1 * 2**failures, LONGEST_WAIT_S))
                continue
            if failures:
                log.info("store-recovered", store=self._database.name, after=failures)
            self._tell(taken, batch)
            return

    async def _commit_apart(self, batch: Batch) -> None:
        """Commit record by record; bury the one that the database cannot take."""
        for item in batch.records:
            await self._commit_stubborn(replace(batch, records=[item], unusable=[]))
        await self._commit_stubborn(replace(batch, records=[]))

    async def _commit_stubborn(self, part: Batch) -> None:
        failures = 0
        while failures <= TRIES:
            if failures == TRIES:
                part = replace(part, records=[item._replace(refusal=Code.POISON) for item in part.records])
            try:
                taken = await self._once(part)
            except StoreFailure as failure:
                failures += not failure.is_passing
                self._fail(failure, part)
                await asyncio.sleep(LONGEST_WAIT_S if failure.is_passing else 0)
                continue
            self._tell(taken, part)
            return
        raise StoreFailure(f"{self._database.name}: cannot even bury a record")

    async def _once(self, batch: Batch) -> Taken:
        began_s = time.monotonic()
        try:
            taken = await self._database.write(
                lambda connection: self._store.store(connection, batch), self._store.kept
            )
        except StoreFailure:
            self._store.forget()
            raise
        except Exception as error:
            # A record that breaks our own code must not stop the others: it is tried alone, then buried.
            self._store.forget()
            raise StoreFailure(f"{self._database.name}: {type(error).__name__}") from error
        self._metrics.batch_seconds.labels(self._database.name).observe(time.monotonic() - began_s)
        self._metrics.batch_records.labels(self._database.name).observe(len(batch.records))
        return taken

    def _fail(self, failure: StoreFailure, batch: Batch) -> None:
        self.failure = failure
        self._metrics.failing.labels(self._database.name).set(1)
        self.on_failure(failure, batch)

    def _tell(self, taken: Taken, batch: Batch) -> None:
        if self.failure is not None:
            self.failure = None
            self._metrics.failing.labels(self._database.name).set(0)
        reach("committed")
        self._committed(taken, batch)
        self._metrics.receipt_seconds.labels(self._database.name).observe(time.monotonic() - batch.arrived_s)
