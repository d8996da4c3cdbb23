"""One database file: one writer thread that commits in groups, and readers beside it (decision 11)."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from telemed.wire import Record

from edge_node.buffer import failpoint, outbox, schema
from edge_node.buffer.outbox import Batch, StreamKey, StreamState
from edge_node.buffer.recent import Recent
from edge_node.errors import BufferDamaged, BufferFailure, BufferFull

T = TypeVar("T")
Synchronous = Literal["FULL", "NORMAL", "OFF"]

GROUP_LIMIT = 64
"""Jobs in one commit at most."""
BUSY_TIMEOUT_MS = 5000
READERS = 2
"""Reading connections a file: one is never behind the other's long query."""
MEASURE_EVERY_S = 1.0


@dataclass(slots=True)
class _Job:
    work: Callable[[Batch], Any]
    urgent: bool
    done: "asyncio.Future[Any]"
    batch: Batch | None = None
    result: Any = None
    failure: Exception | None = None


class LogFile:
    """A file of the buffer, opened, checked and brought to the present version."""

    def __init__(self, path: Path, *, group_commit_ms: float, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file; blocking.

        Args:
            path: The database file, one of `schema.NAMES`; its folder exists.
            group_commit_ms: Longest wait for others to share a commit; only while there are others.
            synchronous: FULL; anything else is for the test that shows what it would lose.

        Raises:
            BufferDamaged: the file fails its check or is of a newer version.
        """
        self.path = path
        self.recent = Recent()
        self.used_bytes = 0
        self.grown_bytes = 0
        """How much was added since the file was opened; what retention frees is not taken off."""
        self.on_stored: Callable[[Mapping[str, Collection[StreamKey]]], None] = lambda _keys: None
        """Told on the event loop which streams of each kind got records, after the commit, before who waits for it."""
        self._group_commit_s = group_commit_ms / 1000
        self._last_group = 1
        self._measured_s = 0.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = _open(path, synchronous)
        self.epoch = schema.epoch_of(self._writer)
        states = outbox.load_states(self._writer)
        self.streams: defaultdict[str, dict[StreamKey, StreamState]] = defaultdict(dict)
        """How far every stream of each kind has come, as of the last commit; used on the event loop alone."""
        for key, state in states.items():
            self.streams[key.kind][key] = state
        self._numbers = outbox.numbers_of(self.epoch, states)
        self._unsaved: set[StreamKey] = set()
        self._measure()
        self.grown_bytes = 0
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for _ in range(READERS):
            self._idle_readers.put(_connect(path, "query_only = ON"))
        self._readers = ThreadPoolExecutor(READERS, f"read-{path.stem}")
        self._thread = threading.Thread(target=self._run, name=f"write-{path.stem}", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Batch], T], *, urgent: bool = False) -> T:
        """Run `work` in a transaction of the writer; return its result after the synced commit.

        If the caller is cancelled, the work may or may not have been committed.

        Raises:
            BufferFull: no room on the disk; nothing of this work is stored.
            BufferDamaged: the file is damaged.
            Whatever `work` raises; then nothing of it is stored.
        """
        if not self._thread.is_alive():
            raise BufferFailure(f"{self.path.name}: is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, urgent, done))
        return await done

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a reading connection and return its result.

        Raises:
            BufferDamaged: the file is damaged.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def state(self, key: StreamKey) -> StreamState:
        """Return how far a stream has come; a new one where there is no such stream."""
        return self.streams[key.kind].get(key) or StreamState(*key)

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
            self.streams[key.kind][key] = self.state(key)._replace(acked=contig, oldest_ns=oldest_ns)
            self._unsaved.add(key)

    async def save_states(self) -> None:
        """Write down how far the streams have come; losing the last of it costs a sending once more, no record."""
        states = self._to_save()
        if states:
            await self.write(lambda batch: outbox.save(batch, states))

    def close(self) -> None:
        """Commit what was asked for, then close; idempotent, blocking."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown(wait=True)
        while not self._idle_readers.empty():
            self._idle_readers.get().close()
        with contextlib.suppress(sqlite3.Error), self._writer:
            outbox.save(Batch(self._writer, self._numbers), self._to_save())
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
        job = self._jobs.get()
        jobs: list[_Job] = []
        until_s = time.monotonic() + self._group_commit_s
        while job is not None:
            jobs.append(job)
            if len(jobs) >= GROUP_LIMIT:
                break
            # Nobody is made to wait for company that the last commit did not have.
            is_complete = job.urgent or len(jobs) >= self._last_group
            wait_s = 0.0 if is_complete else max(0.0, until_s - time.monotonic())
            try:
                job = self._jobs.get(timeout=wait_s) if wait_s else self._jobs.get_nowait()
            except queue.Empty:
                break
        self._last_group = len(jobs)
        return jobs, job is not None

    def _commit(self, jobs: list[_Job]) -> None:
        """Do the jobs in one transaction; each learns whether it is committed."""
        taken: dict[str, int] = {}
        try:
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
            return
        self._numbers.given.update(taken)
        failpoint.reach("after-commit")
        for job in jobs:
            for call in job.batch.after_commit if job.batch and not job.failure else ():
                call()
        # What is committed is told whatever else fails: the writer must not end with somebody waiting for it.
        with contextlib.suppress(sqlite3.Error):
            if time.monotonic() - self._measured_s >= MEASURE_EVERY_S:
                self._measure()

    def _attempt(self, job: _Job, taken: dict[str, int], *, is_alone: bool) -> None:
        """Do one job, in a savepoint if there are others, so that its failure takes back its own rows alone."""
        batch = Batch(self._writer, self._numbers, dict(taken))
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
            batch = Batch(self._writer, self._numbers, dict(taken))
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
        stored: defaultdict[str, set[StreamKey]] = defaultdict(set)
        for job in jobs:
            for record in job.batch.appended if job.batch and not job.failure else ():
                key = self._note(record)
                stored[key.kind].add(key)
        if stored:
            self.on_stored(stored)
        for job in jobs:
            if job.done.done():
                continue
            if job.failure is not None:
                job.done.set_exception(job.failure)
            else:
                job.done.set_result(job.result)

    def _note(self, record: Record) -> StreamKey:
        key = StreamKey(record.stream, record.epoch)
        self.streams[key.kind][key] = self.state(key).with_record(record)
        self._unsaved.add(key)
        self.recent.add(key, record)
        return key

    def _measure(self) -> None:
        self._measured_s = time.monotonic()
        (pages,) = self._writer.execute("PRAGMA page_count").fetchone()
        (free,) = self._writer.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._writer.execute("PRAGMA page_size").fetchone()
        used_bytes = (pages - free) * size
        self.grown_bytes += max(0, used_bytes - self.used_bytes)
        self.used_bytes = used_bytes


def translated(error: sqlite3.Error, name: str) -> BufferFailure:
    """Return the buffer's own failure for one of SQLite's."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM):
        return BufferFull(f"{name}: {error}")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BufferDamaged(f"{name}: {error}")
    return BufferFailure(f"{name}: {error}")


def _connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in (*pragmas, f"busy_timeout = {BUSY_TIMEOUT_MS}"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _open(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    try:
        connection = _connect(path, f"synchronous = {synchronous}", "journal_mode = WAL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise BufferDamaged(f"{path.name}: {verdict}")
        schema.prepare(connection, path.name)
    except sqlite3.Error as error:
        raise translated(error, path.name) from error
    return connection
