"""The buffer as the rest of the edge sees it: three files behind one object.

Every method that stores returns only after the commit that holds the data is synced to disk.  Called on the
event loop; the files' own threads do the work.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog
from telemed.numbers import Run
from telemed.shed import Reason
from telemed.topics import CLASS_OF, STORED, Up
from telemed.v1 import alarm_pb2, event_pb2
from telemed.wire import Kind, Record

from edge_node.buffer import (
    eventlog,
    history,
    intake,
    maintenance,
    outbox,
    retention,
    salvage,
    scrub,
    shedding,
    shelves,
    tombstone,
    trend,
)
from edge_node.buffer.auditlog import AuditLog
from edge_node.buffer.clock import NodeClock, boot_number
from edge_node.buffer.company import Company
from edge_node.buffer.delivery import Receipt
from edge_node.buffer.erasing import Stretch
from edge_node.buffer.file import LogFile
from edge_node.buffer.forgetting import Forgetting
from edge_node.buffer.grace import GraceOfFile
from edge_node.buffer.keycare import KeyCare
from edge_node.buffer.opening import translated
from edge_node.buffer.outbox import Batch, Gone, StreamKey, StreamState
from edge_node.buffer.reserve import STEP_BYTES, Reserve
from edge_node.buffer.room import Room, free_bytes
from edge_node.buffer.schema import CARE, FILES, NAMES, VITALS
from edge_node.buffer.sealing import Keeping, Sealing
from edge_node.buffer.shedding import Window
from edge_node.buffer.tombstone import GivenUp
from edge_node.buffer.trend import MINUTE_NS, TrendRow
from edge_node.errors import BufferDamaged, BufferFailure, BufferFull, KeyUnavailable
from edge_node.one_writer import Synchronous
from edge_node.samples.measurement import Intake, NumericSet, Stored

ALARM_STREAM = "node/alarm"
SWEEP_EVERY_S, SAVE_EVERY_S = 300, 5.0
TIGHT_EVERY_S = 0.5
"""How soon room is made again while there is too little."""
MIB = 1024 * 1024
SEALED = Keeping()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """What of one class the hub has not acknowledged."""

    records: int
    oldest_ns: int
    """When the oldest of them came in, wall clock; 0 = none."""


class Buffer:
    """Outbox, history and event log of one node; made by `open`, ended by `close`."""

    def __init__(
        self, folder: Path, files: Mapping[str, LogFile], reserve: Reserve, limit_bytes: int, keep_sent_hours: float
    ) -> None:
        self.clock = NodeClock(boot_number())
        """Tells the node's time and stamps what comes in; hears of the hub's from the uplink."""
        self.room = Room(folder, files, reserve, limit_bytes, self.clock)
        self.on_stored: list[Callable[[Up, Collection[StreamKey]], None]] = []
        """Called on the event loop after each commit that added records of a class, with the streams they are of."""
        self.goes_at_once: Callable[[Intake], bool] = lambda _intake: True
        """Whether an intake must not wait for others to share its commit; the node says which may raise an alarm."""
        self.audit = AuditLog(files[CARE], self.clock)
        self.on_gone: list[Callable[[Gone], None]] = []
        """Called on the event loop after each commit that declared numbers given up."""
        self.life, self.former_lives = files[VITALS].epoch, files[VITALS].former_epochs
        """Random number of this life of the store, and of those that had it before."""
        self.damaged = salvage.kept_aside(folder)
        """Names of damaged files that were replaced and that nobody has taken away yet."""
        self.keys = KeyCare(files, self.clock, has_room=self.room.may_take, may_forget=lambda: not self.damaged)
        self._forgetting = Forgetting(files)
        self._must_scrub = True
        """Whether the unsent records were not looked at since the start, or a damaged one was met."""
        self._fallen: dict[StreamKey, int] = {}
        """Streams of which the hub lost something since the last upkeep, and up to where it had them."""
        self._files = files
        self._keep_sent_hours = keep_sent_hours
        self._trends = trend.Trends()
        self._graces = {name: GraceOfFile(file, self.clock) for name, file in files.items()}
        for file in files.values():
            file.on_stored = self._tell
            file.on_gone = self._tell_gone

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        group_commit_ms: float = 15,
        share_commit_ms: float = 0,
        limit_mib: int = 2048,
        keep_sent_hours: float = 24 * 30,
        synchronous: Synchronous = "FULL",
        keeping: Keeping = SEALED,
    ) -> "Buffer":
        """Open or make the files in `folder`, checking each; blocking.

        `synchronous` is FULL in the product; the test of durability shows what the others would lose.  `keeping` says
        where the keys are and whether what comes in is sealed.

        Raises:
            BufferDamaged: a file fails its check even after what is sound of it was moved into a new one.
            BufferNewer: a file is of newer software; it is left as it is.
        """
        folder.mkdir(parents=True, exist_ok=True)
        limit_bytes = limit_mib * MIB
        reserve = Reserve(folder, min(limit_bytes, _there_bytes(folder)))
        if free_bytes(folder) < STEP_BYTES:
            # A file can be opened only with room for what its readers share.
            reserve.give()
        files: dict[str, LogFile] = {}
        sealing = Sealing.open(folder, keeping, _needed_keys(folder))
        with contextlib.ExitStack() as undo:
            for name in NAMES:
                make = partial(
                    LogFile,
                    folder / name,
                    sealing=sealing,
                    group_commit_ms=group_commit_ms,
                    synchronous=synchronous,
                    make_room=reserve.give,
                )
                files[name] = _opened(folder / name, make, sealing)
                undo.callback(files[name].close)
            undo.pop_all()
        files[VITALS].lobby.company = Company(share_commit_ms / 1000)
        buffer = cls(folder, files, reserve, limit_bytes, keep_sent_hours)
        buffer.clock.not_before(max(file.newest_ns() for file in files.values()))
        reserve.fill(buffer.room.disk().refill_bytes())
        return buffer

    def close(self) -> None:
        """Finish what was asked for and close the files; idempotent, blocking."""
        for file in self._files.values():
            file.close()

    async def store_intake(self, brought: Intake) -> Stored:
        """Store what a device brought, all of it or nothing; after this returns its sender may be acknowledged.

        Raises:
            BufferFull: not stored; the sender must try again later.
            BufferDamaged: the file is damaged.
        """
        if not self.room.may_take():
            raise BufferFull("the store is full: what is left is kept for alarms and care")
        return await self._files[VITALS].write(
            lambda batch: intake.store(batch, self.clock, self._trends, brought), patience_s=self._patience_s(brought)
        )

    def _patience_s(self, brought: Intake) -> float:
        """Return how long an intake may wait for others; what must be kept as it came never does."""
        devices = [sample.device for sample in brought.sets] or [wave.device for wave in brought.waves]
        if not devices:
            return 0.0
        sender = devices[0]
        company, now_s = self._files[VITALS].lobby.company, time.monotonic()
        company.came(sender, now_s)
        return 0.0 if brought.raw or self.goes_at_once(brought) else company.wait_s(sender, now_s)

    async def append_alarms(
        self, events: Sequence[alarm_pb2.AlarmEvent], evaluated: Mapping[str, int] | None = None
    ) -> None:
        """Store alarm events, flushed at once; with the cursors of what they were found in, if given."""
        bodies = [event.SerializeToString() for event in events]

        def work(batch: Batch) -> None:
            for body in bodies:
                outbox.append(batch, ALARM_STREAM, Kind.ALARM_EVENT, self.clock.stamp(), body)
            batch.connection.executemany(history.UPSERT_EVALUATED, list((evaluated or {}).items()))

        await self._file(Up.ALARM).write(work, urgent=True, may_use_reserve=True)

    async def propose(self, event: event_pb2.Event) -> None:
        """Store an event for the hub to order; harmless when done twice with the same event_id."""
        stamp = self.clock.stamp()
        await self._file(Up.CARE).write(
            lambda batch: eventlog.propose(batch, stamp, event), urgent=True, may_use_reserve=True
        )

    async def apply_page(self, page: event_pb2.EventPage) -> list[event_pb2.OrderedEvent]:
        """Store what of a page comes next and return it in order; strictly by site_seq, twice is harmless."""
        return await self._file(Up.CARE).write(
            lambda batch: eventlog.apply_page(batch, page), urgent=True, may_use_reserve=True
        )

    async def ordered_events(self, aggregate_type: str = "") -> list[event_pb2.OrderedEvent]:
        """Return the site's log as far as it is known here, in order; "" = of every type."""
        return await self._file(Up.CARE).read(lambda connection: eventlog.ordered_events(connection, aggregate_type))

    async def pending_events(self) -> list[event_pb2.Event]:
        """Return what this node proposed and the hub has not ordered yet."""
        return await self._file(Up.CARE).read(eventlog.pending_events)

    async def event_cursor(self) -> int:
        """Return the last site_seq stored here."""
        return await self._file(Up.CARE).read(eventlog.cursor)

    async def alarm_events(self, since_ns: int) -> list[alarm_pb2.AlarmEvent]:
        """Return alarm events stored after `since_ns` (wall clock), oldest first."""
        return await self._file(Up.ALARM).read(lambda connection: history.alarms_since(connection, since_ns))

    async def sets_since(self, since_ns: int) -> list[NumericSet]:
        """Return numeric sets of all devices that arrived after `since_ns`, oldest first."""
        keys = self._numeric()
        return await self._files[VITALS].read(lambda connection: history.sets_since(connection, keys, since_ns))

    async def last_known(self, devices: Sequence[str], since_ns: int) -> list[NumericSet]:
        """Return sets that hold the newest value of each measure of some devices since then, oldest first."""
        await self._fold()
        keys = [key for key in self._numeric() if key.stream.partition("/")[0] in devices]
        return await self._files[VITALS].read(
            lambda connection: history.last_known(connection, keys, devices, since_ns)
        )

    async def trends(self, devices: Sequence[str], from_ns: int, to_ns: int, step_s: int) -> list[TrendRow]:
        """Return low, high and last of the valid values of some devices together, in steps of whole minutes."""
        await self._fold()
        minutes = await self._files[VITALS].read(lambda connection: history.trends(connection, devices, from_ns, to_ns))
        return trend.steps(minutes, step_s)

    async def evaluated_up_to(self, device: str) -> int:
        """Return the arrival time up to which a device's sets were judged for alarms; 0 = none were."""
        row = await self._file(Up.ALARM).read(
            lambda connection: connection.execute(history.SELECT_EVALUATED, (device,)).fetchone()
        )
        return int(row[0]) if row else 0

    async def set_evaluated(self, marks: Mapping[str, int]) -> None:
        """Note the arrival time (ns) up to which each device's sets were judged for alarms."""
        await self.append_alarms([], marks)

    def streams(self, up: Up) -> Mapping[StreamKey, StreamState]:
        """Return how far each stream of a class has come, as of the last commit."""
        return self._file(up).streams[up]

    async def read_run(self, up: Up, key: StreamKey, first: int, last: int) -> list[Record]:
        """Return the sound records first to last of a stream that are still there, in order; if none is, the next."""
        file = self._file(up)
        at_hand = file.recent.run(key, first, last)
        if at_hand is not None:
            return at_hand
        found = await file.read(lambda connection: outbox.read_sound(connection, key, first, last))
        self._must_scrub |= found.has_damaged
        return found.records

    async def first_since(self, up: Up, key: StreamKey, since_ns: int) -> int:
        """Return the lowest number that is still there and came in since then, acknowledged or not; 0 = none."""
        return await self._file(up).read(lambda connection: outbox.first_since(connection, key, 0, since_ns))

    async def read_stored(self, up: Up, key: StreamKey, first: int, last: int) -> list[Record]:
        """Return the records first to last that are in the file, whatever is at hand in memory.

        Raises:
            KeyUnavailable: some cannot be opened for want of their key, so that nobody knows whether they are sound.
        """
        found = await self._file(up).read(lambda connection: outbox.read_run(connection, key, first, last))
        if any(outbox.is_locked(record) for record in found):
            raise KeyUnavailable(self.keys.sealing.reason)
        return found

    async def newest_hour_from(self, up: Up, key: StreamKey) -> int:
        """Return the first unacknowledged number of the newest hour, 0 where all of them are of it."""
        file = self._file(up)
        state = file.state(key)
        since_ns = self.clock.now_ns() - retention.HOUR_NS
        if state.waiting == 0 or state.oldest_ns >= since_ns:
            return 0
        return await file.read(lambda connection: outbox.first_since(connection, key, state.acked, since_ns))

    async def acknowledge(self, up: Up, contigs: Mapping[StreamKey, int]) -> None:
        """Note how far the hub has each stream; lower than before where the hub lost what it had.

        Of what it lost, that of which there is no copy any more is declared: it must not be waited for.
        """
        file = self._file(up)
        for key, contig in contigs.items():
            if contig < file.state(key).acked:
                self._fallen[key] = max(file.state(key).acked, self._fallen.get(key, 0))
        await file.acknowledge(contigs)
        for key in contigs.keys() & self._fallen.keys():
            await self._graces[FILES[up]].lower(key, contigs[key])
        for key in contigs.keys() & self._fallen.keys():
            await self._declare_gone(key, self._fallen[key])

    async def yield_to(self, up: Up, key: StreamKey, receipt: Receipt) -> None:
        """Give up the numbers of a stream that the hub has and that were never given out here: its disk was put back.

        What the hub has stays as it is.  What it lacks of a former self is declared, as nobody can send it any more.
        Of an epoch that still runs, what is stored here under numbers that the hub has is numbered anew and sent
        again: it may be another record, and twice is better than not at all.
        """
        file = self._file(up)
        state = file.state(key)
        if not state.is_closed:
            await file.begin_anew()
            await self._renumber(file, file.state(key), receipt)
        file.concede(key, receipt.max)
        lost = [(max(first, state.next_seq), last) for first, last in receipt.gaps if last >= state.next_seq]
        if lost:
            given_up, stamp = GivenUp(key, lost, Reason.DAMAGED, state.acked), self.clock.stamp()
            await file.write(lambda batch: tombstone.declare(batch, stamp, given_up), may_use_reserve=True)

    async def _renumber(self, file: LogFile, state: StreamState, receipt: Receipt) -> None:
        for first in range(state.acked + 1, state.next_seq, maintenance.CHUNK_ROWS):
            last = min(first + maintenance.CHUNK_ROWS, state.next_seq) - 1
            await file.write(partial(_renumbered, key=state.key, run=(first, last), receipt=receipt))
        file.recent.forget(state.key, [(state.acked + 1, state.next_seq - 1)])

    @property
    def epochs(self) -> list[int]:
        """Epochs under which numbers are given out now."""
        return [file.epoch for file in self._files.values()]

    def waiting(self) -> dict[Up, Waiting]:
        """Return what waits for the hub, by class; cheap."""
        return {up: _waiting(self.streams(up).values()) for up in STORED}

    def hours_left(self) -> float | None:
        """Return how long the room lasts at the rate of the last ten minutes; None until it is known."""
        return self.room.hours_left()

    def declared(self) -> list[tuple[StreamKey, Run]]:
        """Return the streams of which numbers are declared given up and not receipted, each from first to last."""
        return [
            (key, (runs[0][0], runs[-1][1])) for file in self._files.values() for key, runs in file.declared.items()
        ]

    @property
    def gives_up(self) -> bool:
        """Whether measurements were given up for want of room of which the hub does not know yet."""
        return self._files[VITALS].has_given_up

    async def run(self) -> None:
        """Write down what is known in memory, and delete what may go, now and then, until cancelled."""
        swept_s = time.monotonic() - SWEEP_EVERY_S
        while True:
            await self._attempt(self.declare_gone)
            # Room first: what is written down next may wait a moment for a message to share its commit with.
            await self._attempt(self.make_room)
            await self._attempt(self.save)
            if self._must_scrub:
                await self._attempt(self.scrub)
            await self._attempt(self.keys.prepare)
            await self._attempt(self.keys.renew)
            await self._attempt(self.keys.reseal)
            if time.monotonic() - swept_s >= SWEEP_EVERY_S:
                swept_s = time.monotonic()
                await self._attempt(self.sweep)
            is_tight = self.room.used_share() > retention.SHED_SHARE
            await asyncio.sleep(TIGHT_EVERY_S if is_tight else SAVE_EVERY_S)

    async def _attempt(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do one step of the upkeep; where it fails the others go on, and it is tried again with the next upkeep."""
        try:
            await step()
        except BufferFailure as failure:
            log.warning("buffer.upkeep-failed", step=step.__name__, code=failure.code)

    async def scrub(self) -> int:
        """Declare what the disk has damaged of what was not sent yet; return how many records that were."""
        self._must_scrub = False
        return await self._each(lambda file: scrub.scrub(file, self.clock))

    async def erase(self, stretch: Stretch) -> int:
        """Erase for good what a device measured in a stretch of time, see `KeyCare.erase`."""
        await self._fold()
        return await self.keys.erase(stretch)

    async def declare_gone(self) -> None:
        """Declare what the hub lost and nobody has any more, also what went or could not be declared when it said so.

        Part of the upkeep, because no clean-up is under way then.
        """
        fallen = dict(self._fallen)
        for key, last in fallen.items():
            await self._declare_gone(key, last)
            if self._fallen[key] == last:
                del self._fallen[key]

    async def make_room(self) -> int:
        """Thin or give up what may go where there is too little room; return how many records went."""
        return await self.room.keep(self._near_alarms)

    async def save(self) -> None:
        """Write down how far the streams have come, and the trends."""
        await self._each(LogFile.save_states)
        await self._fold(self._files[VITALS].lobby.upkeep_patience_s())

    async def _each(self, work: Callable[[LogFile], Awaitable[int]]) -> int:
        """Do the same with every file, also where one of them fails; return the sum.

        Raises:
            BufferFailure: the first failure, once all the others are done.
        """
        total, failures = 0, []
        for file in self._files.values():
            try:
                total += await work(file)
            except BufferFailure as failure:
                failures.append(failure)
        if failures:
            raise failures[0]
        return total

    async def sweep(self) -> int:
        """Delete rows that are past their keeping and that the hub has had for a grace; return how many rows went.

        So go the copies of what is about persons who were erased, as soon as the hub has them.
        """
        for kept in self._graces.values():
            await kept.go_on(retention.GRACE_HOURS * retention.HOUR_NS / 1e9)
        share = self.room.used_share()
        now_ns = self.clock.now_ns()
        gone = 0
        for up in STORED:
            hours = retention.keep_hours(up, share, self._keep_sent_hours)
            before_ns = retention.cutoff_ns(now_ns, hours)
            for state in list(self.streams(up).values()):
                gone += await self._delete_sent(up, state, before_ns)
        gone += await self._forgetting.round()
        for file in self._files.values():
            await file.forget_closed()
        old_ns = retention.cutoff_ns(now_ns, self._keep_sent_hours)
        gone += await self._delete(maintenance.DELETE_KEPT, old_ns)
        gone += await self._delete(maintenance.DELETE_TREND, old_ns // MINUTE_NS)
        gone += await self._delete(maintenance.DELETE_MINUTES, old_ns // MINUTE_NS)
        return gone

    async def _delete_sent(self, up: Up, state: StreamState, before_ns: int) -> int:
        """Delete what the hub has had of a stream for a grace and what came in before that time."""
        file = self._file(up)
        first_kept = await file.read(lambda connection: outbox.first_since(connection, state.key, 0, before_ns))
        may_go = min(state.acked, self._graces[FILES[up]].floor(state.key))
        last = min(may_go, first_kept - 1) if first_kept else may_go
        total = 0
        delete = partial(maintenance.delete_run, state=state, last=last)
        while gone := await file.write(delete, may_use_reserve=True):
            total += gone
        return total

    async def _declare_gone(self, key: StreamKey, last: int) -> None:
        """Declare the numbers that the hub has not, up to `last`, of which there is no copy here."""
        file = self._file(CLASS_OF[key.kind])
        acked = file.state(key).acked
        runs = await file.read(lambda connection: outbox.undeclared(connection, key, acked + 1, last))
        if runs:
            log.error("buffer.copies-gone", stream=key.stream, runs=len(runs))
            given_up, stamp = GivenUp(key, runs, Reason.COPY_GONE, acked), self.clock.stamp()
            await file.write(lambda batch: tombstone.declare(batch, stamp, given_up), may_use_reserve=True)

    async def _delete(self, statement: str, before: int) -> int:
        total = 0
        delete = maintenance.deletion(statement, before)
        while gone := await self._files[VITALS].write(delete, may_use_reserve=True):
            total += gone
        return total

    async def _fold(self, patience_s: float = 0.0) -> None:
        """Write the trends that are folded in memory; where there is no room they stay there, and can be read later."""
        if self._trends.is_behind or self._trends.folds:
            with contextlib.suppress(BufferFull):
                await self._files[VITALS].write(
                    lambda batch: history.write_trends(batch, self._trends), patience_s=patience_s
                )

    async def _near_alarms(self) -> list[Window]:
        since_ns = self.clock.now_ns() - shedding.WAVES_YOUNG_NS - shedding.AROUND_ALARM_NS
        try:
            return shedding.windows(await self.alarm_events(since_ns))
        except BufferFailure as failure:
            log.warning("buffer.alarms-unread", code=failure.code)
            return [shedding.ALWAYS]

    def _numeric(self) -> list[StreamKey]:
        return [key for key in self.streams(Up.VITALS) if key.kind == "numeric"]

    def _file(self, up: Up) -> LogFile:
        return self._files[FILES[up]]

    def _tell_gone(self, gone: Gone) -> None:
        for told in self.on_gone:
            told(gone)

    def _tell(self, stored: Mapping[Up, Collection[StreamKey]]) -> None:
        for up, keys in stored.items():
            for told in self.on_stored:
                told(up, keys)


def _renumbered(batch: Batch, key: StreamKey, run: Run, receipt: Receipt) -> None:
    """Number anew what is stored under numbers of a run that the hub has."""
    for record in outbox.read_run(batch.connection, key, *run):
        if record.seq <= run[1] and receipt.has(record.seq):
            outbox.renumber(batch, record)


def _opened(path: Path, make: Callable[[], LogFile], sealing: Sealing) -> LogFile:
    """Open a file; where it is damaged, a new one with all that is sound of it."""
    salvage.finish(path)
    try:
        return make()
    except BufferDamaged as damage:
        log.error("buffer.damaged", file=path.name, reason=str(damage))
        try:
            salvage.replace(path, time.strftime("%Y%m%d-%H%M%S"), NodeClock(boot_number()).stamp(), sealing)
        except sqlite3.Error as error:
            raise translated(error, path.name) from error
        return make()


def _needed_keys(folder: Path) -> set[int]:
    """Return ids of keys that the newest rows stand under; before files are opened, as a damaged one is mended then."""
    found: Counter[int] = Counter()
    for name in NAMES:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_looked_at(folder / name)) as connection:
            found += shelves.newest_keys(connection, name)
    # Of one row alone the disk may have changed the id: that is no reason to lock a store.
    return {key_id for key_id, rows in found.items() if rows > 1}


def _looked_at(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _there_bytes(folder: Path) -> int:
    """Return how much room the store could have: what is free, and what it has already."""
    with contextlib.suppress(OSError):
        return free_bytes(folder) + sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    return free_bytes(folder)


def _waiting(states: Iterable[StreamState]) -> Waiting:
    behind = [state for state in states if state.waiting > 0]
    return Waiting(sum(state.waiting for state in behind), min((state.oldest_ns for state in behind), default=0))
