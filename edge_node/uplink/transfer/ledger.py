"""`transfer.db`: the durable queue behind one connection of one thread; others may have the file open too."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from edge_node.buffer.opening import Synchronous, check_room, translated
from edge_node.errors import BufferDamaged
from edge_node.uplink.transfer import schema
from edge_node.uplink.transfer.schema import FILE

T = TypeVar("T")
BUSY_TIMEOUT_MS = 5000

log = structlog.get_logger(__name__)


class Ledger:
    """The queue's file, opened, checked and brought to the present version."""

    def __init__(self, folder: Path, synchronous: Synchronous = "FULL") -> None:
        """Open or make the file; blocking.

        Args:
            folder: of the buffer; made where it is not there.
            synchronous: FULL; anything else is for the test that shows what it would lose.

        Raises:
            BufferDamaged: the file fails its check.
            BufferFailure: it cannot be opened, or is of a newer version.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FILE
        check_room(self.path)
        try:
            self._connection = _open(self.path, synchronous)
        except sqlite3.Error as error:
            raise translated(error, FILE) from error
        self._thread = ThreadPoolExecutor(1, "transfer-db")

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its result after the synced commit.

        A caller that is cancelled no longer waits; the work may or may not be committed.

        Raises:
            BufferFailure: nothing of it is stored.
            Whatever `work` raises; then nothing of it is stored.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on the connection and return its result.

        Raises:
            BufferFailure: the file cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, work)

    def write_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do as `write` does, for callers that are not on an event loop."""
        return self._thread.submit(self._commit, work).result()

    def read_blocking(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do as `read` does, for callers that are not on an event loop."""
        return self._thread.submit(self._look, work).result()

    def close(self) -> None:
        """Finish what was asked for and close the file; idempotent, blocking."""
        self._thread.shutdown()
        self._connection.close()

    def _commit(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise translated(error, FILE) from error
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return work(self._connection)
        except sqlite3.Error as error:
            raise translated(error, FILE) from error

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def open_or_set_aside(folder: Path) -> tuple[Ledger, bool]:
    """Open the queue; a damaged one is renamed out of the way, and True tells that this is a new one.  Blocking.

    Raises:
        BufferFailure: it cannot be opened.
    """
    try:
        return Ledger(folder), False
    except BufferDamaged as damage:
        log.error("transfer.queue-damaged", reason=str(damage))
        label = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        for ending in ("", "-wal", "-shm"):
            path = folder / (FILE + ending)
            if path.exists():
                path.rename(folder / f"{path.name}.damaged-{label}")
        return Ledger(folder), True


def _open(path: Path, synchronous: Synchronous) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # The wait first: another process may be making the file; synchronous before the switch to WAL, which syncs too.
    pragmas = (f"busy_timeout = {BUSY_TIMEOUT_MS}", f"synchronous = {synchronous}", "journal_mode = WAL")
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise BufferDamaged(f"{FILE}: {verdict}")
        schema.prepare(connection)
    except BaseException:
        connection.close()
        raise
    connection.row_factory = sqlite3.Row
    return connection
