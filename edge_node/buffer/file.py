"""One database file: one writer thread that commits in groups, and readers beside it (decision 11)."""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from telemed.topics import Up
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


@dataclass(slots=True)
class _Job:
    work: Callable[[Batch], Any]
    urgent: bool
    done: "Future[Any]"
    staged: dict[StreamKey, StreamState] = field(default_factory=dict)
    appended: list[Record] = field(default_factory=list)
    result: Any = None


class LogFile:
    """A file of the buffer, opened, checked and brought to the present version."""

    def __init__(self, path: Path, up: Up, *, group_commit_ms: float, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file; blocking.

        Args:
            path: The database file; its folder exists.
            up: Class of the records in it.
            group_commit_ms: Longest wait for others to share a commit; only while there are others.
            synchronous: FULL; anything else is for the test that shows what it would lose.

        Raises:
            BufferDamaged: the file fails its check or is of a newer version.
        """
        self.path = path
        self.recent = Recent()
        self.streams: dict[StreamKey, StreamState] = {}
        """State of every stream as of the last commit; replaced whole, so any thread may read it."""
        self.used_bytes = 0
        self.grown_bytes = 0
        """How much was added since the file was opened; what retention frees is not taken off."""
        self._group_commit_s = group_commit_ms / 1000
        self._last_group = 1
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = _open(path, up, synchronous)
        self.epoch = schema.epoch_of(self._writer)
        self.streams.update(outbox.load_states(self._writer))
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
        done: Future[T] = Future()
        if not self._thread.is_alive():
            raise BufferFailure(f"{self.path.name}: is closed")
        self._jobs.put(_Job(work, urgent, done))
        return await asyncio.wrap_future(done)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a reading connection and return its result.

        Raises:
            BufferDamaged: the file is damaged.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    def close(self) -> None:
        """Commit what was asked for, then close; idempotent, blocking."""
        if not self._thread.is_alive():
            return
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown(wait=True)
        while not self._idle_readers.empty():
            self._idle_readers.get().close()
        # The writer goes last: the last connection to close writes the WAL back into the file.
        self._writer.close()

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
            jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)

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
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            states = dict(self.streams)
            done = [job for job in jobs if self._attempt(job, states)]
            failpoint.reach("before-commit")
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            failure = translated(error, self.path.name)
            for job in jobs:
                if not job.done.done():
                    job.done.set_exception(failure)
            return
        failpoint.reach("after-commit")
        self.streams = states
        for job in done:
            self.recent.add(job.appended)
        # What is committed is told whatever else fails: the writer must not end with somebody waiting for it.
        with contextlib.suppress(sqlite3.Error):
            self._measure()
        for job in done:
            job.done.set_result(job.result)

    def _attempt(self, job: _Job, states: dict[StreamKey, StreamState]) -> bool:
        """Do one job in a savepoint, so that its failure takes back its own rows alone; `states` learn what it did."""
        self._writer.execute("SAVEPOINT job")
        try:
            job.result = job.work(Batch(self._writer, self.epoch, states, job.staged, job.appended))
        except Exception as error:
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                raise  # a full disk or a damaged file concerns the whole group
            # Border of a thread: passed on to whoever waits for this job.
            self._writer.execute("ROLLBACK TO job")
            self._writer.execute("RELEASE job")
            job.done.set_exception(error)
            return False
        self._writer.execute("RELEASE job")
        states.update(job.staged)
        return True

    def _roll_back(self) -> None:
        # SQLite has rolled back by itself after some failures, a full disk among them.
        # A rollback that fails leaves the transaction open, and the next group fails as this one did.
        with contextlib.suppress(sqlite3.Error):
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    def _measure(self) -> None:
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


def _open(path: Path, up: Up, synchronous: Synchronous) -> sqlite3.Connection:
    try:
        connection = _connect(path, f"synchronous = {synchronous}", "journal_mode = WAL")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise BufferDamaged(f"{path.name}: {verdict}")
        schema.prepare(connection, up)
    except sqlite3.Error as error:
        raise translated(error, path.name) from error
    return connection
