"""The hub's side of a comparison with a node: looks at what is stored, asks again for what is missing, and reports.

A run may end anywhere: what it asked for again comes by the usual way, and the next run begins anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection
from telemed.errors import Code, WireError
from telemed.numbers import Run
from telemed.reconcile import BLOCK_RECORDS, BLOCKS_LIMIT, CONFLICTS_LIMIT, unpack
from telemed.topics import NodeAddress
from telemed.v1 import reconcile_pb2
from telemed.wire import Record, decode

from cloud_hub.errors import NotFound, PieceMisplaced
from cloud_hub.rpc.differences import Findings, is_same, judge
from cloud_hub.rpc.metrics import ReconcileMetrics
from cloud_hub.store import holdings, reconciliations, reopening
from cloud_hub.store.engine import Database
from cloud_hub.store.holdings import COUNT_AT_ONCE, Holding, Name
from cloud_hub.store.reconciliations import Reconciliation, State, Tally
from cloud_hub.store.streams import read_watermark
from cloud_hub.store.watermarks import Watermark

Work = Callable[[Connection], tuple[Watermark, int]]
LARGEST = 2**63 - 1
MOST_PARTS = 16
"""Parts of COUNT_AT_ONCE numbers that one call counts at most: twelve days of a record a second."""
NOTED = {"lost": Code.RECORDS_LOST, "conflicts": Code.RECORDS_DIFFER, "damaged": Code.RECORDS_DAMAGED}
"""What the operator is told of."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Reconciling:
    """What the calls need; made once by whoever joins the hub."""

    care: Database
    samples: Database
    reopen: Callable[[Name, Work], Awaitable[int]]
    """Does work that takes numbers back, and sends the receipts that say so."""
    note: Callable[[NodeAddress, str, int], None]
    """Tells the operator."""
    told: Callable[[Reconciliation], None]
    """Called on the event loop when a run has ended."""
    metrics: ReconcileMetrics
    clock: Callable[[], int]
    """Nanoseconds since the Unix epoch."""
    one_at_a_time: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """A night's comparisons of many nodes must not take the readers from the screens."""
    brought: dict[str, int] = field(default_factory=dict)
    """How many differing records each running run has brought."""

    async def begin(self, address: NodeAddress, asked: reconcile_pb2.ReconcileBegin) -> None:
        """Open a run; those of this node that never ended are closed.

        Raises:
            PieceMisplaced: it has no usable name.
        """
        if not 0 < len(asked.run_id) <= 36:
            raise PieceMisplaced("a run has a name of 1 to 36 characters")
        for old in await self.care.read(lambda c: reconciliations.running(c, address)):
            if old.run_id != asked.run_id:
                await self._end(old, "broken")
        reason = "asked" if asked.reason == "asked" else "nightly"
        now_ns = self.clock()
        await self.care.write(lambda c: reconciliations.begin(c, asked.run_id, address, reason, now_ns))

    async def compare(self, address: NodeAddress, asked: reconcile_pb2.CompareRequest) -> list[int]:
        """Return the first numbers of the blocks that must be looked at record by record.

        Raises:
            NotFound: there is no such run.
            PieceMisplaced: a block is not one.
        """
        run = await self._running(address, asked.run_id)
        name = Name(address, asked.stream, asked.epoch)
        if len(asked.blocks) > BLOCKS_LIMIT or not 1 <= asked.held_from <= LARGEST:
            raise PieceMisplaced("too many blocks, or no number to begin with")
        lost = await self._lost_before(name, asked.held_from - 1) if asked.is_first else 0
        differing, compared = [], 0
        for block in asked.blocks:
            _check(block.first, block.last)
            if is_same(block, await self._held(name, (block.first, block.last))):
                await self._verified(name, (block.first, block.last))
                compared += block.records
            else:
                differing.append(int(block.first))
        await self._add(run, name.stream, Tally(streams=int(asked.is_first), compared=compared, lost=lost))
        return differing

    async def settle(self, address: NodeAddress, asked: reconcile_pb2.SettleRequest) -> tuple[int, Findings]:
        """Ask again for what is missing of a block; return how many numbers that are, and what was found.

        Raises:
            NotFound: there is no such run.
            PieceMisplaced: the block is not one, or its marks cannot be read.
        """
        run = await self._running(address, asked.run_id)
        name, block = Name(address, asked.stream, asked.epoch), (asked.first, asked.last)
        _check(*block)
        try:
            theirs = unpack(asked.marks)
        except ValueError as error:
            raise PieceMisplaced(str(error)) from error
        excused = await self._store(name).read(lambda c: _excused(c, name, block))
        found = judge(block, theirs, await self._held(name, block), excused)
        reopened = 0
        if found.missing:
            now_ns = self.clock()
            reopened = await self.reopen(name, lambda c: reopening.reopen(c, name, found.missing, asked.run_id, now_ns))
            log.warning("records-missing", node=address.node, stream=name.stream, records=len(found.missing))
        await self._verified(name, block)
        tally = Tally(
            compared=len(theirs), lost=len(found.gone), conflicts=len(found.differing), damaged=len(asked.damaged)
        )
        await self._add(run, name.stream, tally)
        return reopened, found

    async def quarantine(self, address: NodeAddress, asked: reconcile_pb2.QuarantineRequest) -> None:
        """Keep the node's version of records that differ, beside the hub's own.

        Raises:
            NotFound: there is no such run.
            PieceMisplaced: the container cannot be read, or the run has brought too much.
        """
        run = await self._running(address, asked.run_id)
        try:
            records = decode(asked.container)
        except WireError as error:
            raise PieceMisplaced(str(error)) from error
        brought = self.brought.get(run.run_id, 0) + len(records)
        if brought > CONFLICTS_LIMIT:
            raise PieceMisplaced(f"{brought} records")
        self.brought[run.run_id] = brought
        by_store: dict[bool, list[Record]] = {False: [], True: []}
        for record in records:
            by_store[Name(address, record.stream, record.epoch).is_care].append(record)
        now_ns = self.clock()
        await self.samples.write(lambda c: reopening.quarantine(c, address, by_store[False], now_ns))
        await self.care.write(lambda c: reopening.quarantine(c, address, by_store[True], now_ns))

    async def finish(self, address: NodeAddress, asked: reconcile_pb2.FinishRequest) -> Reconciliation:
        """Return how far a run is; it ends where everything is back, or where the node waits no longer.

        Raises:
            NotFound: there is no such run.
        """
        run = await self._run(address, asked.run_id)
        if run.state != "running":
            return run
        healed, missing = await self._counts(run)
        if missing and not asked.is_last:
            return replace(run, healed=healed, open=missing)
        return await self._end(run, "finished")

    async def _end(self, run: Reconciliation, state: State) -> Reconciliation:
        self.brought.pop(run.run_id, None)
        counts, now_ns = await self._counts(run), self.clock()
        await self.care.write(lambda c: reconciliations.end(c, run, state, counts, now_ns))
        for care, database in ((True, self.care), (False, self.samples)):
            await database.write(lambda c, care=care: reopening.close(c, care, run.run_id))  # type: ignore[misc]
        ended = await self._run(run.address, run.run_id)
        if counts[1] and state == "finished":
            self.note(run.address, Code.RECORDS_OPEN, counts[1])
        self.metrics.ended(run.address.site, state, healed=counts[0], now_s=now_ns / 1e9)
        self.told(ended)
        log.info(
            "reconciled", node=run.address.node, state=state, healed=counts[0], open=counts[1], lost=run.tally.lost
        )
        return ended

    async def _counts(self, run: Reconciliation) -> tuple[int, int]:
        """Return how many numbers a run healed, and how many it asked for that are not back."""
        healed = missing = 0
        for care, database in ((True, self.care), (False, self.samples)):
            asked, open_ = await database.read(
                lambda c, care=care: reopening.still_missing(c, care, run.address, run.run_id)  # type: ignore[misc]
            )
            healed, missing = healed + asked - open_, missing + open_
        return healed, missing

    async def _run(self, address: NodeAddress, run_id: str) -> Reconciliation:
        found = await self.care.read(lambda c: reconciliations.find(c, run_id, address))
        if found is None:
            raise NotFound("there is no such comparison")
        return found

    async def _running(self, address: NodeAddress, run_id: str) -> Reconciliation:
        run = await self._run(address, run_id)
        if run.state != "running":
            raise NotFound("this comparison has ended")
        return run

    async def _held(self, name: Name, block: Run) -> Holding:
        async with self.one_at_a_time:
            return await self._store(name).read(lambda c: holdings.held(c, name, block))

    async def _lost_before(self, name: Name, last: int) -> int:
        """Count what is missing below what the node holds, of numbers that were never looked at.

        A node may name any number: what was never acknowledged is not looked at, and of more than MOST_PARTS the rest
        is left to the next runs.
        """
        store, lost = self._store(name), 0
        first = 1 + await store.read(lambda c: reopening.verified_to(c, name))
        highest = await store.read(lambda c: _gaps(c, name).mark.max)
        last = min(last, highest, first - 1 + MOST_PARTS * COUNT_AT_ONCE)
        while first <= last:
            part = (first, min(last, first + COUNT_AT_ONCE - 1))
            async with self.one_at_a_time:
                lost += await store.read(lambda c, part=part: _missed(c, name, part))  # type: ignore[misc]
            await self._verified(name, part)
            first = part[1] + 1
        return lost

    async def _verified(self, name: Name, run: Run) -> None:
        if await self._store(name).read(lambda c: reopening.verified_to(c, name)) < run[1]:
            await self._store(name).write(lambda c: reopening.note_verified(c, name, run))

    async def _add(self, run: Reconciliation, stream: str, tally: Tally) -> None:
        await self.care.write(lambda c: reconciliations.add(c, run, stream, tally))
        self.metrics.found(tally)
        for what, count in tally.not_well().items():
            self.note(run.address, NOTED[what], count)
            log.error("records-not-well", what=what, node=run.address.node, stream=stream, records=count)

    def _store(self, name: Name) -> Database:
        return self.care if name.is_care else self.samples


def _missed(connection: Connection, name: Name, run: Run) -> int:
    """Count what is missing of a run and was acknowledged: what was not may still come."""
    gaps = _gaps(connection, name)
    return sum(
        seq not in gaps for first, last in holdings.missing(connection, name, run) for seq in range(first, last + 1)
    )


def _excused(connection: Connection, name: Name, block: Run) -> set[int]:
    """Return the numbers of a block that nobody misses."""
    side, key = holdings.side_of(name), holdings.key_of(connection, name)
    shed = holdings.declared(connection, side, key, block) if key else []
    open_ones = _gaps(connection, name)
    declared = {seq for first, last in shed for seq in range(first, last + 1)}
    return declared | {seq for seq in range(block[0], block[1] + 1) if seq in open_ones}


def _gaps(connection: Connection, name: Name) -> "_Unacknowledged":
    key = holdings.key_of(connection, name)
    mark = Watermark() if key is None else read_watermark(connection, holdings.side_of(name).watermark, key)
    return _Unacknowledged(mark)


@dataclass(frozen=True, slots=True)
class _Unacknowledged:
    """Numbers of which the hub never said, or says no more, that it has them."""

    mark: Watermark

    def __contains__(self, seq: object) -> bool:
        return isinstance(seq, int) and not self.mark.has(seq)


def _check(first: int, last: int) -> None:
    if not (1 <= first <= last <= LARGEST and (first - 1) // BLOCK_RECORDS == (last - 1) // BLOCK_RECORDS):
        raise PieceMisplaced(f"{first} to {last} are not of one block")
