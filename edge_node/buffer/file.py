"""One database file: one writer thread that commits in groups, and readers beside it (decision 11)."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from telemed.numbers import Run
from telemed.topics import CLASS_OF, STREAM_KINDS, Up

from edge_node.buffer import failpoint, outbox, schema, tombstone
from edge_node.buffer.disk import PAGE_BYTES, WAL_BYTES, FileSize
from edge_node.buffer.lobby import MOST_HELD, Lobby
from edge_node.buffer.opening import connect, may_open, open_checked, translated
from edge_node.buffer.outbox import Batch, Gone, StreamKey, StreamState
from edge_node.buffer.recent import Recent
from edge_node.buffer.sealing import Sealing
from edge_node.errors import BufferFailure, BufferFull
from edge_node.one_writer import BUSY_TIMEOUT_MS, Synchronous

T = TypeVar("T")

READERS = 2
"""Reading connections a file: one is never behind the other's long query."""
MEASURE_EVERY_S = 1.0
NO_LIMIT_PAGES = 0xFFFFFFFE
EMPTY_WAL_MS = 50
"""How long the writer waits for readers when it empties the write-ahead log."""
EMPTY_WAL_BYTES = 1024 * 1024
"""A clean-up that leaves a longer one empties it: else what was freed would be taken by it."""
RESERVE_TRIES = 4
"""How many steps of the reserve one commit may take."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Batch], Any]
    urgent: bool
    may_use_reserve: bool
    done: "asyncio.Future[Any]"
    batch: Batch | None = None
    result: Any = None
    failure: Exception | None = None


def _no_room() -> bool:
    return False


def _pushing(jobs: Iterable[_Job]) -> int:
    """Count those that have not waited for others already, and may do so for a moment."""
    return sum(not job.urgent for job in jobs)


class LogFile:
    """A file of the buffer, opened, checked and brought to the present version."""

    def __init__(
        self,
        path: Path,
        *,
        sealing: Sealing,
        group_commit_ms: float,
        synchronous: Synchronous = "FULL",
        make_room: Callable[[], bool] = _no_room,
    ) -> None:
        """Open or make the file; blocking.

        Args:
            path: The database file, one of `schema.NAMES`; its folder exists.
            sealing: Hides what is written and opens what is read.
            group_commit_ms: Longest wait for others to share a commit; only while there are others.
            synchronous: FULL; anything else is for the test that shows what it would lose.
            make_room: Gives up a step of the disk's reserve, for what may use it; False where nothing is left.

        Raises:
            BufferDamaged: the file fails its check.
            BufferNewer: it is of newer software; nothing of it is changed.
        """
        self.path = path
        self.recent = Recent()
        self.size = FileSize()
        self._freed_pages = 0
        self.grown_bytes = 0
        """How much was added since the file was opened; what retention frees is not taken off."""
        self.most_pages_bytes: int | None = None
        """How large the file may become; None: as large as the disk allows."""
        self._most_applied: int | None = None
        self._make_room = make_room
        self.on_stored: Callable[[Mapping[Up, Collection[StreamKey]]], None] = lambda _keys: None
        """Told on the event loop which streams of each class got records, after the commit, before who waits for it."""
        self.on_gone: Callable[[Gone], None] = lambda _gone: None
        """Told on the event loop what was declared given up, after the commit."""
        self._group_commit_s = group_commit_ms / 1000
        self._last_group = 1
        self._measured_s = 0.0
        self._must_shrink = False
        self._jobs: queue.SimpleQueue[list[_Job] | None] = queue.SimpleQueue()
        self.lobby: Lobby[_Job] = Lobby(self._jobs.put)
        """Where jobs wait for others to share their commit; used on the event loop alone."""
        self.sealing = sealing
        self._writer = open_checked(path, synchronous)
        may_open(self._writer, sealing)
        self._writer.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES[path.name] // PAGE_BYTES}")
        self.former_epochs = schema.former_epochs(self._writer)
        """Epochs of the lives that had this file before."""
        self.epoch = schema.begin_epoch(self._writer)
        """Epoch of this life: all new numbers are given out under it."""
        states = outbox.load_states(self._writer)
        self._shed = outbox.load_shed(self._writer)
        """Declared runs that the hub has not receipted; used on the event loop alone."""
        self._short_of_room = tombstone.last_for_room(self._writer, states.values())
        """Last number of each stream that was given up for want of room."""
        self.streams: dict[Up, dict[StreamKey, StreamState]] = {up: {} for up in STREAM_KINDS}
        """How far every stream of each class has come, as of the last commit; used on the event loop alone."""
        for key, state in states.items():
            gone = _gone(self._shed.get(key, []), state.acked)
            self._put(state._replace(gone=gone, is_closed=key.epoch != self.epoch))
        self._numbers = outbox.numbers_of(self.epoch, states)
        self._unsaved: set[StreamKey] = set()
        self._measure()
        self.grown_bytes = 0
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            reader = connect(path, "query_only = ON")
            may_open(reader, sealing)
            self._idle_readers.put(reader)
        self._readers = ThreadPoolExecutor(READERS, f"read-{path.stem}")
        self._thread = threading.Thread(target=self._run, name=f"write-{path.stem}", daemon=True)
        self._thread.start()

    async def write(
        self,
        work: Callable[[Batch], T],
        *,
        urgent: bool = False,
        may_use_reserve: bool = False,
        patience_s: float = 0.0,
    ) -> T:
        """Run `work` in a transaction of the writer; return its result after the synced commit.

        If the caller is cancelled, the work may or may not have been committed.  Where the disk is full, `work` may be
        run again, after what it did was taken back.

        Args:
            work: what to do.
            urgent: it waits for no others to share its commit.
            may_use_reserve: it is of what is taken when everything else is refused.
            patience_s: it waits so long at most; whatever is asked for meanwhile and does not wait takes it along.

        Raises:
            BufferFull: no room on the disk; nothing of this work is stored.
            BufferDamaged: the file is damaged.
            Whatever `work` raises; then nothing of it is stored.
        """
        if not self._thread.is_alive():
            raise BufferFailure(f"{self.path.name}: is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.lobby.add(_Job(work, urgent or patience_s > 0, may_use_reserve, done), patience_s)
        return await done

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a reading connection and return its result.

        Raises:
            BufferDamaged: the file is damaged.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def state(self, key: StreamKey) -> StreamState:
        """Return how far a stream has come; a new one where there is no such stream."""
        return self.streams[CLASS_OF[key.kind]].get(key) or StreamState(*key)

    async def acknowledge(self, contigs: Mapping[StreamKey, int]) -> None:
        """Note how far the hub has each stream; written down by the next `save_states`.

        Lower than before where the hub was restored from a backup.  A number that was never given out is not
        acknowledged: it can only be of another node's making.
        """
        for key, contig in contigs.items():
            state = self.state(key)
            if contig >= state.next_seq or contig == state.acked:
                continue
            oldest_ns = await self._arrived_ns(key, contig + 1) if contig < state.next_seq - 1 else 0
            gone = self._gone_over(key, contig)
            self._put(self.state(key)._replace(acked=contig, oldest_ns=oldest_ns, gone=gone))
            self._unsaved.add(key)

    def newest_ns(self) -> int:
        """Return when the newest record came in, 0 where there is none; blocking, for the start."""
        return self._read(outbox.newest_ns)

    @property
    def has_given_up(self) -> bool:
        """Whether something was given up for want of room of which the hub does not know yet."""
        return any(self.state(key).acked < last for key, last in self._short_of_room.items())

    @property
    def declared(self) -> Mapping[StreamKey, list[Run]]:
        """Numbers declared given up that the hub has not receipted."""
        return self._shed

    def concede(self, key: StreamKey, last: int) -> None:
        """Note that numbers up to `last` were given out although nothing stored here says so.

        For an epoch that is over; written down by the next `save_states`.
        """
        state = self.state(key)
        if state.is_closed and last >= state.next_seq:
            self._put(state._replace(next_seq=last + 1))
            self._unsaved.add(key)

    async def begin_anew(self) -> None:
        """Give no more numbers out under the present epoch, but under a new one.

        Raises:
            BufferFailure: the file cannot be written; the present epoch goes on.
        """

        def work(batch: Batch) -> int:
            epoch = schema.begin_epoch(batch.connection)
            # After the commit, as what shares it is numbered under the present one.
            batch.after_commit.append(lambda: batch.numbers.begin(epoch))
            return epoch

        self.epoch = await self.write(work, urgent=True, may_use_reserve=True)
        for streams in self.streams.values():
            for state in list(streams.values()):
                self._put(state._replace(is_closed=state.epoch != self.epoch))

    async def forget_closed(self) -> int:
        """Forget epochs that are over, delivered, and of which there is no copy left; return how many of streams."""
        done = [
            state.key
            for streams in self.streams.values()
            for state in streams.values()
            if state.is_closed and not state.waiting and state.key not in self._shed
        ]
        if not done:
            return 0
        gone = await self.write(lambda batch: outbox.forget(batch, done), may_use_reserve=True)
        for key in gone:
            self.streams[CLASS_OF[key.kind]].pop(key, None)
            self._unsaved.discard(key)
        return len(gone)

    async def look(self) -> None:
        """Bring `size` up to date."""
        await self.write(lambda _batch: self._measure_soon(), may_use_reserve=True)

    async def shrink(self) -> None:
        """Move the write-ahead log into the file, whose room others need."""
        await self.write(lambda _batch: self._shrink_soon(), may_use_reserve=True)

    async def save_states(self) -> int:
        """Write down how far the streams have come, and return of how many that was new.

        Losing the last of it costs a sending once more, no record.
        """
        states = self._to_save()
        try:
            if states:
                patience_s = self.lobby.upkeep_patience_s()
                await self.write(lambda batch: outbox.save(batch, states), may_use_reserve=True, patience_s=patience_s)
        except BufferFailure:
            self._unsaved |= {state.key for state in states}
            raise
        return len(states)

    def close(self) -> None:
        """Commit what was asked for, then close; idempotent, blocking."""
        if not self._thread.is_alive():
            return
        self.lobby.let_go()
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown(wait=True)
        while not self._idle_readers.empty():
            self._idle_readers.get().close()
        with contextlib.suppress(sqlite3.Error), self._writer:
            outbox.save(Batch(self._writer, self._numbers, self.sealing), self._to_save())
        # The writer goes last: the last connection to close writes the WAL back into the file.
        self._writer.close()

    async def _arrived_ns(self, key: StreamKey, seq: int) -> int:
        at_hand = self.recent.run(key, seq, seq)
        if at_hand:
            return at_hand[0].stamp.wall_ns
        return await self.read(lambda connection: outbox.arrived_ns(connection, key, seq))

    def _to_save(self) -> list[StreamState]:
        keys, self._unsaved = self._unsaved, set()
        return [self.state(key) for key in keys]

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._idle_readers.get()
        try:
            return work(connection)
        except sqlite3.Error as error:
            raise translated(error, self.path.name) from error
        finally:
            self._idle_readers.put(connection)

    def _run(self) -> None:
        running = True
        while running:
            jobs, running = self._gather()
            if jobs:
                self._commit(jobs)
                self._tell(jobs)

    def _gather(self) -> tuple[list[_Job], bool]:
        """Wait for a job and those that come soon after it; False beside them: the file is being closed."""
        group = self._jobs.get()
        jobs: list[_Job] = []
        until_s = time.monotonic() + self._group_commit_s
        while group is not None:
            jobs += group
            if len(jobs) >= MOST_HELD:
                break
            # Nobody is made to wait for company that the last commit did not have.
            is_complete = group[-1].urgent or _pushing(jobs) >= self._last_group
            wait_s = 0.0 if is_complete else max(0.0, until_s - time.monotonic())
            try:
                group = self._jobs.get(timeout=wait_s) if wait_s else self._jobs.get_nowait()
            except queue.Empty:
                break
        self._last_group = max(1, _pushing(jobs))
        return jobs, group is not None

    def _commit(self, jobs: list[_Job]) -> None:
        """Do the jobs in one transaction; each learns whether it is committed."""
        failure = self._transact(jobs)
        if isinstance(failure, BufferFull):
            # Whatever may not use the reserve is refused.
            jobs = [job for job in jobs if job.may_use_reserve]
            failure = self._transact_with_reserve(jobs) if jobs else failure
        if failure is not None:
            return
        failpoint.reach("after-commit")
        for job in jobs:
            for call in job.batch.after_commit if job.batch and not job.failure else ():
                call()
        self._freed_pages += sum(job.batch.freed_pages for job in jobs if job.batch and not job.failure)
        # What is committed is told whatever else fails: the writer must not end with somebody waiting for it.
        with contextlib.suppress(sqlite3.Error, OSError):
            if self._must_shrink or (self._freed_pages and self._wal_bytes() > EMPTY_WAL_BYTES):
                self._must_shrink = False
                self._empty_wal()
            if self._freed_pages or time.monotonic() - self._measured_s >= MEASURE_EVERY_S:
                self._measure()

    def _transact_with_reserve(self, jobs: list[_Job]) -> BufferFailure | None:
        """Try again what is taken when everything else is refused, with a little more room each time."""
        for _ in range(RESERVE_TRIES):
            # Moving the log needs a little room and gives back much.
            self._empty_wal()
            failure = self._transact(jobs, is_limited=False)
            if not isinstance(failure, BufferFull) or not self._make_room():
                break
        return failure

    def _empty_wal(self) -> None:
        """Move the write-ahead log into the file and give its room back, unless somebody reads it just now."""
        with contextlib.suppress(sqlite3.Error):
            self._writer.execute(f"PRAGMA busy_timeout = {EMPTY_WAL_MS}")
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._writer.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")

    def _transact(self, jobs: list[_Job], *, is_limited: bool = True) -> BufferFailure | None:
        """Try the jobs in one transaction; return why nothing of it is committed, None where it is."""
        taken: dict[str, int] = {}
        for job in jobs:
            job.failure, job.batch = None, None
        try:
            self._limit_growth(self.most_pages_bytes if is_limited else None)
            self._writer.execute("BEGIN IMMEDIATE")
            for job in jobs:
                self._attempt(job, taken, is_alone=len(jobs) == 1)
            failpoint.reach("before-commit")
            if self._writer.in_transaction:
                self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            failure = translated(error, self.path.name)
            for job in jobs:
                job.failure = job.failure or failure
            return failure
        self._numbers.given.update(taken)
        return None

    def _limit_growth(self, most_bytes: int | None) -> None:
        """Bring SQLite's own limit of the file's pages up to date: what would break it is refused as a full disk."""
        if most_bytes != self._most_applied:
            pages = NO_LIMIT_PAGES if most_bytes is None else max(1, most_bytes // PAGE_BYTES)
            self._writer.execute(f"PRAGMA max_page_count = {pages}").fetchone()
            self._most_applied = most_bytes

    def _attempt(self, job: _Job, taken: dict[str, int], *, is_alone: bool) -> None:
        """Do one job, in a savepoint if there are others, so that its failure takes back its own rows alone."""
        batch = Batch(self._writer, self._numbers, self.sealing, dict(taken))
        if not is_alone:
            self._writer.execute("SAVEPOINT job")
        try:
            job.result = job.work(batch)
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                raise  # a full disk or a damaged file concerns the whole group
            # Border of a thread: passed on to whoever waits for this job.
            job.failure = error
            self._writer.execute("ROLLBACK" if is_alone else "ROLLBACK TO job")
            batch = Batch(self._writer, self._numbers, self.sealing, dict(taken))
        if not is_alone:
            self._writer.execute("RELEASE job")
        taken.update(batch.taken)
        job.batch = batch

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some failures, a full disk among them.
        # A rollback that fails leaves the transaction open, and the next group fails as this one did.
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _tell(self, jobs: list[_Job]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody is left to tell
            jobs[0].done.get_loop().call_soon_threadsafe(self._publish, jobs)

    def _publish(self, jobs: list[_Job]) -> None:
        """Let the event loop know what was committed, first what is new, then whoever waits."""
        stored: defaultdict[Up, set[StreamKey]] = defaultdict(set)
        for job in jobs:
            if job.batch is None or job.failure:
                continue
            for record in job.batch.appended:
                key = StreamKey(record.stream, record.epoch)
                up = CLASS_OF[key.kind]
                streams = self.streams[up]
                streams[key] = (streams.get(key) or StreamState(*key)).with_record(record)
                self.recent.add(key, record)
                stored[up].add(key)
            for gone in job.batch.shed:
                self._note_gone(gone)
                self.on_gone(gone)
        if stored:
            self._unsaved.update(*stored.values())
            self.on_stored(stored)
        for job in jobs:
            if job.done.done():
                continue
            if job.failure is not None:
                job.done.set_exception(job.failure)
            else:
                job.done.set_result(job.result)

    def _gone_over(self, key: StreamKey, acked: int) -> int:
        """Count the declared numbers over `acked`; those up to it need not be known any more."""
        left = [run for run in self._shed.pop(key, []) if run[1] > acked]
        if left:
            self._shed[key] = left
        return _gone(left, acked)

    def _note_gone(self, gone: Gone) -> None:
        runs = self._shed[gone.key] = sorted([*self._shed.get(gone.key, []), *gone.runs])
        state = self.state(gone.key)
        self._put(state._replace(gone=_gone(runs, state.acked), oldest_ns=gone.oldest_ns))
        if gone.is_for_room:
            self._short_of_room[gone.key] = max(self._short_of_room.get(gone.key, 0), gone.runs[-1][1])
        self.recent.forget(gone.key, gone.runs)

    def _put(self, state: StreamState) -> None:
        self.streams[CLASS_OF[state.key.kind]][state.key] = state

    def _wal_bytes(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        return 0

    def _measure_soon(self) -> None:
        self._measured_s = -MEASURE_EVERY_S

    def _shrink_soon(self) -> None:
        self._measured_s, self._must_shrink = -MEASURE_EVERY_S, True

    def _measure(self) -> None:
        """Look how large the file is, and how much came in since the last look."""
        self._measured_s = time.monotonic()
        (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
        used = outbox.used_pages(self._writer)
        size = FileSize(
            pages_bytes=pages * PAGE_BYTES,
            free_bytes=(pages - used) * PAGE_BYTES,
            main_bytes=self.path.stat().st_size,
            wal_bytes=self._wal_bytes(),
        )
        grown = used * PAGE_BYTES - self.size.content_bytes + self._freed_pages * PAGE_BYTES
        self.grown_bytes += max(0, grown)
        self._freed_pages = 0
        self.size = size


def _gone(runs: Iterable[Run], acked: int) -> int:
    """Count the numbers over `acked` in ascending runs."""
    count = 0
    for first, last in runs:
        count += max(0, last - max(first, acked + 1) + 1)
        acked = max(acked, last)
    return count
